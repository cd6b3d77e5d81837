"""The game on transitions whose actions are vectors.

A critic of such actions is a function of what it takes in at pairs (s, a): random features of them,
or the pairs themselves. So a policy is what the critic takes in where the policy acts, ``[points,
width]`` at the `Points` of a game, and q a function of that.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.stackelberg.game.game import Points
from bench.types import Batch

Critic = Callable[[Tensor], Tensor]


class PairGame(NamedTuple):
    """The game on transitions; means are weighted and `weight` sums to 1.

    Attributes:
        taken: ``[batch, width]``, what a critic takes in at the data's pairs.
        reward: ``[batch]``, normalised.
        bootstrap: ``[batch]``, discount where the transition goes on, 0 where it terminated.
        weight: ``[batch]``.
    """

    taken: Tensor
    reward: Tensor
    bootstrap: Tensor
    weight: Tensor

    def mean_value(self, policy: Points, q: Critic) -> Tensor:
        """Return ``E_data[ q(s, pi) ]``."""
        return (self.weight * q(policy.observation)).sum()

    def initial_value(self, policy: Points, q: Critic) -> Tensor:
        """Return ``E_s0[ q(s0, pi) ]``; a batch has an initial observation beside every transition.

        Weighted like these, so that padding adds none.
        """
        return (self.weight * q(policy.initial)).sum()

    def taken_value(self, q: Critic) -> Tensor:
        """Return ``E_data[ q(s, a) ]``."""
        return (self.weight * q(self.taken)).sum()

    def residual(self, policy: Points, q: Critic) -> Tensor:
        """Return the Bellman residual ``[batch]``."""
        return self.reward + self.residual_along(policy, q)

    def residual_along(self, policy: Points, direction: Critic) -> Tensor:
        """Return the residual's derivative ``[batch]`` as q moves in a direction."""
        return self.bootstrap * direction(policy.following) - direction(self.taken)

    def residual_to(self, policy: Points, q: Critic, later: Critic) -> Tensor:
        """Return the residual ``[batch]`` where another critic says what follows is worth."""
        return self.reward + self.bootstrap * later(policy.following) - q(self.taken)


def pair_game(batch: Batch, taken: Tensor, discount: float | Tensor, width: Tensor) -> PairGame:
    """Return the game on a batch, in float64."""
    weight = batch.weight.double()
    return PairGame(
        taken=taken,
        reward=batch.reward.double() / width,
        bootstrap=discount * (1 - batch.terminated.double()),
        weight=weight / weight.sum().clamp_min(1e-12),
    )


def in_bandwidths(
    observation: Tensor, action: Tensor, bandwidth: float | Tensor, action_bandwidth: float | Tensor
) -> Tensor:
    """Return observations and actions in units of their bandwidths, ``[points, sizes]``."""
    scaled = observation.double() / bandwidth, action.double() / action_bandwidth
    return torch.cat(scaled, dim=-1)
