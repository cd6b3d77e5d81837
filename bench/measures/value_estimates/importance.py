"""Weighted importance sampling over trajectories (Precup et al. 2000), with a bootstrap."""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from bench import seeding
from bench.measures.value_estimates.logged import Behavior, Logged
from bench.measures.value_estimates.trajectories import Trajectories

CONFIDENCE = 0.95
NUM_RESAMPLES = 300


class Interval(NamedTuple):
    """An estimate of a value and the ends of its interval, None where there is none."""

    value: float
    low: float | None
    high: float | None


def log_ratios(trajectories: Trajectories, behavior: Behavior, taken: np.ndarray) -> np.ndarray:
    """Return the logarithm of how much likelier a policy is than the behavior policy, ``[n]``.

    That is of each trajectory from its start up to and with the row, given how likely the policy
    takes each row's action, `taken` ``[n]``. Of a mixture of trajectories the likelihood is the
    mixture's. Rows of no trajectory have NaN.
    """
    found = np.full(len(taken), np.nan)
    policy = np.zeros(len(trajectories))
    components = np.repeat(behavior.log_shares[:, None], len(trajectories), axis=1)
    with np.errstate(divide="ignore"):
        log_taken = np.log(taken)
    for present, rows in trajectories.steps():
        policy[present] += log_taken[rows]
        components[:, present] += behavior.log_chances[:, rows]
        found[rows] = policy[present] - logsumexp(components[:, present], axis=0)
    return found


def scaled(log_ratio: np.ndarray) -> np.ndarray:
    """Return ratios of which the largest is 1, all 0 where all are."""
    largest = log_ratio.max(initial=-np.inf)
    if np.isneginf(largest):
        return np.zeros(len(log_ratio))
    return np.asarray(np.exp(log_ratio - largest))


def effective_number(weight: np.ndarray) -> float:
    """Return Kish's effective sample size: how many equal weights would be worth as much."""
    return float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0


def importance_sampling(data: Logged, log_ratio: np.ndarray) -> Interval:
    """Return the weighted mean of the trajectories' returns, of which some weight is not 0."""
    trajectories = data.trajectories
    weight = scaled(log_ratio[trajectories.last])
    gained = weight * trajectories.sums(data.dataset.reward, data.discount)
    counts = resamples(trajectories, int(data.dataset.provenance["seed"]))
    weights, sums = (by_patient(trajectories, column) for column in (weight, gained))
    with np.errstate(invalid="ignore"):
        return interval(gained.sum() / weight.sum(), (counts @ sums) / (counts @ weights))


def unseen_share(data: Logged, log_ratio: np.ndarray) -> float:
    """Return which share of the weight is on trajectories that were cut, each as its cut discounts.

    What would have come after is in no return: that may be worth so much of the largest value.
    """
    trajectories = data.trajectories
    weight = scaled(log_ratio[trajectories.last])
    cut = ~trajectories.terminated
    if data.horizon is not None:
        cut &= trajectories.length < data.horizon
    return float((weight * cut) @ data.discount**trajectories.length / weight.sum())


def resamples(trajectories: Trajectories, seed: int) -> np.ndarray:
    """Return how often each resample holds each patient ``[resamples, patients]``."""
    number = trajectories.num_patients
    rng = seeding.numpy_generator("value_estimates", seed, "bootstrap")
    drawn = rng.multinomial(number, np.full(number, 1 / number), size=NUM_RESAMPLES)
    return drawn.astype(np.float64)


def by_patient(trajectories: Trajectories, values: np.ndarray) -> np.ndarray:
    """Return the sums ``[patients]`` of values ``[trajectories]``."""
    return np.bincount(trajectories.patient, values, minlength=trajectories.num_patients)


def interval(value: float, replicas: np.ndarray) -> Interval:
    """Return an estimate with its percentile interval; a single patient gives none.

    Resamples in which no trajectory has any weight are left out.
    """
    known = replicas[np.isfinite(replicas)]
    if len(known) < 2 or np.ptp(known) == 0:
        return Interval(float(value), None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(value), float(low), float(high))
