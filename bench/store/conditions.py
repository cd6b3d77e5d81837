"""What a run faced, as its record says it: condition, replication, settings under dotted names."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bench.store.record import RunRecord


@dataclass(frozen=True)
class Condition:
    """What the learners of one cell faced: an environment and how its data was degraded.

    Severity 0 is the identity of every degradation, so it is one condition, named ``none``.
    """

    environment: str
    degradation: str
    severity: float


def condition(record: RunRecord) -> Condition:
    """Return the condition of a run, from its data or, where it got none, from its settings."""
    degradation, severity = degradation_of(record)
    if severity == 0:
        return Condition(record.environment, "none", 0.0)
    return Condition(record.environment, str(degradation), float(severity))


def replicate(record: RunRecord) -> tuple[int, Any]:
    """Return what tells apart the replications of one cell: the run's seed and the data's."""
    return record.seed, record.config.get("dataset", {}).get("seed")


def degradation_of(record: RunRecord) -> tuple[Any, Any]:
    """Return the name and the severity of a run's degradation as its record says them."""
    planned = record.config.get("coverage", {})
    return (
        record.dataset.get("degradation", planned.get("name")),
        record.dataset.get("severity", planned.get("severity")),
    )


def flatten(settings: Any) -> dict[str, str]:
    """Return nested settings as dotted names with their values as text."""
    flat: dict[str, str] = {}
    _flatten(settings, "", flat)
    return flat


def _flatten(settings: Any, prefix: str, flat: dict[str, str]) -> None:
    """Add the settings to those in `flat`, their names after the prefix."""
    if not settings or not isinstance(settings, dict | list):
        flat[prefix] = _text(settings)
        return
    pairs = settings.items() if isinstance(settings, dict) else enumerate(settings)
    for name, value in pairs:
        place = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, str):
            flat[place] = value
        else:
            _flatten(value, place, flat)


def _text(value: Any) -> str:
    # What is empty has no hash.
    return json.dumps(value) if isinstance(value, dict | list) else _scalar_text(value)


@lru_cache(maxsize=4096, typed=True)  # thousands of runs share their settings
def _scalar_text(value: Any) -> str:
    # 1 and 1.0 are one setting.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)
