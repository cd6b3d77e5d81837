"""A sweep in training: orders go to the engine, what comes back is counted and mirrored."""

import uuid
from collections import Counter
from functools import partial

from bench.engines import stopping
from bench.engines.base import Engine
from bench.engines.orders import Died, Order, Outcome
from bench.progress.bar import Bar
from bench.settings.spec import RunSpec
from bench.store.claims import claims_on
from bench.store.folders import SweepFiles
from bench.store.heads import Head, head_of
from bench.store.records import RunStore
from bench.sweeps.plan import Plan
from bench.tracking.mirror import Mirror
from bench.training.parts import equal_parts
from bench.training.recording import Recorder
from bench.training.worker import Workplace, work

# An order whose process dies is given to a fresh one this many times at most, then its halves are.
ATTEMPTS = 3


class Sweep:
    """Everything of a plan that is not stored, from the first order to the last outcome."""

    def __init__(self, plan: Plan, mirror: Mirror):
        """Take what to train and where to mirror it."""
        self.plan, self.mirror = plan, mirror
        self.experiment = plan.harness.experiment_name
        self.store = RunStore(plan.store.root.resolve())
        self.files = SweepFiles(self.store.root / self.experiment)
        self.pending = {run.run_id: run for run in plan.pending}
        # When the newest record of those that are replaced was written.
        again = self.pending.keys() & plan.stored.keys()
        self.replaced = {run_id: plan.stored[run_id].written for run_id in again}
        # Heads alone: of a hundred thousand runs records would fill the memory.
        self.trained: dict[str, Head] = {}
        # What came of comparing data with its world, as records say it.
        self.said: set[str] = set()
        self.held: set[str] = set()
        self.notes: list[str] = []
        self.problem: str | None = None
        self.lack: str | None = None
        self.traceback: str | None = None
        self.deaths: Counter[Order] = Counter()
        # Parts of orders whose processes have died so often that one of the runs must be why.
        self.suspected: set[Order] = set()

    def run(self) -> None:
        """Train until there is nothing left, somebody stops it, or records cannot be written."""
        engine = self.plan.harness.launcher.engine
        orders = self._orders()
        if not orders:
            return
        try:
            place = self._workplace()
            engine.open(partial(work, place), place.device, str(self.files.slurm))
            for order in orders:
                engine.submit(order)
            with Bar(self.pending, self.trained, self.files.heartbeats) as bar:
                self._follow(engine, bar)
        finally:
            engine.close()

    def _follow(self, engine: Engine, bar: Bar) -> None:
        while engine.busy:
            if stopping.asked() or self.problem is not None:
                self._note(engine.stop())
            for order, end in engine.collect():
                again = self._again(order, end)
                for part in again:
                    engine.submit(part)
                if not again and not self._was_cut_short(end):
                    bar.end(order)

    def _was_cut_short(self, end: Outcome | Died) -> bool:
        """Return whether there is something left of an order that is not tried again now."""
        if isinstance(end, Died):
            return stopping.asked() or self.problem is not None
        return end.stopped or end.problem is not None or end.lack is not None

    def left(self) -> set[str]:
        """Return the ids of the runs that were to be trained and have no new record."""
        return {i for i in self.pending.keys() - self.trained if not self._recorded(i)}

    def _orders(self) -> list[Order]:
        orders = []
        for cohort in self.plan.cohorts:
            wanted = frozenset(run.run_id for run in cohort) & self.pending.keys()
            replaced = {run_id: self.replaced[run_id] for run_id in wanted & self.replaced.keys()}
            orders.append(Order(tuple(cohort), wanted, replaced))
        return orders

    def _workplace(self) -> Workplace:
        harness = self.plan.harness
        launcher = harness.launcher
        return Workplace(
            launch=uuid.uuid4().hex,
            root=self.store.root,
            experiment=self.experiment,
            cache=(harness.results_dir / "datasets").resolve(),
            device=harness.device,
            compile=harness.compile,
            updates_per_graph=harness.updates_per_graph,
            checkpoint_seconds=launcher.checkpoint_seconds,
            memory_gb=launcher.memory_gb,
            sharers=launcher.engine.sharers(harness.device),
            threads=launcher.engine.worker_threads(),
        )

    def _again(self, order: Order, end: Outcome | Died) -> list[Order]:
        """Count what has ended; return what of it is tried again, if its process died."""
        if isinstance(end, Died):
            return self._after_death(order, end)
        self.held |= set(end.held)
        for note in end.notes:
            self._note(note)
        self.problem = self.problem or end.problem
        self.lack = self.lack or end.lack
        self.traceback = end.traceback or self.traceback
        for run_id in end.recorded:
            self._count(run_id)
        return []

    def _after_death(self, order: Order, end: Died) -> list[Order]:
        """Return the order, its halves after too many deaths, or nothing: then its run has failed.

        So the one run that ends processes is found and the others of its cohort are trained.
        """
        self.deaths[order] += 1
        # It may have recorded some of its runs before.
        for run_id in sorted(order.wanted - self.trained.keys()):
            if self._recorded(run_id):
                self._count(run_id)
        left = [run for run in order.runs if run.run_id in order.wanted - self.trained.keys()]
        if stopping.asked() or self.problem is not None or not left:
            return []
        suspicious = order in self.suspected and len(left) > 1
        if not suspicious and self.deaths[order] < ATTEMPTS:
            return [order]
        if len(left) > 1:
            halves = [_of(order, part) for part in equal_parts(left, 2)]
            self.suspected.update(halves)
            return halves
        self._fail(left[0].run_id, f"worker died {ATTEMPTS} times ({end.cause})")
        return []

    def _fail(self, run_id: str, error: str) -> None:
        """Record a run as failed, unless somebody else is training it or has recorded it."""
        claims = claims_on(self.store.root)
        for lost in claims.take({run_id}):
            if not self._recorded(lost):
                self.store.write(Recorder(self.experiment).failed(self.pending[lost], error))
                self._count(lost)
            claims.release({lost})

    def _count(self, run_id: str) -> None:
        """Add a record that this sweep has made, and mirror it."""
        record = self.store.load(self.store.path(self.experiment, run_id))
        self.trained[run_id] = head_of(vars(record))
        if sentence := record.dataset.get("world_check", {}).get("said"):
            self.said.add(sentence)
        self.mirror.write(record)

    def _recorded(self, run_id: str) -> bool:
        """Return whether there is a record that was not there when the sweep began."""
        return self.store.written(run_id) > self.replaced.get(run_id, 0)

    def _note(self, text: str | None) -> None:
        if text is not None and text not in self.notes:
            self.notes.append(text)


def _of(order: Order, runs: list[RunSpec]) -> Order:
    """Return some runs of an order, all of them wanted, as an order of their own."""
    wanted = frozenset(run.run_id for run in runs)
    replaced = {run_id: time for run_id, time in order.replaced.items() if run_id in wanted}
    return Order(tuple(runs), wanted, replaced)
