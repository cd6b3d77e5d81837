"""The game on a table: on the empirical MDP of its counts, by cells or by transitions.

Nothing is as large as all states times all cells: transitions are held where the data has them, as
its counts are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.stackelberg.game.game import Points
from bench.types import TabularStatistics


class TableGame(NamedTuple):
    """The game on the empirical MDP of a table; cells without data have no residual.

    Attributes:
        pair: ``[different]``, cell ``state * actions + action`` that a transition left.
        successor: ``[different]``, the state that it led to.
        probability: ``[different]``, discounted, of going from that cell to that state; 0 is
            padding.
        reward: ``[states, actions]``, mean reward, normalised.
        share: ``[states, actions]``, share of the data (mu).
        initial_share: ``[states]``, share of the initial observations.
    """

    pair: Tensor
    successor: Tensor
    probability: Tensor
    reward: Tensor
    share: Tensor
    initial_share: Tensor

    @property
    def covered(self) -> Tensor:
        """Whether a cell has data ``[states, actions]``."""
        return self.share > 0

    def following(self, value: Tensor) -> Tensor:
        """Return ``P value``, the mean ``[states, actions]`` of successors' values ``[states]``."""
        moved = self.probability * value.gather(0, self.successor)
        return _sums(moved, self.pair, self.share.numel()).reshape(self.share.shape)

    def inflow(self, x: Tensor) -> Tensor:
        """Return ``P^T x``, what arrives at states ``[states]`` of what leaves cells."""
        moved = self.probability * x.flatten().gather(0, self.pair)
        return _sums(moved, self.successor, len(self.share))

    def step(self, policy: Tensor) -> Tensor:
        """Return ``pi P`` on states ``[states, states]``."""
        states, actions = self.share.shape
        place = self.pair.div(actions, rounding_mode="floor") * states + self.successor
        moved = self.probability * policy.flatten().gather(0, self.pair)
        return _sums(moved, place, states * states).reshape(states, states)

    def dense(self) -> Tensor:
        """Return P ``[states, actions, states]``: large where states are many."""
        states = len(self.share)
        place = self.pair * states + self.successor
        return _sums(self.probability, place, self.share.numel() * states).reshape(
            *self.share.shape, states
        )

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
        following = self.following((policy.following * direction.following).sum(-1))
        return (following - direction.observation) * self.covered


def _sums(values: Tensor, place: Tensor, size: int) -> Tensor:
    """Return the sums ``[size]`` of values by their place."""
    zeros = torch.zeros(size, dtype=values.dtype, device=values.device)
    return zeros.scatter_add(0, place, values)


def table_game(
    counts: TabularStatistics,
    initial_observations: Tensor,
    discount: float | Tensor,
    width: Tensor,
) -> TableGame:
    """Return the game on the counts of a dataset and its initial states, in float64."""
    states = torch.arange(len(counts.termination_counts), device=initial_observations.device)
    visits = counts.visits.double()
    seen = visits.clamp_min(1)
    return TableGame(
        pair=counts.pair,
        successor=counts.successor,
        probability=discount * counts.number.double() / seen.flatten().gather(0, counts.pair),
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
        rewards: ``[transitions]``, mean by successor, then where cells terminated.
        weight: ``[transitions]``, share of the data; sums to 1.
        discount: ``[]``.
    """

    table: TableGame
    rewards: Tensor
    weight: Tensor
    discount: Tensor

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
        """Return the Bellman residuals ``[transitions]``, 0 of padding."""
        return self.rewards + self.residual_along(policy, q)

    def residual_along(self, policy: Points, direction: Points) -> Tensor:
        """Return their derivative, likewise, as q moves in a direction."""
        value = self.discount * (policy.following * direction.following).sum(-1)
        going = value.gather(0, self.table.successor)
        ended = torch.zeros_like(direction.observation).flatten()
        following = torch.cat([going, ended])
        return (following - self.of_cells(direction.observation)) * (self.weight > 0)

    def of_cells(self, x: Tensor) -> Tensor:
        """Return, for each transition, the number ``[states, actions]`` of the cell it left."""
        cells = x.flatten()
        return torch.cat([cells.gather(0, self.table.pair), cells])


def transition_game(
    counts: TabularStatistics, table: TableGame, discount: Tensor, width: Tensor
) -> TransitionGame:
    """Return the game on the transitions that the counts of a dataset stand for, in float64."""
    ended = counts.reward_sums - counts.by_pair(counts.rewards)
    number = torch.cat([counts.number, counts.termination_counts.flatten()]).double()
    rewards = torch.cat([counts.rewards, ended.flatten()]).double() * (number > 0)
    return TransitionGame(
        table=table,
        rewards=rewards / number.clamp_min(1) / width,
        weight=number / number.sum().clamp_min(1),
        discount=discount,
    )


OnTable = TableGame | TransitionGame
