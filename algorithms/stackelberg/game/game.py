"""The Stackelberg game: who wants what, and the game on a batch of transitions.

    residual    delta = r + discount (1 - terminated) sum_a pi(a|s') q(s', a) - q(s, a)
    leader      J_L = E_data[ q(s, pi) ]                 objective "data"
                    = E_s0[ q(s0, pi) ]                  objective "initial"
    pessimism         E_data[ q(s, pi) - q(s, a) ]       pessimism "relative"
                      J_L                                pessimism "absolute"
    follower    J_F = pessimism + multiplier delta^T K delta + regularization |psi - psi_0|^2

(Zhou and Qu, arXiv 2309.16188.) Everything is linear in q and affine in pi, so a follower of any
kind is known to the leader by the numbers q and their derivative along a direction. Games on
tables of counts are in game/tables.py, those of continuous actions in game/pairs.py.

Units are normalised: q is a discounted return divided by the width of its range, or by what the
uniform policy's regret is where the world says that.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from algorithms.objectives import at_action
from bench.types import Batch, EnvSpec

Objective = Literal["data", "initial"]
Pessimism = Literal["relative", "absolute"]


class Units(NamedTuple):
    """What turns normalised values into the environment's: ``value = width q``.

    Attributes:
        width: ``[]``, what one unit is worth.
        v_min: ``[]``, lower end of the range of discounted returns, normalised.
        v_max: ``[]``, upper end, normalised.
        base: ``[]``, where a critic of continuous actions starts from, normalised: the uniform
            policy's value, or `v_min` where the world does not say it.
    """

    width: Tensor
    v_min: Tensor
    v_max: Tensor
    base: Tensor


def units(spec: EnvSpec) -> Units:
    """Return the units of a spec, float64; a width of 0 counts as 1."""
    width = spec.uniform_regret or spec.v_max - spec.v_min
    width = width if width > 0 else 1.0
    base = spec.v_min if spec.uniform_value is None else spec.uniform_value
    numbers = (width, spec.v_min / width, spec.v_max / width, base / width)
    return Units(*(torch.tensor(x, dtype=torch.float64) for x in numbers))


class Points(NamedTuple):
    """What there is at the observations of a game.

    A policy's probabilities or a critic's values, one number per action ``[points, num_actions]``,
    on a table at its states three times over; of vectors what a critic takes in where the policy
    acts, ``[points, width]``; or the observations themselves.
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

    def residual_to(self, policy: Points, q: Points, later: Points) -> Tensor:
        """Return the residual ``[batch]`` where another critic says what follows is worth."""
        return self.residual(policy, q._replace(following=later.following))


def batch_game(batch: Batch, discount: float | Tensor, width: Tensor) -> BatchGame:
    """Return the game on a batch, in float64."""
    weight = batch.weight.double()
    return BatchGame(
        action=batch.action,
        reward=batch.reward.double() / width,
        bootstrap=discount * (1 - batch.terminated.double()),
        weight=weight / weight.sum().clamp_min(1e-12),
    )


class Game(Protocol):
    """What every game can say of a policy and a q, each as that game knows them."""

    def mean_value(self, policy: Points, q: Any) -> Tensor:
        """Return ``E_data[ q(s, pi) ]``."""

    def initial_value(self, policy: Points, q: Any) -> Tensor:
        """Return ``E_s0[ q(s0, pi) ]``."""

    def taken_value(self, q: Any) -> Tensor:
        """Return ``E_data[ q(s, a) ]``."""

    def residual(self, policy: Points, q: Any) -> Tensor:
        """Return the Bellman residuals."""

    def residual_along(self, policy: Points, direction: Any) -> Tensor:
        """Return their derivative as q moves in a direction."""


@dataclass(frozen=True)
class Aims:
    """What leader and follower are after, as functions of the policy and of q.

    Attributes:
        objective: The leader's.
        pessimism: The follower's.
        tilt: Weight with which the leader's objective is added to the follower's; None is none.
    """

    objective: Objective
    pessimism: Pessimism
    tilt: float | Tensor | None = None

    def tilted(self, tilt: float | Tensor) -> "Aims":
        """Return the aims with that tilt."""
        return replace(self, tilt=tilt)

    def leader(self, game: Game, policy: Points, q: Any) -> Tensor:
        """Return ``J_L``."""
        if self.objective == "initial":
            return game.initial_value(policy, q)
        return game.mean_value(policy, q)

    def follower(self, game: Game, policy: Points, q: Any) -> Tensor:
        """Return the pessimism of ``J_F``, what the follower minimises but for the residual."""
        if self.pessimism == "relative":
            pessimism = game.mean_value(policy, q) - game.taken_value(q)
        else:
            pessimism = self.leader(game, policy, q)
        if self.tilt is None:
            return pessimism
        return pessimism + self.tilt * self.leader(game, policy, q)
