"""The head of a record: what plans and progress ask of every record, a twentieth of its size."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from bench.store.code import targets_of


class Head(NamedTuple):
    """Values as the record has them, whatever their type; None where it has none.

    Attributes:
        targets: Full names of the classes of the algorithm and of its parts.
        wall_seconds: What its cohort took, and `cohort_size` of how many runs.
        error: What went wrong.
    """

    run_id: Any
    status: Any
    code: Any
    targets: Any
    algorithm: Any
    environment: Any
    degradation: Any
    severity: Any
    seed: Any
    num_updates: Any
    wall_seconds: Any
    cohort_size: Any
    error: Any


def head_of(record: Mapping[str, Any]) -> Head:
    """Return the head of a record, given by its fields.

    Raises:
        TypeError: If a field that it is taken from is no mapping.
    """
    for name in ("config", "dataset", "timing"):
        if not isinstance(record[name], Mapping):
            raise TypeError(f"its `{name}` is not a mapping")
    planned = _of(record["config"], "coverage", {})
    return Head(
        record["run_id"],
        record["status"],
        record["code"],
        targets_of(_of(record["config"], "algorithm")),
        record["algorithm"],
        record["environment"],
        _of(record["dataset"], "degradation", _of(planned, "name", "none")),
        _of(record["dataset"], "severity", _of(planned, "severity", 0.0)),
        record["seed"],
        _of(record["config"], "num_updates", 0),
        _of(record["timing"], "wall_seconds"),
        _of(record["timing"], "cohort_size"),
        record["error"],
    )


def _of(settings: Any, key: str, default: Any = None) -> Any:
    return settings.get(key, default) if isinstance(settings, Mapping) else default
