"""One number for many scores: interquartile mean, median, mean and optimality gap over tasks.

The four aggregates of Agarwal et al. 2021 (arXiv 2108.13264), of regrets: lower is better, 0 is the
optimum. They take strata ``[..., tasks, seeds]``, or ``[..., seeds]`` of one task each, and return
``[...]``; a NaN is a run that is lacking.
"""

from collections.abc import Sequence

import numpy as np


def interquartile_mean(scores: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Return the mean of the middle half of the scores along `axis` (of all if None)."""
    scores, along = (scores.ravel(), 0) if axis is None else (scores, axis)
    total = scores.shape[along]
    cut = total // 4
    middle = np.partition(scores, (cut, total - cut - 1), along)
    return np.take(middle, range(cut, total - cut), along).mean(along)


def pooled_interquartile_mean(strata: Sequence[np.ndarray]) -> np.ndarray:
    """Return the interquartile mean of the runs of all tasks together."""
    pooled = np.concatenate([s.reshape(len(s), -1) for s in strata], axis=1)
    lacking = np.isnan(pooled)
    if not lacking.any():
        return interquartile_mean(pooled, axis=1)
    known = pooled.shape[1] - np.sum(lacking, axis=1)
    # NaN sorts last: of each row the middle half of what is known.
    sums = np.cumsum(np.nan_to_num(np.sort(pooled, axis=1)), axis=1)
    sums = np.concatenate([np.zeros((len(sums), 1)), sums], axis=1)
    cut = known // 4
    row = np.arange(len(sums))
    size = np.maximum(known - 2 * cut, 1)
    return np.where(known > 0, (sums[row, known - cut] - sums[row, cut]) / size, np.nan)


def mean_of_tasks(strata: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean over tasks of the mean over their runs."""
    return known_mean(_task_means(strata))


def median_of_tasks(strata: Sequence[np.ndarray]) -> np.ndarray:
    """Return the median over tasks of the mean over their runs."""
    means = _task_means(strata)
    known = np.maximum(np.sum(~np.isnan(means), axis=-1), 1)
    # NaN sorts last.
    ordered, row = np.sort(means, axis=-1), np.arange(len(means))
    return (ordered[row, (known - 1) // 2] + ordered[row, known // 2]) / 2


def optimality_gap(strata: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean over tasks of what their runs lose, those below 0 counting as 0."""
    # Of scores 1 - regret: gamma - mean(min(score, gamma)) with gamma = 1.
    return known_mean(_task_means([np.maximum(s, 0) for s in strata]))


AGGREGATES = {
    "interquartile mean": pooled_interquartile_mean,
    "mean": mean_of_tasks,
    "median": median_of_tasks,
    "optimality gap": optimality_gap,
}


def known_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean along the last axis of what is no NaN; NaN where all is."""
    known = ~np.isnan(values)
    if known.all():
        return values.mean(axis=-1)
    number = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _task_means(strata: Sequence[np.ndarray]) -> np.ndarray:
    """Return ``[resamples, tasks]``."""
    means = [known_mean(scores) for scores in strata]
    return np.concatenate([m.reshape(len(m), -1) for m in means], axis=1)
