"""A planned run with its data, before anything is trained."""

from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.measures import coverage as measures
from bench.measures import regret
from bench.settings.spec import RunSpec
from bench.training.held import held

# What stays in memory beside the data of the runs in training: enough for the default sweep's, and
# no more however many runs there are.
BYTES_KEPT = 2**28


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
        # A task stays as long as anything that was made of it, or was measured on it last.
        self.tasks: WeakValueDictionary[str, Task] = WeakValueDictionary()
        self.prepared: dict[str, Prepared] = {}

    def prepare(self, spec: RunSpec) -> Prepared:
        """Return the run with its data, which may be empty."""
        config = spec.config
        key = repr([spec.settings[k] for k in ("dataset", "coverage", "coverage_estimates")])
        if key not in self.prepared:
            task = self._task(spec)
            degraded = config.coverage(task.data)
            if len(degraded) == 0:
                return Prepared(spec, task, degraded, None, None)
            covered = measures.measure(task, degraded, config.coverage_estimates)
            against = regret.anchors(task, degraded)
            self.prepared[key] = Prepared(spec, task, degraded, covered, against)
        # The last one asked for is the last to go.
        shared = self.prepared[key] = self.prepared.pop(key)
        return Prepared(spec, shared.task, shared.dataset, shared.coverage, shared.anchors)

    def forget(self) -> None:
        """Drop the data that was not asked for longest, down to `BYTES_KEPT`; the last stays."""
        counted: set[int] = set()
        total = 0
        for place, key in enumerate(reversed(list(self.prepared))):
            total += held(self.prepared[key], counted)
            if place > 0 and total > BYTES_KEPT:
                del self.prepared[key]

    def _task(self, spec: RunSpec) -> Task:
        """Return the data before anything is taken away, made or read if nobody has it."""
        key = repr(spec.settings["dataset"])
        task = self.tasks.get(key)
        if task is None:
            task = self.tasks[key] = spec.config.dataset.load(self.cache)
        return task
