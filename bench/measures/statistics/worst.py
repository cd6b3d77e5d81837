"""The worst case: how bad each learner gets, and how far behind the best of each cell it is.

A learner is judged as itself over all cells: the most regret it has anywhere, and what it loses to
whichever learner is best in each cell, which no single learner is everywhere.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.measures.statistics.aggregates import known_mean
from bench.measures.statistics.intervals import Estimate, seed_counts

QUANTILE = 0.95


class WorstCase(NamedTuple):
    """One learner over all cells, in the units of the scores.

    Attributes:
        worst: Its largest mean regret over seeds.
        worst_cell: Where that is: (stratum, task).
        minimax_rank: 1 for the learner whose largest regret is the smallest.
        mean: Mean over cells of its regret.
        behind: Mean over cells of its regret minus the lowest one there.
        far_behind: The 95 % quantile of that over cells.
        num_cells: How many cells there are.
    """

    worst: Estimate
    worst_cell: tuple[int, int]
    minimax_rank: int
    mean: Estimate
    behind: Estimate
    far_behind: Estimate
    num_cells: int


def worst_cases(strata: Sequence[np.ndarray], confidence: float = 0.95) -> list[WorstCase]:
    """Return a worst case per learner, with intervals of a joint bootstrap over seeds.

    The largest of several noisy means lies too high, and higher still in resamples; the lowest of a
    cell too low. Both err against every learner alike, and less the more seeds there are.

    Args:
        strata: Scores ``[learners, tasks, seeds]``, lower being better; NaN is lacking. Seeds are
            resampled within a stratum, for all learners and tasks at once.
        confidence: Coverage of the intervals.

    Raises:
        ValueError: If a learner has no score in some cell.
    """
    ones = [np.ones((1, scores.shape[-1])) for scores in strata]
    points = _means(strata, ones)
    if np.isnan(points).any():
        raise ValueError("Worst cases need every learner to have a score in every cell.")
    drawn = [seed_counts(scores.shape[-1], seed=place) for place, scores in enumerate(strata)]
    replicas = _means(strata, drawn)
    # A resample without any of a cell's seeds says nothing new of that cell.
    replicas = np.where(np.isnan(replicas).any(axis=1, keepdims=True), points, replicas)
    tail = (1 - confidence) / 2
    summaries = _summaries(points)[..., 0]
    low, high = np.quantile(_summaries(replicas), [tail, 1 - tail], axis=-1)
    cells = [(s, t) for s, scores in enumerate(strata) for t in range(scores.shape[1])]
    order = np.argsort(np.argsort(summaries[0], kind="stable"), kind="stable")
    found = []
    for learner, own in enumerate(points[0]):
        runs = int(sum(np.sum(~np.isnan(scores[learner])) for scores in strata))
        ends = zip(summaries[:, learner], low[:, learner], high[:, learner], strict=True)
        worst, mean, behind, far = (
            Estimate(float(point), float(start), float(end), runs) for point, start, end in ends
        )
        place = cells[int(np.argmax(own))]
        rank = int(order[learner]) + 1
        found.append(WorstCase(worst, place, rank, mean, behind, far, len(cells)))
    return found


def _means(strata: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> np.ndarray:
    """Return means over seeds ``[resamples, learners, cells]``; NaN where none was drawn."""
    means = []
    for scores, own in zip(strata, weights, strict=True):
        known = ~np.isnan(scores)
        number = np.tensordot(own, known, axes=(1, 2))
        total = np.tensordot(own, np.where(known, scores, 0.0), axes=(1, 2))
        means.append(np.where(number > 0, total / np.maximum(number, 1), np.nan))
    return np.concatenate(means, axis=2)


def _summaries(means: np.ndarray) -> np.ndarray:
    """Return worst, mean, behind and far behind, ``[4, learners, resamples]``."""
    behind = means - means.min(axis=1, keepdims=True)
    parts = [means.max(-1), known_mean(means), behind.mean(-1), np.quantile(behind, QUANTILE, -1)]
    return np.swapaxes(np.stack(parts), 1, 2)
