"""The plan of a sweep: which runs it asks for, and which of them are trained together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.settings.checks import Unsuited, check_together
from bench.settings.run import HARNESS_KEYS, NOTHING_REMOVED, run_config, run_id
from bench.settings.spec import RunSpec
from bench.settings.typed import ConfigError
from bench.sweeps.execution import HarnessConfig, harness_config
from bench.training.checkpoints import Interrupted


@dataclass(frozen=True, eq=False)
class Plan:
    """What a command asks for.

    Attributes:
        harness: Settings that change no result.
        runs: All runs, each once, in the order of the grid.
        stored: Records of runs that are done, by id; they are not trained.
        earlier_failures: Ids of stored runs whose record says ``failed``.
        interrupted: Cohorts that go on from a checkpoint, in exactly their composition.
        left_out: Why learners were left out where they cannot be trained, a sentence each.
    """

    harness: HarnessConfig
    runs: list[RunSpec]
    stored: dict[str, Path] = field(default_factory=dict)
    earlier_failures: frozenset[str] = frozenset()
    interrupted: tuple[Interrupted, ...] = ()
    left_out: tuple[str, ...] = ()

    @cached_property
    def pending(self) -> list[RunSpec]:
        """Runs to be trained."""
        retried = self.earlier_failures if self.harness.launcher.retry_failed else frozenset()
        return [r for r in self.runs if r.run_id not in self.stored or r.run_id in retried]

    @cached_property
    def cohorts(self) -> list[list[RunSpec]]:
        """Runs in groups that are trained together, none of the new ones above the cohort size.

        Interrupted cohorts go first; some of their runs may be recorded already.
        """
        going_on = [list(cohort.runs or ()) for cohort in self.interrupted]
        taken = {run.run_id for cohort in going_on for run in cohort}
        groups: dict[str, list[RunSpec]] = {}
        for run in self.pending:
            if run.run_id not in taken:
                groups.setdefault(run.cohort_key, []).append(run)
        size = self.harness.launcher.cohort_size
        new = [g[i : i + size] for g in groups.values() for i in range(0, len(g), size)]
        return going_on + new


def make_plan(jobs: Iterable[dict[str, Any]]) -> Plan:
    """Return the plan of composed settings, every one checked; equal runs are planned once.

    Raises:
        ConfigError: If any of them cannot be run; then nothing has been written.
    """
    runs: dict[str, RunSpec] = {}
    harness: HarnessConfig | None = None
    left_out: dict[str, Unsuited] = {}
    for settings in jobs:
        own = {key: settings.pop(key) for key in HARNESS_KEYS if key in settings}
        if harness is None:
            harness = harness_config(own)
        config = run_config(settings)
        try:
            check_together(config)
        except Unsuited as reason:
            left_out.setdefault(str(reason), reason)
            continue
        if config.coverage.severity == 0:
            # Taking nothing away is one run, whichever degradation is not applied.
            settings["coverage"] = NOTHING_REMOVED
            config = run_config(settings)
        spec = RunSpec(run_id(settings, config), settings, config)
        runs.setdefault(spec.run_id, spec)
    if harness is None:
        raise ConfigError("The grid is empty: it needs at least one sub-grid with values.")
    if not runs:
        raise next(iter(left_out.values()))
    return Plan(harness, list(runs.values()), left_out=tuple(left_out))
