"""Estimates of coverage beside the exact quantities that they stand in for, dataset by dataset.

Runs of several learners on the same data hold the same numbers: each degraded dataset counts once.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby, takewhile
from math import isfinite
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from bench.measures.statistics.ranks import rank_correlation
from bench.store.record import RunRecord
from plots.data.frame import Frame
from plots.data.records import Condition, replicate

# Per estimate its exact counterpart. The first three are made from samples, the last two are
# measures of another kind that are reported beside them.
COUNTERPARTS = {
    "nearest_neighbor_support": "support_fraction",
    "effective_sample_size": "inverse_l2_concentrability",
    "inverse_relative_condition_number": "inverse_concentrability",
    "saco": "support_fraction",
    "tq": "behavior_value",
}
SAMPLED = tuple(COUNTERPARTS)[:3]
# Exactly 0 as soon as anything that the optimal policy visits, however rarely, is uncovered.
CONCENTRABILITIES = ("inverse_l2_concentrability", "inverse_concentrability")


class Comparison(NamedTuple):
    """One estimate on one degraded dataset; `world` is what datasets of several behaviors share."""

    measure: str
    counterpart: str
    world: str
    condition: Condition
    data_seed: Any
    exact: float
    estimate: float


@dataclass(frozen=True)
class Agreement:
    """How well an estimate orders datasets as its exact counterpart does.

    Attributes:
        num_datasets: Number of degraded datasets.
        rank: Spearman's rank correlation over all of them.
        num_covered: Number of those whose exact concentrability is above 0.
        rank_covered: The rank correlation over those; None for other counterparts.
        num_within: Number of undegraded datasets within which there is a rank correlation.
        rank_within: The median of those: degradations of one dataset are told apart.
        bias: Median of estimate minus exact.

    Correlations are None where one of the two sides does not vary.
    """

    num_datasets: int
    rank: float | None
    num_covered: int
    rank_covered: float | None
    num_within: int
    rank_within: float | None
    bias: float


def comparisons(frame: Frame) -> tuple[Comparison, ...]:
    """Return what the completed records compare, none where no estimate is made from samples."""
    found: dict[tuple[Any, ...], Comparison] = {}
    worlds = worlds_of(frame.completed())
    for record in frame.completed():
        condition, data_seed = frame.places[record.run_id], replicate(record)[1]
        known = [name for name in CONCENTRABILITIES if record.coverage.get(name) is not None]
        for measure, counterpart in COUNTERPARTS.items():
            if counterpart in CONCENTRABILITIES and not known:
                counterpart = "support_fraction"
            estimate, exact = record.coverage.get(measure), _exact(record, counterpart)
            if _number(estimate) and _number(exact):
                place = (measure, counterpart, condition, str(data_seed))
                one = (
                    measure,
                    counterpart,
                    worlds[record.environment],
                    condition,
                    data_seed,
                    exact,
                    estimate,
                )
                found.setdefault(place, Comparison(*one))
    if not any(c.measure in SAMPLED for c in found.values()):
        return ()
    order = list(COUNTERPARTS)
    return tuple(
        sorted(
            found.values(),
            key=lambda c: (
                order.index(c.measure), c.counterpart, c.condition.environment,
                c.condition.degradation, c.condition.severity, str(c.data_seed),
            ),
        )
    )  # fmt: skip


def agreements(compared: tuple[Comparison, ...]) -> dict[tuple[str, str], Agreement]:
    """Return how far each estimate can be believed, by itself and its exact counterpart."""
    return {
        pair: _agreement(list(group))
        for pair, group in groupby(compared, key=lambda c: (c.measure, c.counterpart))
    }


def _agreement(compared: list[Comparison]) -> Agreement:
    exact = np.array([c.exact for c in compared])
    estimate = np.array([c.estimate for c in compared])
    covered = (exact > 0) & (compared[0].counterpart in CONCENTRABILITIES)
    by_data: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, c in enumerate(compared):
        by_data[c.condition.environment, str(c.data_seed)].append(index)
    ranks = [rank_correlation(exact[rows], estimate[rows]) for rows in by_data.values()]
    within = [rank for rank in ranks if rank is not None]
    return Agreement(
        num_datasets=len(compared),
        rank=rank_correlation(exact, estimate),
        num_covered=int(covered.sum()),
        rank_covered=rank_correlation(exact[covered], estimate[covered]),
        num_within=len(within),
        rank_within=float(np.median(within)) if within else None,
        bias=float(np.median(estimate - exact)),
    )


def _exact(record: RunRecord, counterpart: str) -> float | None:
    """Return the exact quantity, None where the record has none."""
    if counterpart != "behavior_value":
        return record.coverage.get(counterpart)
    if record.coverage.get("support_fraction") is None:
        # Without a known MDP the behavior policy's value is itself a mean over episodes.
        return None
    values = [record.values.get(name) for name in ("behavior", "uniform", "optimum")]
    if any(value is None for value in values):
        return None
    behavior, uniform, optimum = (float(value or 0.0) for value in values)
    return None if optimum == uniform else (behavior - uniform) / (optimum - uniform)


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and isfinite(value)


def worlds_of(records: list[RunRecord]) -> dict[str, str]:
    """Return each environment's world: what the names of all that have its dynamics begin with."""
    groups: dict[str, set[str]] = defaultdict(set)
    for record in records:
        world = record.config.get("dataset", {}).get("environment", record.environment)
        groups[json.dumps(world, sort_keys=True)].add(record.environment)
    found: dict[str, str] = {}
    for names in groups.values():
        shared = takewhile(
            lambda parts: len(set(parts)) == 1, zip(*(n.split("_") for n in names), strict=False)
        )
        world = "_".join(parts[0] for parts in shared) or min(names)
        found |= dict.fromkeys(names, world)
    return found
