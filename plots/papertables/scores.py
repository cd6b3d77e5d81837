"""A run's normalized score by the rules that papers go by, derived from its evaluations.

Records store every evaluation, so nothing is stored twice. ``last`` is the last evaluation,
``best`` the highest of all, which looks at the world to choose and so flatters every learner, and
``last10`` the mean of the last ten. Those before the last have the digits that are kept of them.
"""

from typing import Any

from bench.store.record import RunRecord
from plots.data.records import SIDE_DIGITS, significant
from plots.papertables.reported import Rule

NUMBER = 10
"""Evaluations that ``last10`` is the mean of."""


def scores(record: RunRecord) -> dict[Rule, float | None]:
    """Return the score of a run by each rule; None where it has none.

    ``last10`` of fewer than ten evaluations would be the mean of the whole training, so it is none.
    """
    curve = normalized(record)
    last = record.final.get("normalized_score")
    if last is None or not curve:
        return {"last": last, "best": last, "last10": None}
    curve[-1] = last
    recent = curve[-NUMBER:]
    full = len(recent) == NUMBER
    return {"last": last, "best": max(curve), "last10": sum(recent) / NUMBER if full else None}


def behavior_score(record: RunRecord) -> list[float]:
    """Return the score of the policy that collected a run's data, nothing where it is unknown."""
    behavior = record.values.get("behavior")
    return [] if behavior is None else _scaled(record, [behavior])


def normalized(record: RunRecord) -> list[float]:
    """Return the score of each evaluation, 0 the uniform policy and 100 the reference."""
    values = map(_value, record.evaluations)
    return _scaled(record, [value for value in values if value is not None])


def _scaled(record: RunRecord, values: list[float]) -> list[float]:
    """Return values as scores, none where nothing is known to scale them by."""
    optimum, uniform = record.values.get("optimum"), record.values.get("uniform")
    if optimum is None or uniform is None or optimum == uniform:
        return []
    return [100 * (value - uniform) / (optimum - uniform) for value in values]


def _value(evaluation: dict[str, Any]) -> float | None:
    """Return the achieved value: exact where it is known, else the mean of the episodes."""
    exact: float | None = evaluation.get("exact_value")
    if exact is not None:
        return float(significant(exact, SIDE_DIGITS))
    episodes = evaluation.get("discounted_returns") or evaluation.get("returns")
    if not episodes:
        return None
    return float(significant(sum(episodes) / len(episodes), SIDE_DIGITS))
