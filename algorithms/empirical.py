"""The empirical MDP of a table's counts, in which several learners plan."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Greedy
from algorithms.networks import rows
from bench.types import Batch, DataSummary, EnvSpec, TabularStatistics


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


class State(NamedTuple):
    """The table ``[states, actions]``, and the range of values."""

    table: Tensor
    range: Range


@dataclass(frozen=True)
class PessimisticIteration(Algorithm):
    """Value iteration from the lowest values, within their range; one update is one iteration.

    A pair without data has the lowest value there can be. Acts greedily.
    """

    num_minibatches: ClassVar[int] = 0
    tabular_only: ClassVar[bool] = True

    @abstractmethod
    def lowered(self, counts: TabularStatistics, value: Tensor, values: Range) -> Tensor:
        """Return what pairs with data are worth ``[states, actions]`` before a value ``[states]``.

        `values` is the range of values; what is returned need not be within it.
        """

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return the lowest values."""
        values = value_range(spec)
        return State(values.low.expand(spec.observation_size, spec.num_actions).clone(), values)

    def update(
        self,
        state: State,
        summary: DataSummary,
        batch: Batch | None,
        noise: dict[str, Tensor],
        phase: int,
    ) -> tuple[State, Metrics]:
        """Take one iteration; `lower_bound` is of the policy's value from initial states."""
        counts, (low, high) = summary.tabular, state.range
        assert counts is not None
        lowered = self.lowered(counts, state.table.amax(-1), state.range)
        table = torch.where(counts.visits > 0, lowered, low).clamp(low, high)
        change = (table - state.table).abs().amax()
        bound = table.amax(-1).gather(0, summary.initial_observations).mean()
        return State(table, state.range), {"change": change, "lower_bound": bound}

    def policy(self, state: State, observation: Tensor) -> Greedy:
        """Return the greedy policy at states ``[...]``."""
        return Greedy(rows(state.table, observation))

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor:
        """Return the table."""
        return state.table
