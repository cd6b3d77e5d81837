"""Bootstrap intervals of any statistic: seeds are resampled within their stratum.

The stratified bootstrap follows Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of
the Statistical Precipice" (arXiv 2108.13264), the bias-corrected and accelerated one Efron 1987,
"Better Bootstrap Confidence Intervals".

A stratum is an array ``[..., seeds]``: one environment, say, with its conditions on the axis before
the last. What is drawn is a seed with all its scores, so that conditions which share their data's
draw stay together.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

# Takes strata ``[resamples, ..., seeds]`` and returns ``[resamples]``.
Statistic = Callable[[Sequence[np.ndarray]], np.ndarray]
NUM_RESAMPLES = 2000
NORMAL = NormalDist()


class Estimate(NamedTuple):
    """An aggregate with its bootstrap interval, all in the units of the scores."""

    point: float
    low: float
    high: float
    num_runs: int


class Resampled:
    """Scores with resamples of them: what is drawn once gives intervals of several statistics."""

    def __init__(
        self, strata: Sequence[np.ndarray], num_resamples: int = NUM_RESAMPLES, seed: int = 0
    ):
        """Draw seeds anew within each stratum.

        Args:
            strata: Scores ``[..., seeds]``; every resample keeps the strata's sizes. NaN is a score
                that is lacking; whether it may be is the statistic's matter.
            num_resamples: Bootstrap repetitions.
            seed: Of the draws.

        Raises:
            ValueError: If there is no score at all.
        """
        self._strata = [scores for scores in strata if scores.size and not np.isnan(scores).all()]
        if not self._strata:
            raise ValueError("An estimate needs at least one score.")
        sizes = tuple(scores.shape[-1] for scores in self._strata)
        drawn = zip(self._strata, seed_picks(sizes, num_resamples, seed), strict=True)
        self._resamples = [np.moveaxis(scores[..., picks], -2, 0) for scores, picks in drawn]
        self._replicas: dict[Statistic, np.ndarray] = {}

    def percentile(self, statistic: Statistic, confidence: float = 0.95) -> Estimate:
        """Return the statistic of the scores with a stratified percentile interval."""
        tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
        return self._estimate(statistic, tails)

    def bca(self, statistic: Statistic, confidence: float = 0.95) -> Estimate:
        """Return the statistic with a bias-corrected and accelerated interval.

        With one seed in every stratum, or where nothing varies, there is nothing to correct by: the
        interval is the percentile one.
        """
        replicas, point = self._replicas_of(statistic), _point(self._strata, statistic)
        below = (np.sum(replicas < point) + np.sum(replicas <= point)) / (2 * len(replicas))
        tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
        acceleration = _acceleration(self._strata, statistic) if 0 < below < 1 else None
        if acceleration is not None:
            bias = NORMAL.inv_cdf(below)
            shifted = bias + np.array([NORMAL.inv_cdf(tail) for tail in tails])
            tails = np.array([NORMAL.cdf(bias + z / (1 - acceleration * z)) for z in shifted])
        return self._estimate(statistic, tails)

    def _replicas_of(self, statistic: Statistic) -> np.ndarray:
        if statistic not in self._replicas:
            self._replicas[statistic] = statistic(self._resamples)
        return self._replicas[statistic]

    def _estimate(self, statistic: Statistic, tails: np.ndarray) -> Estimate:
        low, high = np.quantile(self._replicas_of(statistic), tails)
        num_runs = int(sum(np.sum(~np.isnan(scores)) for scores in self._strata))
        return Estimate(_point(self._strata, statistic), float(low), float(high), num_runs)


@lru_cache(maxsize=64)
def seed_picks(sizes: tuple[int, ...], num_resamples: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return which seeds resamples hold, per stratum ``[resamples, seeds]``; not to be written.

    The same sizes always get the same resamples, so that no interval depends on what else is
    estimated, and hundreds of cells of as many runs share them.
    """
    rng = np.random.default_rng(seed)
    picks = tuple(rng.integers(0, size, (num_resamples, size)) for size in sizes)
    for of_one in picks:
        of_one.setflags(write=False)
    return picks


@lru_cache(maxsize=64)
def seed_counts(num_seeds: int, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return how often each resample holds each seed, ``[resamples, seeds]``; not to be written.

    The same number of seeds always gets the same resamples, so that no interval depends on what
    else is estimated, and strata that are resampled jointly get them by one `seed`.
    """
    rng = np.random.default_rng([seed, num_seeds])
    counts = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=num_resamples)
    counts.setflags(write=False)
    return counts


def _acceleration(strata: Sequence[np.ndarray], statistic: Statistic) -> float | None:
    """Return a sixth of the skewness of the seeds' influences, None where nothing has any."""
    cubes = squares = 0.0
    for place, scores in enumerate(strata):
        size = scores.shape[-1]
        if size < 2:
            continue
        keep = np.array([[j for j in range(size) if j != left_out] for left_out in range(size)])
        without = np.moveaxis(scores[..., keep], -2, 0)
        # The other strata as they are, once per seed that is left out of this one.
        all_of = [np.broadcast_to(other, (size, *other.shape)) for other in strata]
        values = statistic([*all_of[:place], without, *all_of[place + 1 :]])
        influences = (size - 1) * (values.mean() - values)
        cubes += np.sum(influences**3) / size**3
        squares += np.sum(influences**2) / size**2
    return None if squares == 0 else float(cubes / (6 * squares**1.5))


def _point(strata: Sequence[np.ndarray], statistic: Statistic) -> float:
    return float(statistic([scores[None] for scores in strata])[0])
