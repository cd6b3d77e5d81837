"""The Stackelberg game: who wants what, on a batch of transitions or on a table of counts.

    residual    delta = r + discount (1 - terminated) sum_a pi(a|s') q(s', a) - q(s, a)
    leader      J_L = E_data[ q(s, pi) ]                 objective "data"
                    = E_s0[ q(s0, pi) ]                  objective "initial"
    pessimism         E_data[ q(s, pi) - q(s, a) ]       pessimism "relative"
                      J_L                                pessimism "absolute"
    follower    J_F = pessimism + multiplier delta^T K delta + regularization |psi - psi_0|^2

(Zhou and Qu, arXiv 2309.16188.) Everything is linear in q and affine in pi, so a follower of any
kind is known to the leader by the numbers q and their derivative along a direction.

Units are normalised: q is a discounted return divided by the width of its range.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from algorithms.objectives import at_action
from bench.types import Batch, EnvSpec, TabularStatistics

Objective = Literal["data", "initial"]
Pessimism = Literal["relative", "absolute"]


class Units(NamedTuple):
    """What turns normalised values into the environment's: ``value = width q``.

    Attributes:
        width: ``[]``, width of the range of discounted returns.
        v_min: ``[]``, lower end of that range, normalised.
        v_max: ``[]``, upper end, normalised.
    """

    width: Tensor
    v_min: Tensor
    v_max: Tensor


def units(spec: EnvSpec) -> Units:
    """Return the units of a spec, float64; a range of width 0 counts as one of width 1."""
    width = spec.v_max - spec.v_min
    width = width if width > 0 else 1.0
    numbers = (width, spec.v_min / width, spec.v_max / width)
    return Units(*(torch.tensor(x, dtype=torch.float64) for x in numbers))


class Points(NamedTuple):
    """One number per action, ``[points, num_actions]``, at the observations of a game.

    A policy's probabilities or a critic's values. On a table all three are the states.
    """

    observation: Tensor
    following: Tensor
    initial: Tensor


class BatchGame(NamedTuple):
    """The game on transitions; means are weighted and `weight` sums to 1.

    Attributes:
        action: ``[batch]``.
        reward: ``[batch]``, normalised.
        bootstrap: ``[batch]``, discount where the transition goes on, 0 where it terminated.
        weight: ``[batch]``.
    """

    action: Tensor
    reward: Tensor
    bootstrap: Tensor
    weight: Tensor

    def mean_value(self, policy: Points, q: Points) -> Tensor:
        """Return ``E_data[ q(s, pi) ]``."""
        return (self.weight * (policy.observation * q.observation).sum(-1)).sum()

    def initial_value(self, policy: Points, q: Points) -> Tensor:
        """Return ``E_s0[ q(s0, pi) ]``."""
        return (policy.initial * q.initial).sum(-1).mean()

    def taken_value(self, q: Points) -> Tensor:
        """Return ``E_data[ q(s, a) ]``."""
        return (self.weight * at_action(q.observation, self.action)).sum()

    def residual(self, policy: Points, q: Points) -> Tensor:
        """Return the Bellman residual ``[batch]``."""
        return self.reward + self.residual_along(policy, q)

    def residual_along(self, policy: Points, direction: Points) -> Tensor:
        """Return the residual's derivative ``[batch]`` as q moves in a direction."""
        following = (policy.following * direction.following).sum(-1)
        return self.bootstrap * following - at_action(direction.observation, self.action)


def batch_game(batch: Batch, discount: float | Tensor, width: Tensor) -> BatchGame:
    """Return the game on a batch, in float64."""
    weight = batch.weight.double()
    return BatchGame(
        action=batch.action,
        reward=batch.reward.double() / width,
        bootstrap=discount * (1 - batch.terminated.double()),
        weight=weight / weight.sum().clamp_min(1e-12),
    )


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
Game = BatchGame | OnTable


@dataclass(frozen=True)
class Aims:
    """What leader and follower are after, as functions of the policy and of q."""

    objective: Objective
    pessimism: Pessimism

    def leader(self, game: Game, policy: Points, q: Points) -> Tensor:
        """Return ``J_L``."""
        if self.objective == "initial":
            return game.initial_value(policy, q)
        return game.mean_value(policy, q)

    def follower(self, game: Game, policy: Points, q: Points) -> Tensor:
        """Return the pessimism of ``J_F``, what the follower minimises but for the residual."""
        if self.pessimism == "relative":
            return game.mean_value(policy, q) - game.taken_value(q)
        return self.leader(game, policy, q)
