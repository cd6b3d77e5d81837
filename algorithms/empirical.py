"""The empirical MDP of a table's counts, in which several learners plan."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bench.types import EnvSpec, TabularStatistics


class Range(NamedTuple):
    """What any policy's discounted return lies between, ``[]`` each."""

    low: Tensor
    high: Tensor

    @property
    def width(self) -> Tensor:
        """The difference."""
        return self.high - self.low


def value_range(spec: EnvSpec) -> Range:
    """Return the range of the world's values, which does not depend on data."""
    return Range(torch.tensor(float(spec.v_min)), torch.tensor(float(spec.v_max)))


def expected(counts: TabularStatistics, value: Tensor, discount: float | Tensor) -> Tensor:
    """Return the data's mean of ``r + discount (1 - terminated) value(s')``.

    ``[states, actions]`` of a value ``[states]``; 0 where there is no data.
    """
    following = counts.by_pair(counts.number * value.gather(0, counts.successor))
    return (counts.reward_sums + discount * following) / counts.visits.clamp_min(1)


def variance(counts: TabularStatistics, value: Tensor, discount: float | Tensor) -> Tensor:
    """Return the sample variance of the same, ``[states, actions]``; 0 at fewer than two visits.

    Of transitions from one pair to one successor the mean reward alone is known, so that noise of
    rewards among these is not in it.
    """
    mean = expected(counts, value, discount)
    reward = counts.rewards / counts.number.clamp_min(1)
    target = reward + discount * value.gather(0, counts.successor)
    squares = counts.by_pair(
        counts.number * (target - mean.reshape(-1).gather(0, counts.pair)) ** 2
    )
    ends = counts.termination_counts
    final = (counts.reward_sums - counts.by_pair(counts.rewards)) / ends.clamp_min(1)
    return (squares + ends * (final - mean) ** 2) / (counts.visits - 1).clamp_min(1)


def log_pairs(counts: TabularStatistics, confidence: float | Tensor) -> Tensor:
    """Return ``log(pairs / (1 - confidence))``: what a bound costs that holds for all of them."""
    number = counts.termination_counts.numel()
    return math.log(number) - torch.log1p(-torch.as_tensor(confidence))
