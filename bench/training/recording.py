"""From what a run leaves in memory to its record."""

import importlib.metadata
import platform
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any

from bench.data.units import reward_unit
from bench.measures import coverage, regret
from bench.measures.exact import occupancy_coverage
from bench.settings.run import RunConfig, content, worse_recipes
from bench.settings.spec import RunSpec
from bench.store.code import code_of
from bench.store.record import RunRecord, Status
from bench.training.history import History
from bench.training.preparation import Prepared
from bench.worlds import exact

PACKAGES = ("stackelberg-bench", "torch", "numpy", "gymnasium", "scikit-learn")
# What a record says of a file: its hash, whose reference returns scores are scaled by, how many
# transitions lead across episodes, and what came of comparing it with its world.
FILE_FACTS = ("sha256", "reference", "crossing", "world_check")


class Recorder:
    """Makes the records of one experiment."""

    def __init__(self, experiment: str):
        """Take the experiment's name."""
        self.experiment = experiment

    def empty(self, prepared: Prepared) -> RunRecord:
        """Return the record of a run whose degradation left no data."""
        return self._record(prepared.spec, "empty", dataset=_dataset_facts(prepared))

    def failed(self, run: Prepared | RunSpec, error: str) -> RunRecord:
        """Return the record of a run that failed, with or without its data."""
        if isinstance(run, RunSpec):
            return self._record(run, "failed", error=error)
        return self._record(run.spec, "failed", error=error, dataset=_dataset_facts(run))

    def finished(
        self, prepared: Prepared, history: History, index: int, timing: dict[str, float | None]
    ) -> RunRecord:
        """Return the record of the run at `index` of a cohort that has been trained."""
        facts = _dataset_facts(prepared)
        if history.lost_at[index] is not None:
            error = f"A parameter was not finite at update {history.lost_at[index]}."
            return self._record(prepared.spec, "failed", error=error, dataset=facts, timing=timing)
        evaluations = history.evaluations[index]
        last = evaluations[-1] if evaluations else None
        environment = prepared.task.environment
        assert prepared.coverage is not None
        assert prepared.anchors is not None
        learned = None
        if last is not None and last.probabilities is not None:
            assert environment.mdp is not None
            visited = exact.occupancy(
                environment.mdp, last.probabilities, environment.spec.discount
            )
            learned = occupancy_coverage(visited, prepared.dataset)
        return self._record(
            prepared.spec,
            "completed",
            dataset=facts,
            coverage=coverage.as_dict(prepared.coverage, learned),
            values=asdict(prepared.anchors),
            evaluation=environment.title if environment.can_evaluate else None,
            evaluation_reason=environment.without_evaluation,
            evaluations=[evaluation.told for evaluation in evaluations],
            final=regret.scores(last, prepared.anchors),
            value_estimates=history.value_estimates[index],
            regret_split=history.regret_splits[index],
            metrics=history.metrics[index],
            timing=timing,
        )

    def without_results(self, record: RunRecord, error: str) -> RunRecord:
        """Return the record of a run that failed only when its results were to be written."""
        results = ("coverage", "values", "final", "value_estimates", "regret_split", "metrics")
        nothing: dict[str, Any] = {name: {} for name in results}
        return replace(record, status="failed", error=error, evaluations=[], **nothing)

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
            code=code_of(spec.settings),
            **{"dataset": _degradation_facts(spec), **fields},
        )


def _degradation_facts(spec: RunSpec) -> dict[str, Any]:
    degradation = spec.config.coverage
    return {"degradation": degradation.name, "severity": degradation.severity}


def _dataset_facts(prepared: Prepared) -> dict[str, Any]:
    dataset = prepared.dataset
    unit = reward_unit(dataset.spec)
    of_file = {k: dataset.provenance[k] for k in FILE_FACTS if k in dataset.provenance}
    return {
        "source": prepared.spec.config.dataset.environment_name,
        **_contents(prepared.spec.config),
        "fingerprint": dataset.fingerprint,
        "num_transitions": len(dataset),
        "num_episodes": dataset.num_episodes,
        "mean_return": float(dataset.episode_returns.mean()) if len(dataset) else None,
        **of_file,
        # Metrics of learners are in this unit, all else is in the world's own.
        **({} if unit == 1 else {"reward_unit": unit}),
        **_degradation_facts(prepared.spec),
    }


def _contents(config: RunConfig) -> dict[str, Any]:
    """Return hashes of what the data was made from, beside the settings."""
    worse = {name: content(recipe) for name, recipe in worse_recipes(config).items()}
    own = {"content": content(config.dataset.source.recipe())}
    return {**own, "worse": worse} if worse else own


@lru_cache(1)
def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
