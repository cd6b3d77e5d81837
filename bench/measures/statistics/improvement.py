"""How often one learner is better than another on the same data with the same seed.

The probability of improvement of Agarwal et al. 2021 (arXiv 2108.13264), but between runs of one
seed: learners share data, evaluation episodes and, where shapes agree, initial networks, so that
pairs differ by less noise than runs drawn apart do.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bench.measures.statistics.aggregates import known_mean
from bench.measures.statistics.intervals import seed_counts

# So many seeds have few enough sign patterns to go through all of them.
EXACT_SEEDS = 12
NUM_FLIPS = 10_000


class Improvement(NamedTuple):
    """Probability that the first learner has the lower regret, ties counting half.

    Attributes:
        probability: Mean over tasks of the mean over seeds.
        low: Lower end of its bootstrap interval over seeds, within strata.
        high: Upper end.
        p_value: Two-sided, of a test that swaps the two learners seed by seed.
        num_pairs: Pairs of runs.
    """

    probability: float
    low: float
    high: float
    p_value: float
    num_pairs: int


def probability_of_improvement(
    strata: Sequence[tuple[np.ndarray, np.ndarray]], confidence: float = 0.95
) -> Improvement:
    """Return how often the first learner of each pair is better.

    Args:
        strata: Regrets of both learners ``[tasks, seeds]``, a column being the same seed in both;
            NaN in either is a pair that is lacking.
        confidence: Coverage of the interval.

    Raises:
        ValueError: If there is no pair at all.
    """
    # 1 where the first is lower, 0 where the second is, a half at ties, NaN where one lacks.
    wins = [(np.sign(second - first) + 1) / 2 for first, second in strata]
    num_pairs = int(sum(np.sum(~np.isnan(stratum)) for stratum in wins))
    if num_pairs == 0:
        raise ValueError("A probability of improvement needs at least one pair of runs.")
    ones = [np.ones((1, stratum.shape[-1])) for stratum in wins]
    drawn = [seed_counts(stratum.shape[-1], seed=place) for place, stratum in enumerate(wins)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(_weighted(wins, drawn), [tail, 1 - tail])
    point = float(_weighted(wins, ones)[0])
    return Improvement(point, float(low), float(high), _p_value(wins), num_pairs)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm 1979; at most 1, in the given order."""
    order = np.argsort(p_values, kind="stable")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def sign_flip_p_value(effects: np.ndarray) -> float:
    """Return the two-sided p-value of effects ``[seeds]`` against effects symmetric around 0.

    All sign patterns are gone through for up to `EXACT_SEEDS` seeds, else random ones are, the
    observed one among them: the smallest value that n seeds can give is 2 / 2^n.
    """
    effects = effects[effects != 0]
    if effects.size == 0:
        return 1.0
    if effects.size <= EXACT_SEEDS:
        patterns = np.arange(2**effects.size)[:, None] >> np.arange(effects.size) & 1
        signs = 1.0 - 2.0 * patterns
    else:
        signs = _random_signs(effects.size)
    totals = np.abs(signs @ effects)
    # Sums round by their order: what is equal but for that is equal.
    return float(np.mean(totals >= abs(effects.sum()) * (1 - 1e-9)))


@lru_cache(maxsize=2)  # most pairs of learners have as many seeds, and a table takes megabytes
def _random_signs(size: int) -> np.ndarray:
    """Return patterns ``[flips, size]``, the observed one first; not to be written."""
    signs = np.random.default_rng([0, size]).choice([-1.0, 1.0], size=(NUM_FLIPS, size))
    signs[0] = 1.0
    signs.setflags(write=False)
    return signs


def _weighted(wins: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> np.ndarray:
    """Return ``[resamples]``, the mean over tasks of their weighted shares of wins."""
    shares = []
    for stratum, own in zip(wins, weights, strict=True):
        known = ~np.isnan(stratum)
        number = own @ known.T
        total = own @ np.where(known, stratum, 0.0).T
        shares.append(np.where(number > 0, total / np.maximum(number, 1), np.nan))
    return known_mean(np.concatenate(shares, axis=1))


def _p_value(wins: Sequence[np.ndarray]) -> float:
    """Return the p-value of the seeds' effects: a seed's tasks in one stratum flip together."""
    effects = []
    for stratum in wins:
        known = ~np.isnan(stratum)
        per_task = np.maximum(known.sum(axis=1, keepdims=True), 1)
        effects.append(np.where(known, (stratum - 0.5) / per_task, 0.0).sum(axis=0))
    return sign_flip_p_value(np.concatenate(effects))
