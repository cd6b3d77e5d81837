"""The engine: one cohort of planned runs in, one record per run out."""

import importlib.metadata
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import compilation, coverage, regret, tabular
from bench.cohort import Cohort, Member
from bench.config import DatasetConfig
from bench.datasets import OfflineDataset, Task
from bench.evaluation import PolicyEvaluation, evaluate
from bench.plan import RunSpec
from bench.results import RunRecord, Status

PACKAGES = ("stackelberg-bench", "torch", "numpy", "gymnasium", "scikit-learn")
# What a record says of a file: its hash, whose reference returns scores are scaled by, and how many
# transitions lead across episodes.
FILE_FACTS = ("sha256", "reference", "crossing")
TASKS_IN_MEMORY = 32
PREPARED_IN_MEMORY = 512


@dataclass(frozen=True, eq=False)
class Prepared:
    """A planned run with its data: the task, what the degradation left and what that covers."""

    spec: RunSpec
    task: Task
    dataset: OfflineDataset
    report: coverage.CoverageReport | None
    anchors: regret.Anchors | None


class Engine:
    """Trains cohorts in this process."""

    def __init__(self, experiment: str, cache: Path | None, device: str, compile_setting: Any):
        """Take where datasets are cached and how cohorts are computed."""
        self.experiment, self.compile_setting = experiment, compile_setting
        self.device = "cuda" if device == "auto" and torch.cuda.is_available() else device
        self.device = "cpu" if self.device == "auto" else self.device
        self.cache = cache
        self.task = lru_cache(TASKS_IN_MEMORY)(self._load)
        self.prepared: dict[str, Prepared] = {}

    def run(self, specs: list[RunSpec], on_update: Callable[[int], None]) -> list[RunRecord]:
        """Return the record of every run; a run that fails takes no other with it.

        `on_update` is told the number of runs that an update advanced.
        """
        records, ready = [], []
        for spec in specs:
            try:
                prepared = self._prepare(spec)
            except Exception as error:
                records.append(self._record(spec, "failed", error=_describe(error)))
                continue
            if len(prepared.dataset) == 0:
                records.append(self._record(spec, "empty", dataset=_dataset_facts(prepared)))
            else:
                ready.append(prepared)
        return records + (self._train_or_split(ready, on_update) if ready else [])

    def _train_or_split(
        self, ready: list[Prepared], on_update: Callable[[int], None]
    ) -> list[RunRecord]:
        try:
            return self._train(ready, on_update)
        except Exception as error:
            if len(ready) == 1:
                facts = _dataset_facts(ready[0])
                return [
                    self._record(ready[0].spec, "failed", error=_describe(error), dataset=facts)
                ]
            # One run's exception stops the whole tensor program: find out whose it is.
            return [r for one in ready for r in self._train_or_split([one], on_update)]

    def _train(self, ready: list[Prepared], on_update: Callable[[int], None]) -> list[RunRecord]:
        start = time.perf_counter()
        config = ready[0].spec.config
        seeds = [p.spec.config.seed for p in ready]
        environments = [p.task.environment for p in ready]
        cohort = Cohort(
            [
                Member(p.spec.config.algorithm, p.spec.config.seed, p.dataset, p.task.data)
                for p in ready
            ],
            config.batch_size,
            config.dataset.normalization,
            self.device,
            compilation.wanted(self.compile_setting, config.num_updates, self.device),
        )
        history = _History(len(ready))
        training = 0.0
        while cohort.step < config.num_updates:
            ahead = min(config.eval_every, config.num_updates - cohort.step)
            begun = time.perf_counter()
            for _ in cohort.train(ahead):
                on_update(len(ready))
            training += time.perf_counter() - begun
            history.add(cohort, evaluate(cohort, environments, seeds, config.eval_episodes))
        timing = {
            "updates_per_second": config.num_updates / training,
            "wall_seconds": time.perf_counter() - start,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "cohort_size": len(ready),
        }
        return [self._finished(p, history, i, timing) for i, p in enumerate(ready)]

    def _finished(
        self, prepared: Prepared, history: "_History", index: int, timing: dict[str, float]
    ) -> RunRecord:
        facts = _dataset_facts(prepared)
        if history.lost_at[index] is not None:
            error = f"A parameter was not finite at update {history.lost_at[index]}."
            return self._record(prepared.spec, "failed", error=error, dataset=facts, timing=timing)
        evaluations = history.evaluations[index]
        last = evaluations[-1]
        assert prepared.report is not None
        assert prepared.anchors is not None
        learned = None
        if last.probabilities is not None:
            environment = prepared.task.environment
            assert environment.mdp is not None
            visited = tabular.occupancy(
                environment.mdp, last.probabilities, environment.spec.discount
            )
            learned = coverage.occupancy_coverage(visited, prepared.dataset)
        return self._record(
            prepared.spec,
            "completed",
            dataset=facts,
            coverage=coverage.as_dict(prepared.report, learned),
            values=asdict(prepared.anchors),
            evaluations=[
                {
                    "update": e.update,
                    "returns": e.returns,
                    "exact_value": e.exact_value,
                    "sampled_value": e.sampled_value,
                }
                for e in evaluations
            ],
            final=regret.scores(last, prepared.anchors),
            metrics=history.metrics[index],
            timing=timing,
        )

    def _prepare(self, spec: RunSpec) -> Prepared:
        """Return the run with its data; runs that share data share the work."""
        config = spec.config
        key = repr([spec.settings[k] for k in ("dataset", "coverage", "coverage_estimates")])
        if key not in self.prepared:
            if len(self.prepared) >= PREPARED_IN_MEMORY:
                self.prepared.pop(next(iter(self.prepared)))
            task = self.task(_Key(repr(spec.settings["dataset"]), config.dataset))
            degraded = config.coverage(task.data)
            if len(degraded) == 0:
                return Prepared(spec, task, degraded, None, None)
            report = coverage.measure(task, degraded, config.coverage_estimates)
            against = regret.anchors(task, degraded)
            self.prepared[key] = Prepared(spec, task, degraded, report, against)
        shared = self.prepared[key]
        return Prepared(spec, shared.task, shared.dataset, shared.report, shared.anchors)

    def _load(self, key: "_Key") -> Task:
        return key.config.load(self.cache)

    def _record(self, spec: RunSpec, status: Status, **fields: Any) -> RunRecord:
        config = spec.config
        return RunRecord(
            run_id=spec.run_id,
            experiment=self.experiment,
            status=status,
            algorithm=config.algorithm_name,
            environment=config.dataset.environment_name,
            seed=config.seed,
            config=spec.settings,
            versions=_versions(),
            **{"dataset": _degradation_facts(spec), **fields},
        )


@dataclass(frozen=True)
class _Key:
    """A dataset's settings; equality is that of their text, since configs do not hash."""

    text: str
    config: DatasetConfig

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.text == other.text


class _History:
    """What a cohort's runs leave at each evaluation."""

    def __init__(self, num_runs: int):
        self.evaluations: list[list[PolicyEvaluation]] = [[] for _ in range(num_runs)]
        self.metrics: list[dict[str, list[list[float]]]] = [{} for _ in range(num_runs)]
        self.lost_at: list[int | None] = [None] * num_runs

    def add(self, cohort: Cohort, evaluations: list[PolicyEvaluation]) -> None:
        told = cohort.metrics | cohort.diagnose()
        metrics = {name: values.cpu().numpy() for name, values in told.items()}
        finite = cohort.finite()
        for index, evaluation in enumerate(evaluations):
            if not finite[index]:
                self.lost_at[index] = self.lost_at[index] or cohort.step
                continue
            self.evaluations[index].append(evaluation)
            for name, values in metrics.items():
                if np.isfinite(values[index]):
                    points = self.metrics[index].setdefault(name, [])
                    points.append([cohort.step, float(values[index])])


def _degradation_facts(spec: RunSpec) -> dict[str, Any]:
    degradation = spec.config.coverage
    return {"degradation": degradation.name, "severity": degradation.severity}


def _dataset_facts(prepared: Prepared) -> dict[str, Any]:
    dataset = prepared.dataset
    of_file = {k: dataset.provenance[k] for k in FILE_FACTS if k in dataset.provenance}
    return {
        "source": prepared.spec.config.dataset.environment_name,
        "fingerprint": dataset.fingerprint,
        "num_transitions": len(dataset),
        "num_episodes": dataset.num_episodes,
        "mean_return": float(dataset.episode_returns.mean()) if len(dataset) else None,
        **of_file,
        **_degradation_facts(prepared.spec),
    }


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@lru_cache(1)
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
