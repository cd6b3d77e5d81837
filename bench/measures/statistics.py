"""From a score matrix to aggregates with intervals, the run being the unit of replication.

The interquartile mean and the stratified bootstrap follow Agarwal et al. 2021, "Deep
Reinforcement Learning at the Edge of the Statistical Precipice" (arXiv 2108.13264).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
    """An aggregate with its percentile-bootstrap interval, all in the units of the scores."""

    point: float
    low: float
    high: float
    num_runs: int


class PairedDifferences(NamedTuple):
    """By how much one method's mean exceeds the lowest, and the median, of the others' means."""

    best: Estimate
    median: Estimate


def interquartile_mean(scores: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Return the mean of the middle half of the scores along `axis` (of all if None)."""
    scores, along = (scores.ravel(), 0) if axis is None else (scores, axis)
    total = scores.shape[along]
    cut = total // 4
    middle = np.partition(scores, (cut, total - cut - 1), along)
    return np.take(middle, range(cut, total - cut), along).mean(along)


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


def paired_contrast(
    cells: Sequence[np.ndarray],
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 2000,
) -> PairedDifferences:
    """Return one method against the others, a mean over cells with a joint percentile bootstrap.

    Seeds are resampled once for all methods and cells: what a seed does to all of them alike is no
    uncertainty about their difference, and cells that share seeds are not independent. The best of
    the others is chosen anew in every resample. It is the lowest of several noisy means, so it lies
    below the lowest true mean, and lies lower still in the resamples: where others are about
    equal, estimate and interval both err to the one method's disadvantage.

    Args:
        cells: Scores ``[methods, seeds]`` per cell, lower being better; row 0 is the one method.
            A column is the same seed in all cells, NaN in any row means that the cell lacks it.
        rng: Where the resamples come from.
        confidence: Coverage of the interval.
        num_resamples: Bootstrap repetitions.

    Raises:
        ValueError: If there is no cell, or one without others or without a complete seed.
    """
    if not cells:
        raise ValueError("A contrast needs at least one cell.")
    for scores in cells:
        if len(scores) < 2 or np.isnan(scores).any(axis=0).all():
            raise ValueError("A contrast needs another method and at least one seed of them all.")
    # Seeds that no cell has are not drawn.
    known = np.any([~np.isnan(scores).any(axis=0) for scores in cells], axis=0)
    cells = [scores[:, known] for scores in cells]
    num_seeds = int(known.sum())
    counts = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_resamples)
    points = _mean_differences(cells, np.ones((1, num_seeds)))[:, 0]
    tail = (1 - confidence) / 2
    low, high = np.quantile(_mean_differences(cells, counts), [tail, 1 - tail], axis=1)
    estimates = [
        Estimate(float(point), float(start), float(end), num_seeds)
        for point, start, end in zip(points, low, high, strict=True)
    ]
    return PairedDifferences(*estimates)


def _mean_differences(cells: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Return ``[2, resamples]``, to the best and to the median, for weights ``[resamples, seeds]``.

    A resample that holds none of a cell's seeds says nothing about that cell and is averaged over
    the others.
    """
    total = np.zeros((2, len(weights)))
    num_cells = np.zeros(len(weights))
    for scores in cells:
        known = ~np.isnan(scores).any(axis=0)
        own = weights[:, known]
        drawn = own.sum(axis=1)
        means = own @ scores[:, known].T / np.maximum(drawn, 1)[:, None]
        others = means[:, 1:]
        differences = means[:, 0] - np.stack([others.min(axis=1), np.median(others, axis=1)])
        total += np.where(drawn > 0, differences, 0.0)
        num_cells += drawn > 0
    return total / num_cells


def rank_correlation(left: np.ndarray, right: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of two columns ``[n]``, ties at their mean rank.

    None where it says nothing: of fewer than three pairs, or where a column holds one value only.
    """
    if len(left) < 3 or len(np.unique(left)) == 1 or len(np.unique(right)) == 1:
        return None
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 1 of a column ``[n]``, of equal values their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
