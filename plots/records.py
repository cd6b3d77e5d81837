"""Records of one experiment, read from the store and checked before anything is drawn."""

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any, get_args

from bench.store.records import RunRecord, RunStore, Status
from plots.surroundings import COVERAGES

# Estimates of coverage that are not among those; see plots/comparisons.py.
ESTIMATES = ("effective_sample_size", "inverse_relative_condition_number", "saco", "tq")


class UnusableRecords(Exception):
    """Nothing can be drawn; the message is one sentence for the person at the terminal."""


@dataclass(frozen=True)
class Condition:
    """What the learners of one cell faced: an environment and how its data was degraded.

    Severity 0 is the identity of every degradation, so it is one condition, named ``none``.
    """

    environment: str
    degradation: str
    severity: float


def read_records(store: RunStore, experiment: str) -> list[RunRecord]:
    """Return the records of `experiment`, each fit to be drawn.

    Raises:
        UnusableRecords: If the store is empty, does not hold the experiment, holds a file that is
            no run record, or if none of the runs completed.
    """
    known = store.experiments()
    if not known:
        raise UnusableRecords(f"There is no run record under {store.root}.")
    if experiment not in known:
        raise UnusableRecords(
            f"There is no experiment {experiment!r} under {store.root}; it has {', '.join(known)}."
        )
    try:
        records = store.summaries(experiment)
    except ValueError as error:
        raise UnusableRecords(f"{error}.") from error
    for record in records:
        fault = _fault(record)
        if fault:
            raise UnusableRecords(
                f"{store.root}/{experiment}/{record.run_id}.json is no usable record: {fault}."
            )
    if not any(record.status == "completed" for record in records):
        raise UnusableRecords(_none_completed(records, experiment))
    return records


def condition(record: RunRecord) -> Condition:
    """Return the condition of a run, from its data or, where it got none, from its settings."""
    degradation, severity = _degradation(record)
    if severity == 0:
        return Condition(record.environment, "none", 0.0)
    return Condition(record.environment, str(degradation), float(severity))


def replicate(record: RunRecord) -> tuple[int, Any]:
    """Return what tells apart the replications of one cell: the run's seed and the data's."""
    return record.seed, record.config.get("dataset", {}).get("seed")


def error_line(record: RunRecord) -> str:
    """Return the last line of a run's error, which says what happened; empty without an error."""
    lines = (record.error or "").strip().splitlines()
    return lines[-1] if lines else ""


def flatten(settings: Any, prefix: str = "") -> dict[str, str]:
    """Return nested settings as dotted names with their values as text."""
    if not isinstance(settings, dict | list) or not settings:
        return {prefix: _text(settings)}
    pairs = settings.items() if isinstance(settings, dict) else enumerate(settings)
    flat: dict[str, str] = {}
    for name, value in pairs:
        flat |= flatten(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def _text(value: Any) -> str:
    # 1 and 1.0 are one setting.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def _degradation(record: RunRecord) -> tuple[Any, Any]:
    planned = record.config.get("coverage", {})
    return (
        record.dataset.get("degradation", planned.get("name")),
        record.dataset.get("severity", planned.get("severity")),
    )


def _fault(record: RunRecord) -> str | None:
    """Return what makes a record unfit for drawing, None if nothing does."""
    if record.status not in get_args(Status):
        return f"its status is {record.status!r} instead of one of {', '.join(get_args(Status))}"
    for name in ("run_id", "algorithm", "environment"):
        if not isinstance(getattr(record, name), str):
            return f"its `{name}` is not a name"
    for name in ("config", "dataset", "coverage", "values", "final"):
        if not isinstance(getattr(record, name), dict):
            return f"its `{name}` is not a mapping"
    for name in ("algorithm", "coverage", "dataset"):
        if not isinstance(record.config.get(name, {}), dict):
            return f"its `config.{name}` is not a mapping"
    degradation, severity = _degradation(record)
    if not isinstance(degradation, str) or not isinstance(severity, int | float):
        return "it does not say which degradation of its data at which severity it ran on"
    coverages = [record.coverage.get(name) for name in (*COVERAGES, *ESTIMATES)]
    numbers = [*record.values.values(), *record.final.values(), *coverages]
    if not all(v is None or (isinstance(v, int | float) and isfinite(v)) for v in numbers):
        return "its `values`, `final` or `coverage` hold something other than finite numbers"
    if not all(isinstance(evaluation, dict) for evaluation in record.evaluations):
        return "its `evaluations` are not mappings"
    if record.status == "completed" and "normalized_regret" not in record.final:
        return "it completed without a `final.normalized_regret`"
    return None


def _none_completed(records: list[RunRecord], experiment: str) -> str:
    failed = [record for record in records if record.status == "failed"]
    sentence = (
        f"None of the {len(records)} runs of {experiment!r} completed: "
        f"{len(failed)} failed and {len(records) - len(failed)} were left without data"
    )
    errors = [line for record in failed if (line := error_line(record))]
    return f"{sentence}; one error says: {errors[0]}" if errors else f"{sentence}."
