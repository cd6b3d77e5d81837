"""From a score matrix to aggregates with intervals, the run being the unit of replication.

The interquartile mean and the stratified bootstrap follow Agarwal et al. 2021, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice" (arXiv 2108.13264).
"""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Estimate(NamedTuple):
    """An aggregate with its percentile-bootstrap interval, all in the units of the scores."""

    point: float
    low: float
    high: float
    num_runs: int


def interquartile_mean(scores: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Return the mean of the middle half of the scores along `axis` (of all if None)."""
    return stats.trim_mean(scores, proportiontocut=0.25, axis=axis)


def bootstrap_interquartile_mean(
    strata: list[np.ndarray],
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 2000,
) -> Estimate:
    """Return the interquartile mean of all runs with a stratified percentile bootstrap.

    Args:
        strata: One array of scores ``[runs]`` per stratum (one environment, say). Runs are
            resampled within their stratum, so that every resample keeps the strata's sizes.
        rng: Where the resamples come from.
        confidence: Coverage of the interval.
        num_resamples: Bootstrap repetitions.

    Raises:
        ValueError: If there is no score at all.
    """
    pooled = np.concatenate(strata) if strata else np.empty(0)
    if pooled.size == 0:
        raise ValueError("An interquartile mean needs at least one score.")
    resampled = np.concatenate(
        [rng.choice(scores, size=(num_resamples, scores.size)) for scores in strata if scores.size],
        axis=1,
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(interquartile_mean(resampled, axis=1), [tail, 1 - tail])
    return Estimate(float(interquartile_mean(pooled)), float(low), float(high), pooled.size)


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of two columns ``[n]``, ties at their mean rank.

    None where it says nothing: of fewer than three pairs, or where a column holds one value only.
    """
    if len(left) < 3 or len(np.unique(left)) == 1 or len(np.unique(right)) == 1:
        return None
    return float(stats.spearmanr(left, right)[0])
