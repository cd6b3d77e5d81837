"""A planned run with its data, before anything is trained."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.measures import coverage as measures
from bench.measures import regret
from bench.settings.run import DatasetConfig
from bench.settings.spec import RunSpec

TASKS_IN_MEMORY = 32
PREPARED_IN_MEMORY = 512


@dataclass(frozen=True, eq=False)
class Prepared:
    """A planned run with its data: the task, what the degradation left and what that covers."""

    spec: RunSpec
    task: Task
    dataset: OfflineDataset
    coverage: measures.CoverageReport | None
    anchors: regret.Anchors | None


class Preparer:
    """Makes the data of runs; runs that share data share the work."""

    def __init__(self, cache: Path | None):
        """Take where datasets are cached."""
        self.cache = cache
        self.task = lru_cache(TASKS_IN_MEMORY)(self._load)
        self.prepared: dict[str, Prepared] = {}

    def prepare(self, spec: RunSpec) -> Prepared:
        """Return the run with its data, which may be empty."""
        config = spec.config
        key = repr([spec.settings[k] for k in ("dataset", "coverage", "coverage_estimates")])
        if key not in self.prepared:
            if len(self.prepared) >= PREPARED_IN_MEMORY:
                self.prepared.pop(next(iter(self.prepared)))
            task = self.task(_Key(repr(spec.settings["dataset"]), config.dataset))
            degraded = config.coverage(task.data)
            if len(degraded) == 0:
                return Prepared(spec, task, degraded, None, None)
            covered = measures.measure(task, degraded, config.coverage_estimates)
            against = regret.anchors(task, degraded)
            self.prepared[key] = Prepared(spec, task, degraded, covered, against)
        shared = self.prepared[key]
        return Prepared(spec, shared.task, shared.dataset, shared.coverage, shared.anchors)

    def _load(self, key: "_Key") -> Task:
        return key.config.load(self.cache)


@dataclass(frozen=True)
class _Key:
    """A dataset's settings; equality is that of their text, since configs do not hash."""

    text: str
    config: DatasetConfig

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.text == other.text
