"""One method against the best and the median of others: paired seeds, a joint bootstrap."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.measures.statistics.intervals import Estimate


class PairedDifferences(NamedTuple):
    """By how much one method's mean exceeds the lowest, and the median, of the others' means."""

    best: Estimate
    median: Estimate


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
