"""A batch as a network follower sees it: where its critic is asked, and what residuals come of it.

    of numbered actions:  q = v_min + (v_max - v_min) sigmoid(f_psi(s))[a]
    of vectors:           q = base + f_psi(s, a) / REWARD_UNITS

Vectors ask for advantages, q's slope in the action, and a sigmoid flattens those near an end of the
range: where good policies are worth nearly v_max, and the range is as wide as what could be lost, a
critic so squashed cannot say which way is better. So theirs is in units of the uniform policy's
regret, as other critics' rewards are, and its values may leave the range.

What differs between the two is here; how a network answers (neural.py) and where its answer moves
(curvature.py) is the same of both.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.networks import Network
from algorithms.objectives import REWARD_UNITS
from algorithms.stackelberg.game.game import BatchGame, Points, Units
from algorithms.stackelberg.game.moments import of_action
from algorithms.stackelberg.game.pairs import Critic, PairGame
from algorithms.stackelberg.game.terms import KernelLoss, outside
from algorithms.stackelberg.leaders import Leader


def squashed(outputs: Tensor, scale: Units) -> Tensor:
    """Return the values, float64, of a critic's outputs."""
    return scale.v_min + (scale.v_max - scale.v_min) * outputs.double().sigmoid()


class Pairs(NamedTuple):
    """What weighs a batch's residuals against each other.

    Attributes:
        features: ``[batch, kernel features]`` of (s, a), whitened where the kernel is.
        weight: ``[batch]``, sums to 1.
        rows: ``[]``, transitions that the weights stand for.
    """

    features: Tensor
    weight: Tensor
    rows: Tensor

    def loss(self, residual: Tensor, statistic: KernelLoss) -> Tensor:
        """Return ``L_K`` of residuals ``[batch]``."""
        if statistic == "squared":
            return (self.weight * residual**2).sum()
        weighted = self.weight * residual
        every_pair = ((weighted @ self.features) ** 2).sum()
        if statistic == "v":
            return every_pair
        # A row of weight c is c equal rows, of which only pairs of one with itself do not count.
        return (every_pair - self.diagonal(residual)) / (1 - 1 / self.rows)

    def diagonal(self, residual: Tensor) -> Tensor:
        """Return what pairs of a transition with itself add to the V-statistic."""
        own = (self.features**2).sum(-1) * residual**2
        return (self.weight * own).sum() / self.rows

    def root(self, statistic: KernelLoss) -> Tensor:
        """Return F with ``L_K = |F^T delta|^2``, ``[batch, columns]``; of V also for U."""
        if statistic == "squared":
            return torch.diag(self.weight.sqrt())
        return self.weight.unsqueeze(-1) * self.features

    def pull(self, residual: Tensor, statistic: KernelLoss) -> Tensor:
        """Return the derivative of ``L_K`` in each residual ``[batch]``; linear in them."""
        return torch.func.grad(self.loss)(residual, statistic)


def pairs(weight: Tensor, features: Tensor, which: Tensor, rows: Tensor, roots: Tensor) -> Pairs:
    """Return the pairs of a batch whose kernel features are ``[batch, features per action]``.

    Takes which action each is of ``[batch, num_actions]``, and of each action the root of its
    features' second moments, ``[num_actions, features per action, features per action]``, lower
    triangular: what is of different actions is orthogonal.
    """
    every = features.T.expand(len(roots), *features.T.shape)
    white = torch.linalg.solve_triangular(roots, every, upper=False)
    whole = which.unsqueeze(-1) * white.permute(2, 0, 1)
    return Pairs(whole.flatten(1), weight, rows)


class Sample(Protocol):
    """What both kinds of batch can say. Q is a critic's values as the game knows them."""

    @property
    def game(self) -> Any:
        """Return the game on the batch."""

    @property
    def pairs(self) -> Pairs:
        """Return what weighs its residuals."""

    @property
    def scale(self) -> Units:
        """Return the units of values."""

    def policy(self, actor: Network) -> Points:
        """Return an actor's policy."""

    def values(self, critic: Network) -> Any:
        """Return a critic's q."""

    def moving(self, critic: Network, along: Network) -> tuple[Any, Any]:
        """Return a critic's q and its derivative as the critic moves along a direction."""

    def slope(self, weights: Tensor, outputs: Tensor) -> Tensor:
        """Return ``weights dq / df`` at a critic's outputs, of their shape and type."""

    def outside(self, critic: Network) -> Tensor:
        """Return the share of the data's q that no policy's value can be, ``[]``."""

    def ends(self, policy: Points) -> tuple[Tensor, Tensor]:
        """Return where residuals take q, at the data's pairs and then at those that follow.

        Points ``[2 batch, in]``, or ``[2 batch]`` numbered states, and how each of the critic's
        outputs there weighs in its residual, ``[2 batch, out]``.
        """


class NumberedSample(NamedTuple):
    """A batch of numbered actions: q is a number for each of them at every observation.

    Attributes:
        places: The game's observations.
    """

    game: BatchGame
    pairs: Pairs
    scale: Units
    places: Points

    def policy(self, actor: Network) -> Points:
        """Return the probabilities at the observations, float64."""
        return Points(*(networks.apply(actor, x).double().softmax(-1) for x in self.places))

    def values(self, critic: Network) -> Points:
        """Return q at the observations, ``[points, num_actions]`` each, float64."""
        return Points(*(squashed(networks.apply(critic, x), self.scale) for x in self.places))

    def moving(self, critic: Network, along: Network) -> tuple[Points, Points]:
        """Return q and its derivative."""
        q, q_dot = torch.func.jvp(self.values, (critic,), (along,))[:2]
        return q, q_dot

    def slope(self, weights: Tensor, outputs: Tensor) -> Tensor:
        """Return that of the sigmoid."""
        share = outputs.double().sigmoid()  # Of the range of values that q is above its lower end.
        width = self.scale.v_max - self.scale.v_min
        return (weights * width * share * (1 - share)).to(outputs.dtype)

    def outside(self, critic: Network) -> Tensor:
        """Return 0: values are squashed."""
        return torch.zeros_like(self.scale.width)

    def ends(self, policy: Points) -> tuple[Tensor, Tensor]:
        """Return observations, and probabilities as weights."""
        taken = -of_action(self.game.action, policy.following.shape[-1])
        following = self.game.bootstrap.unsqueeze(-1) * policy.following
        places = torch.cat((self.places.observation, self.places.following))
        return places, torch.cat((taken, following))


class VectorSample(NamedTuple):
    """A batch whose actions are vectors: q is a function of ``[points, observation and action]``.

    Attributes:
        places: The game's observations.
        leader: How an actor's outputs are read.
        noise: What a leader that draws its actions draws them by.
    """

    game: PairGame
    pairs: Pairs
    scale: Units
    places: Points
    leader: Leader
    noise: Mapping[str, Tensor]

    def policy(self, actor: Network) -> Points:
        """Return the observations with the actor's actions there."""

        def at(name: str, observation: Tensor) -> Tensor:
            outputs = networks.apply(actor, observation)
            action = self.leader.choices(outputs, self.noise.get(name))
            return torch.cat([observation, action], dim=-1)

        return Points(*(at(name, x) for name, x in self.places._asdict().items()))

    def values(self, critic: Network) -> Critic:
        """Return q, float64, as a function."""

        def q(points: Tensor) -> Tensor:
            outputs = networks.apply(critic, points.to(critic[0]["weight"].dtype))
            return self.scale.base + outputs.squeeze(-1).double() / REWARD_UNITS

        return q

    def moving(self, critic: Network, along: Network) -> tuple[Critic, Critic]:
        """Return q and its derivative."""

        def q_dot(points: Tensor) -> Tensor:
            at = lambda moving: self.values(moving)(points)  # noqa: E731
            moved: Tensor = torch.func.jvp(at, (critic,), (along,))[1]
            return moved

        return self.values(critic), q_dot

    def slope(self, weights: Tensor, outputs: Tensor) -> Tensor:
        """Return a constant times the weights."""
        return weights.to(outputs.dtype) * (1 / REWARD_UNITS)

    def outside(self, critic: Network) -> Tensor:
        """Return the share, weighted as the data is."""
        return (outside(self.values(critic)(self.game.taken), self.scale) * self.game.weight).sum()

    def ends(self, policy: Points) -> tuple[Tensor, Tensor]:
        """Return pairs, and how much they count."""
        weights = torch.cat((-torch.ones_like(self.game.bootstrap), self.game.bootstrap))
        return torch.cat((self.game.taken, policy.following)), weights.unsqueeze(-1)


def doubled(tree: Any) -> Any:
    """Return a tree whose real numbers are float64."""

    def one(leaf: Any) -> Any:
        real = isinstance(leaf, Tensor) and leaf.is_floating_point()
        return leaf.double() if real else leaf

    return tree_map(one, tree)
