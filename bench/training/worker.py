"""The worker: what any engine runs, anywhere, on an order.

It claims the runs, trains them and writes their records itself: the store is the truth, and
whatever happens to the launching process loses nothing that has been recorded.
"""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from threadpoolctl import threadpool_limits

from bench.cohorts import memory
from bench.engines import stopping
from bench.engines.orders import Order, Outcome
from bench.errors import machine_failure, system_sentence
from bench.files.flat import cache_folder
from bench.settings.spec import RunSpec
from bench.store.claims import claims_on
from bench.store.folders import SweepFiles
from bench.store.heartbeats import beating
from bench.store.record import RunRecord
from bench.store.records import DamagedRecordError, RunStore
from bench.training.checkpoints import Checkpoints, Conditions
from bench.training.failure import describe, whole
from bench.training.parts import equal_parts
from bench.training.preparation import Prepared, Preparer
from bench.training.recording import Recorder
from bench.training.trainer import Trainer


@dataclass(frozen=True)
class Workplace:
    """What all orders of one command share, as it travels to workers.

    Attributes:
        launch: Name of the command, so that a process keeps nothing of an earlier one.
        root: The store, an absolute path, and `cache` where datasets are kept.
        device: ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one.
        checkpoint_seconds: Least time between two checkpoints of a cohort.
        memory_gb: What a cohort may take; None for a share of the machine's memory.
        sharers: Workers that share one machine's memory.
        threads: Threads of an operation; None for torch's own choice.
    """

    launch: str
    root: Path
    experiment: str
    cache: Path
    device: str
    compile: str
    updates_per_graph: int | Literal["auto"]
    checkpoint_seconds: float
    memory_gb: float | None
    sharers: int
    threads: int | None


def work(place: Workplace, order: Order) -> Outcome:
    """Train an order; all that engines call."""
    return _worker(place).train(order)


@lru_cache(1)
def _worker(place: Workplace) -> "Worker":
    return Worker(place)


class Worker:
    """Trains the orders of one command in this process; datasets are kept between them."""

    def __init__(self, place: Workplace):
        """Take what all orders share."""
        self.place = place
        memory.keep_what_is_freed()
        # What is compiled is kept for later sweeps; torch tells versions and machines apart.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
        if place.threads is not None:
            torch.set_num_threads(place.threads)
            # Estimates of coverage round alike, too.
            threadpool_limits(place.threads)
        on_gpu = place.device == "cuda" or (place.device == "auto" and torch.cuda.is_available())
        self.device = "cuda" if on_gpu else "cpu"
        self.store = RunStore(place.root)
        self.files = SweepFiles(place.root / place.experiment)
        self.preparer, self.recorder = Preparer(place.cache), Recorder(place.experiment)
        self.trainer = Trainer(self.recorder, self.device, place.compile, place.updates_per_graph)

    def train(self, order: Order) -> Outcome:
        """Train what is free of the order, record it and say how it ended."""
        outcome = Outcome()
        try:
            if stopping.asked():
                raise stopping.Stopped
            claims = claims_on(self.place.root)
            taken = claims.take(order.wanted)
            if not claims.works:
                outcome.notes.append(
                    "Files cannot be locked here: of two sweeps at once both would train a run."
                )
            try:
                self._train_taken(order, taken, outcome)
            finally:
                claims.release(taken)
                self.preparer.forget()
        except stopping.Stopped:
            outcome.stopped = True
        except (_UnwrittenError, DamagedRecordError) as error:
            outcome.problem = str(error)
        except Exception as error:
            self._blame_machine(error, outcome)
        return outcome

    def _blame_machine(self, error: Exception, outcome: Outcome) -> None:
        """Say what the machine lacked; raise again what it is not to blame for."""
        failure = machine_failure(error)
        if failure is not None and failure.memory:
            # Others may need less.
            outcome.lack = failure.sentence
        elif failure is not None:
            outcome.problem = failure.sentence
        elif isinstance(error, OSError):
            outcome.problem = system_sentence(error)
        else:
            raise error

    def _train_taken(self, order: Order, taken: set[str], outcome: Outcome) -> None:
        outcome.held += sorted(order.wanted - taken)
        # Looked at only now that nobody else can be about to record them.
        mine = {run_id for run_id in taken if not self._recorded_meanwhile(run_id, order)}
        if not mine:
            return
        everything = list(order.runs)
        if self._checkpoints(everything).exist():
            if outcome.held:
                return  # Exactly these runs together, or not at all.
            ready = self._prepare(everything, mine, outcome)
            if len(ready) == len(everything):
                self._train_or_split(ready, mine, outcome)
                return
        left = [run for run in order.runs if run.run_id in mine - set(outcome.recorded)]
        for part in self._parts(self._prepare(left, mine, outcome)):
            self._train_or_split(part, mine, outcome)

    def _train_or_split(self, ready: list[Prepared], mine: set[str], outcome: Outcome) -> None:
        runs = [prepared.spec for prepared in ready]
        checkpoints = self._checkpoints(runs)
        try:
            records = self._train(ready, checkpoints)
        except Exception as error:
            failure = machine_failure(error)
            if failure is not None and not (failure.memory and len(ready) > 1):
                # Not the algorithm's failure: nothing is recorded, the same command tries again.
                raise
            checkpoints.remove()
            if len(ready) > 1:
                # One run's exception stops the whole tensor program: find out whose it is. What
                # does not fit into memory together may do so alone.
                for one in ready:
                    if one.spec.run_id in mine:
                        self._train_or_split([one], mine, outcome)
                return
            outcome.traceback = whole(error)
            records = [self.recorder.failed(ready[0], describe(error))]
        finally:
            outcome.notes += checkpoints.notes
        for record in records:
            if record.run_id in mine:
                self._write(record, outcome)
        checkpoints.remove()

    def _train(self, ready: list[Prepared], checkpoints: Checkpoints) -> list[RunRecord]:
        run_ids, updates = checkpoints.run_ids, ready[0].spec.config.num_updates
        name, begun = checkpoints.cohort_id, checkpoints.update
        with beating(self.files.heartbeats, name, run_ids, begun, updates) as heart:
            return self.trainer.train(ready, checkpoints, heart.beat)

    def _prepare(self, runs: Iterable[RunSpec], mine: set[str], outcome: Outcome) -> list[Prepared]:
        """Return runs with their data; those without any are recorded here."""
        ready = []
        for run in runs:
            if stopping.asked():
                raise stopping.Stopped
            try:
                prepared = self.preparer.prepare(run)
            except Exception as error:
                if machine_failure(error) is not None:
                    raise
                outcome.traceback = whole(error)
                record = self.recorder.failed(run, describe(error))
            else:
                if len(prepared.dataset) > 0:
                    ready.append(prepared)
                    continue
                record = self.recorder.empty(prepared)
            if run.run_id in mine:
                self._write(record, outcome)
        return ready

    def _parts(self, ready: list[Prepared]) -> list[list[Prepared]]:
        """Return consecutive groups of the runs, as few and as equal as memory allows."""
        if len(ready) < 2:
            return [ready] if ready else []
        given = self.place.memory_gb
        sharers = self.place.sharers
        budget = memory.budget(self.device, sharers) if given is None else given * 1e9
        try:
            at_most = int(budget // self.trainer.bytes_per_run(ready[0]))
        except Exception:
            # A run that cannot even begin; training finds out which one and records why.
            return [ready]
        return equal_parts(ready, math.ceil(len(ready) / max(1, at_most)))

    def _checkpoints(self, runs: list[RunSpec]) -> Checkpoints:
        conditions = Conditions.here(runs[0], self.device, self.trainer.updates(runs[0]))
        seconds = self.place.checkpoint_seconds
        return Checkpoints(self.files.checkpoints, runs, conditions, seconds)

    def _recorded_meanwhile(self, run_id: str, order: Order) -> bool:
        """Return whether a record has appeared since the order was made; it is then filed here."""
        before, own = order.replaced.get(run_id, 0), self.store.path(self.place.experiment, run_id)
        found = self.store.find(run_id)
        new = {path: self.store.load(path) for path, written in found.items() if written > before}
        if not new:
            return False
        best = min(new, key=lambda path: (new[path].status == "failed", path != own))
        if best != own:
            self.store.adopt(best, self.place.experiment)
        return True

    def _write(self, record: RunRecord, outcome: Outcome) -> None:
        try:
            try:
                self.store.write(record)
            except ValueError as error:
                # A number that JSON does not have.
                reason = f"The record cannot be written: {error}."
                self.store.write(self.recorder.without_results(record, reason))
        except OSError as error:
            raise _UnwrittenError(system_sentence(error)) from error
        outcome.recorded.append(record.run_id)


class _UnwrittenError(Exception):
    """A record cannot be written; the message is one sentence."""
