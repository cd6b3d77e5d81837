"""The plan of a sweep: which runs it asks for, what is stored, and what is trained together."""

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from bench.data import degradations
from bench.data.degradations import Degradation
from bench.garbage import all_of_it_stays
from bench.settings.checks import Unsuited, check_together
from bench.settings.run import HARNESS_KEYS, NOTHING_REMOVED, RunConfig, run_config, run_id
from bench.settings.sizes import check_sizes, memory_here
from bench.settings.spec import RunSpec
from bench.settings.typed import ConfigError
from bench.store.code import code_of
from bench.store.folders import SweepFiles
from bench.store.records import RunStore, Stored
from bench.sweeps import grouping
from bench.sweeps.execution import HarnessConfig, check_precision, harness_config
from bench.training.checkpoints import Interrupted, interrupted


@dataclass(frozen=True, eq=False)
class Plan:
    """What a command asks for, and what there is of it.

    Attributes:
        harness: Settings that change no result.
        runs: All runs, each once, in the order of the grid.
        stored: What the store holds of them, by id.
        interrupted: Cohorts that go on from a checkpoint, in exactly their composition.
        left_out: Why learners were left out where they cannot be trained, a sentence each.
        absent: Why data was left out that is not here, a sentence each, by environment.
    """

    harness: HarnessConfig
    runs: list[RunSpec]
    stored: dict[str, Stored] = field(default_factory=dict)
    interrupted: tuple[Interrupted, ...] = ()
    left_out: tuple[str, ...] = ()
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> RunStore:
        """Where its records are and will be."""
        return RunStore(self.harness.results_dir / "runs")

    @property
    def files(self) -> SweepFiles:
        """What else its experiment keeps of itself."""
        return SweepFiles(self.store.root / self.harness.experiment_name)

    @cached_property
    def pending(self) -> list[RunSpec]:
        """Runs to be trained: those without a record, and those whose record is replaced."""
        return [r for r in self.runs if r.run_id not in self.stored or self._replaced(r.run_id)]

    @cached_property
    def kept(self) -> dict[str, Stored]:
        """The records that stay, by id."""
        pending = {run.run_id for run in self.pending}
        return {run_id: found for run_id, found in self.stored.items() if run_id not in pending}

    def is_stale(self, run_id: str) -> bool:
        """Return whether a run is stored, but made by other code than today's."""
        return run_id in self.stored and self.stored[run_id].stale

    def skipped_failures(self) -> int:
        """Return how many runs have failed before and are not tried again."""
        return sum(found.status == "failed" for found in self.kept.values())

    def _replaced(self, run_id: str) -> bool:
        """Return whether a record gives way to a new one: if it is stale, or failed."""
        launcher, found = self.harness.launcher, self.stored[run_id]
        elsewhere = found.path.parent.name != self.harness.experiment_name
        # What other code made is not taken over from another experiment, whatever is kept here.
        again = found.stale and (launcher.stale == "retrain" or elsewhere)
        return again or (found.status == "failed" and launcher.retry_failed)

    @cached_property
    def cohorts(self) -> list[list[RunSpec]]:
        """Runs in groups that are trained together, none of the new ones above the cohort size.

        Interrupted cohorts go first; some of their runs may be recorded already.
        """
        going_on = [list(cohort.runs or ()) for cohort in self.interrupted]
        taken = {run.run_id for cohort in going_on for run in cohort}
        new = [run for run in self.pending if run.run_id not in taken]
        return going_on + grouping.cohorts(new, self.harness.launcher.cohort_size)


@all_of_it_stays()
def make_plan(jobs: Iterable[dict[str, Any]]) -> Plan:
    """Return the plan of composed settings, every one checked; equal runs are planned once.

    Raises:
        ConfigError: If any of them cannot be run; then nothing has been written.
        DamagedRecordError: If what is stored of a run is no record.
    """
    runs: dict[str, RunSpec] = {}
    harness: HarnessConfig | None = None
    memory: int | None = None
    checked: dict[bytes, Unsuited | None] = {}
    left_out: dict[str, Unsuited] = {}
    for settings in jobs:
        own = {key: settings.pop(key) for key in HARNESS_KEYS if key in settings}
        if harness is None:
            harness = harness_config(own)
            # Of another machine nothing is known.
            memory = None if harness.launcher.engine.elsewhere else memory_here()
        config = run_config(settings)
        if config.precision != "float32":
            check_precision(config.precision, harness)
        # No check asks for seeds: of runs that differ in nothing else one is checked.
        alike = _without_seeds(settings)
        if alike not in checked:
            checked[alike] = _unsuited(config, memory)
        if reason := checked[alike]:
            left_out.setdefault(str(reason), reason)
            continue
        spec = _spec(settings, config)
        runs.setdefault(spec.run_id, spec)
    if harness is None:
        raise ConfigError("The grid is empty: it needs at least one sub-grid with values.")
    if not runs:
        raise next(iter(left_out.values()))
    plan = Plan(harness, list(runs.values()), left_out=tuple(left_out))
    codes = {run.run_id: code_of(run.settings) for run in plan.runs}
    plan = replace(plan, stored=plan.store.look_up(codes, harness.experiment_name))
    return replace(plan, interrupted=_usable(plan))


def _without_seeds(settings: Mapping[str, Any]) -> bytes:
    """Return what is the same of runs that differ in seeds alone."""
    dataset = {**settings["dataset"], "seed": None}
    return pickle.dumps({**settings, "seed": None, "dataset": dataset})


def _unsuited(config: RunConfig, memory: int | None) -> Unsuited | None:
    """Return why a learner is left out of a run, None if it is not.

    Raises:
        ConfigError: If the run is wrong, or does not fit into so many bytes of memory.
    """
    try:
        check_together(config)
    except Unsuited as reason:
        return reason
    if memory is not None:
        check_sizes(config, memory)
    return None


def _spec(settings: dict[str, Any], config: RunConfig) -> RunSpec:
    """Return the run of resolved settings."""
    if config.coverage.severity == 0:
        # Taking nothing away is one run, whichever degradation is not applied.
        settings["coverage"] = NOTHING_REMOVED
        nothing = Degradation("none", partial(degradations.none), 0.0)
        config = config.model_copy(update={"coverage": nothing})
    return RunSpec(run_id(settings, config), settings, config)


def _usable(plan: Plan) -> tuple[Interrupted, ...]:
    """Return the cohorts that can go on, the furthest first, no run in two of them.

    One whose unrecorded runs are not all wanted now is left for a command that wants them all.
    """
    pending = {run.run_id for run in plan.pending}
    chosen: list[Interrupted] = []
    taken: set[str] = set()
    for cohort in sorted(interrupted(plan.files.checkpoints), key=lambda cohort: -cohort.update):
        unrecorded = set(cohort.run_ids) - (cohort.recorded(plan.store) - pending)
        if cohort.runs is not None and unrecorded and unrecorded <= pending - taken:
            chosen.append(cohort)
            taken |= unrecorded
    return tuple(chosen)
