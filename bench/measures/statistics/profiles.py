"""Performance profiles: which share of runs is at or below each regret.

The score distributions of Agarwal et al. 2021 (arXiv 2108.13264), of regrets: a curve further up
and left is better, and one that is above another everywhere is so whatever one aggregates by.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.measures.statistics.aggregates import known_mean
from bench.measures.statistics.intervals import seed_counts


class Profile(NamedTuple):
    """A share of runs per threshold with a pointwise 95 % interval, each ``[thresholds]``."""

    share: np.ndarray
    low: np.ndarray
    high: np.ndarray


def performance_profile(
    strata: Sequence[np.ndarray], thresholds: np.ndarray, confidence: float = 0.95
) -> Profile:
    """Return a learner's profile, every task counting alike.

    Args:
        strata: Regrets ``[tasks, seeds]``, seeds being resampled within each; NaN is lacking.
        thresholds: Where the profile is read.
        confidence: Coverage of the interval at each threshold.
    """
    counts = [seed_counts(scores.shape[-1], seed=place) for place, scores in enumerate(strata)]
    tasks = [(row, own) for scores, own in zip(strata, counts, strict=True) for row in scores]
    ones = [(row, np.ones((1, len(row)))) for row, _ in tasks]
    share = _shares(ones, thresholds)[0]
    tail = (1 - confidence) / 2
    low, high = np.quantile(_shares(tasks, thresholds), [tail, 1 - tail], axis=0)
    return Profile(share, low, high)


def _shares(tasks: list[tuple[np.ndarray, np.ndarray]], thresholds: np.ndarray) -> np.ndarray:
    """Return ``[resamples, thresholds]`` from regrets ``[seeds]`` and weights per task."""
    shares = []
    for scores, weights in tasks:
        known = ~np.isnan(scores)
        own = weights[:, known].astype(float)
        at_most = (scores[known, None] <= thresholds).astype(float)
        drawn = own.sum(axis=1, keepdims=True)
        shares.append(np.where(drawn > 0, own @ at_most / np.maximum(drawn, 1), np.nan))
    return known_mean(np.stack(shares, axis=-1))
