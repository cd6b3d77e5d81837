"""Weighted doubly robust estimates (Thomas and Brunskill 2016), with a bootstrap."""

import numpy as np

from bench.measures.value_estimates.fitted import Fitted, Target
from bench.measures.value_estimates.importance import (
    Interval,
    by_patient,
    interval,
    resamples,
    scaled,
)
from bench.measures.value_estimates.logged import Logged


def doubly_robust(data: Logged, target: Target, fitted: Fitted, log_ratio: np.ndarray) -> Interval:
    """Return fitted values corrected by what trajectories gained more or less than these.

    ``sum_t discount^t [w_t (r_t - Q(s_t, a_t)) + w_{t-1} V(s_t)]``, where weights sum to 1 over the
    trajectories, an ended one keeping its last. Where one was cut, the fitted value of the state
    that it led to stands for the rest. `log_ratio` ``[n]`` is that of importance sampling.
    """
    trajectories, dataset = data.trajectories, data.dataset
    seed = int(dataset.provenance["seed"])
    counts = np.vstack([np.ones(trajectories.num_patients), resamples(trajectories, seed)])
    total, ratio = np.zeros(len(counts)), np.zeros(len(trajectories))
    before = scaled(ratio)
    for time, (present, rows) in enumerate(trajectories.steps()):
        left = None if data.horizon is None else data.horizon - time
        table = fitted.left(left or 0)[data.state[rows]]
        expected = np.zeros(len(trajectories))
        expected[present] = (target.now[rows] * table).sum(-1)
        ratio[present] = log_ratio[rows]
        weight, surprise = scaled(ratio), np.zeros(len(trajectories))
        surprise[present] = dataset.reward[rows] - table[np.arange(len(rows)), dataset.action[rows]]
        gained = _weighted(data, counts, before, expected) + _weighted(
            data, counts, weight, surprise + data.discount * _rest(data, target, fitted, time)
        )
        total += data.discount**time * gained
        before = weight
    return interval(total[0], total[1:])


def _rest(data: Logged, target: Target, fitted: Fitted, time: int) -> np.ndarray:
    """Return the fitted value of what each trajectory that is cut after this step led to."""
    trajectories, found = data.trajectories, np.zeros(len(data.trajectories))
    cut = (trajectories.length == time + 1) & ~trajectories.terminated
    rows = trajectories.last[cut]
    left = 0 if data.horizon is None else data.horizon - time - 1
    table = fitted.left(left)[data.next_state[rows]]
    found[cut] = (target.following[rows] * table).sum(-1)
    return found


def _weighted(
    data: Logged, counts: np.ndarray, weight: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Return the weighted mean of values ``[trajectories]`` in each resample, 0 without weight."""
    sums = counts @ by_patient(data.trajectories, weight * values)
    weights = counts @ by_patient(data.trajectories, weight)
    return np.divide(sums, weights, out=np.zeros(len(sums)), where=weights > 0)
