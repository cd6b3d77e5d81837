"""The plan of a sweep: typed runs with their ids, and which of them are trained together."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bench.compatibility import check_together
from bench.config import (
    NOTHING_REMOVED,
    HarnessConfig,
    RunConfig,
    TrainingConfig,
    fill_defaults,
    launcher_config,
    run_config,
    run_id,
)
from bench.tracking import TrackingConfig
from bench.typed import ConfigError, checked

if TYPE_CHECKING:
    from bench.checkpoints import Interrupted

HARNESS_KEYS = tuple(HarnessConfig.model_fields)


@dataclass(frozen=True, eq=False)
class RunSpec:
    """One training with one seed: its id, its settings as data and as typed objects."""

    run_id: str
    settings: dict[str, Any]
    config: RunConfig

    @cached_property
    def cohort_key(self) -> str:
        """What runs must share to be trained together: all but seeds, data and float settings."""
        algorithm = {
            key: "float" if isinstance(getattr(self.config.algorithm, key, None), float) else value
            for key, value in self.settings["algorithm"].items()
        }
        world = self.settings["dataset"].get("environment")
        dataset = self.settings["dataset"]
        shared = [dataset.get(key) for key in ("name", "id", "max_steps", "discount")]
        shared += [dataset.get(key) for key in ("normalization", "hidden", "history")]
        lengths = [self.settings[key] for key in TrainingConfig.model_fields if key != "seed"]
        return json.dumps([algorithm, world, shared, lengths], sort_keys=True)

    def __reduce__(self) -> Any:
        """Travel as settings: typed objects are made anew where they arrive."""
        return planned, (self.run_id, self.settings)


def planned(run_id: str, settings: dict[str, Any]) -> RunSpec:
    """Return the run of settings that were planned before, under the id it was given.

    Raises:
        ConfigError: If the settings are no longer valid.
    """
    return RunSpec(run_id, settings, run_config(settings))


@dataclass(frozen=True, eq=False)
class Plan:
    """What a command asks for.

    Attributes:
        harness: Settings that change no result.
        runs: All runs, each once, in the order of the grid.
        stored: Records of runs that are done, by id; they are not trained.
        earlier_failures: Ids of stored runs whose record says ``failed``.
        interrupted: Cohorts that go on from a checkpoint, in exactly their composition.
    """

    harness: HarnessConfig
    runs: list[RunSpec]
    stored: dict[str, Path] = field(default_factory=dict)
    earlier_failures: frozenset[str] = frozenset()
    interrupted: tuple["Interrupted", ...] = ()

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
    for job in jobs:
        own = {key: job.pop(key) for key in HARNESS_KEYS if key in job}
        if harness is None:
            harness = _harness(own)
        settings = fill_defaults(job)
        config = run_config(settings)
        check_together(config)
        if config.coverage.severity == 0:
            # Taking nothing away is one run, whichever degradation is not applied.
            settings["coverage"] = NOTHING_REMOVED
            config = run_config(settings)
        spec = RunSpec(run_id(settings, config), settings, config)
        runs.setdefault(spec.run_id, spec)
    if harness is None:
        raise ConfigError("The grid is empty: it needs at least one sub-grid with values.")
    return Plan(harness, list(runs.values()))


def _harness(own: dict[str, Any]) -> HarnessConfig:
    launcher = own.pop("launcher", None)
    if isinstance(own.get("results_dir"), str):
        own["results_dir"] = Path(own["results_dir"])
    own["launcher"] = launcher_config(launcher)
    own["tracking"] = checked(TrackingConfig, own.pop("tracking", None), "tracking")
    harness: HarnessConfig = checked(HarnessConfig, own, "")
    here = not harness.launcher.engine.elsewhere
    if harness.device == "cuda" and here and not torch.cuda.is_available():
        raise ConfigError("device is cuda, but there is none here: use cpu or auto.")
    return harness
