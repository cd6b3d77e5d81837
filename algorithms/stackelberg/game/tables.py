"""The game on a table: on the empirical MDP of its counts, by cells or by transitions."""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.stackelberg.game.game import Points
from bench.types import TabularStatistics


class TableGame(NamedTuple):
    """The game on the empirical MDP of a table; cells without data have no residual.

    Attributes:
        transition: ``[states, actions, states]``, discounted probability of going on to a state.
        reward: ``[states, actions]``, mean reward, normalised.
        share: ``[states, actions]``, share of the data (mu).
        initial_share: ``[states]``, share of the initial observations.
    """

    transition: Tensor
    reward: Tensor
    share: Tensor
    initial_share: Tensor

    @property
    def covered(self) -> Tensor:
        """Whether a cell has data ``[states, actions]``."""
        return self.share > 0

    def mean_value(self, policy: Points, q: Points) -> Tensor:
        """Return ``E_data[ q(s, pi) ]``."""
        return (self.share.sum(-1, keepdim=True) * policy.observation * q.observation).sum()

    def initial_value(self, policy: Points, q: Points) -> Tensor:
        """Return ``E_s0[ q(s0, pi) ]``."""
        return (self.initial_share.unsqueeze(-1) * policy.initial * q.initial).sum()

    def taken_value(self, q: Points) -> Tensor:
        """Return ``E_data[ q(s, a) ]``."""
        return (self.share * q.observation).sum()

    def residual(self, policy: Points, q: Points) -> Tensor:
        """Return the mean Bellman residual of each cell ``[states, actions]``."""
        return self.reward * self.covered + self.residual_along(policy, q)

    def residual_along(self, policy: Points, direction: Points) -> Tensor:
        """Return the residual's derivative ``[states, actions]`` as q moves in a direction."""
        following = self.transition @ (policy.following * direction.following).sum(-1)
        return (following - direction.observation) * self.covered


def table_game(
    counts: TabularStatistics,
    initial_observations: Tensor,
    discount: float | Tensor,
    width: Tensor,
) -> TableGame:
    """Return the game on the counts of a dataset and its initial states, in float64."""
    states = torch.arange(len(counts.termination_counts), device=initial_observations.device)
    successors = counts.successor_counts.double()
    visits = successors.sum(-1) + counts.termination_counts.double()
    seen = visits.clamp_min(1)
    return TableGame(
        transition=discount * successors / seen.unsqueeze(-1),
        reward=counts.reward_sums.double() / seen / width,
        share=visits / visits.sum().clamp_min(1),
        initial_share=(initial_observations.unsqueeze(-1) == states).double().mean(0),
    )


class TransitionGame(NamedTuple):
    """The game on a table whose residuals are those of transitions, not their means by cell.

    Transitions of one cell to one successor stand for one with their mean reward: how rewards
    differ among them adds a constant to the mean squared residual. How rewards go with successors
    does not, and is kept.

    Attributes:
        table: The game on the cells.
        rewards: ``[states, actions, states + 1]``, mean by successor, the last where it terminated.
        weight: Likewise, share of the data; sums to 1.
        discount: ``[]``.
    """

    table: TableGame
    rewards: Tensor
    weight: Tensor
    discount: Tensor

    @property
    def transition(self) -> Tensor:
        """Discounted probability of going on to a state ``[states, actions, states]``."""
        return self.table.transition

    @property
    def share(self) -> Tensor:
        """Share of the data ``[states, actions]``."""
        return self.table.share

    @property
    def initial_share(self) -> Tensor:
        """Share of the initial observations ``[states]``."""
        return self.table.initial_share

    @property
    def covered(self) -> Tensor:
        """Whether a cell has data ``[states, actions]``."""
        return self.table.covered

    def mean_value(self, policy: Points, q: Points) -> Tensor:
        """Return ``E_data[ q(s, pi) ]``."""
        return self.table.mean_value(policy, q)

    def initial_value(self, policy: Points, q: Points) -> Tensor:
        """Return ``E_s0[ q(s0, pi) ]``."""
        return self.table.initial_value(policy, q)

    def taken_value(self, q: Points) -> Tensor:
        """Return ``E_data[ q(s, a) ]``."""
        return self.table.taken_value(q)

    def residual(self, policy: Points, q: Points) -> Tensor:
        """Return the Bellman residuals ``[states, actions, states + 1]``, 0 without data."""
        return self.rewards + self.residual_along(policy, q)

    def residual_along(self, policy: Points, direction: Points) -> Tensor:
        """Return their derivative, likewise, as q moves in a direction."""
        value = self.discount * (policy.following * direction.following).sum(-1)
        following = torch.cat([value, torch.zeros_like(value[:1])])
        return (following - direction.observation.unsqueeze(-1)) * (self.weight > 0)


def transition_game(
    counts: TabularStatistics, table: TableGame, discount: Tensor, width: Tensor
) -> TransitionGame:
    """Return the game on the transitions that the counts of a dataset stand for, in float64."""
    going = counts.successor_reward_sums.double()
    ended = (counts.reward_sums.double() - going.sum(-1)).unsqueeze(-1)
    ends = counts.termination_counts.double().unsqueeze(-1)
    number = torch.cat([counts.successor_counts.double(), ends], dim=-1)
    rewards = torch.cat([going, ended], dim=-1) * (number > 0)
    return TransitionGame(
        table=table,
        rewards=rewards / number.clamp_min(1) / width,
        weight=number / number.sum().clamp_min(1),
        discount=discount,
    )


OnTable = TableGame | TransitionGame
