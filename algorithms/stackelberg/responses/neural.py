"""The follower as a network, squashed into the range of values; it answers by Adam steps.

    q = v_min + (v_max - v_min) sigmoid(f_psi(s)[a])
    L_K = |E_data[ phi_K delta ]|^2  (V-statistic), or without a transition's pair with itself (U)
    fitted:  residual_weight L_K[delta] + (1 - residual_weight) L_K[delta against a slow copy of q]

phi_K are the kernel's random features, whitened by ``E[phi_K phi_K^T]`` for `normalized_feature`.
Where its answer moves is in responses/curvature.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from algorithms import networks
from algorithms.networks import Network
from algorithms.stackelberg.game.game import Aims, BatchGame, Points, Units
from algorithms.stackelberg.game.implicit import Reply
from algorithms.stackelberg.game.moments import of_action
from algorithms.stackelberg.game.terms import KernelLoss


def values(critic: Network, places: Points, scale: Units) -> Points:
    """Return q at observations, ``[points, num_actions]`` each, float64."""
    width = scale.v_max - scale.v_min
    return Points(
        *(scale.v_min + width * networks.apply(critic, x).double().sigmoid() for x in places)
    )


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


def pairs(game: BatchGame, features: Tensor, rows: Tensor, roots: Tensor) -> Pairs:
    """Return the pairs of a batch whose kernel features are ``[batch, features per action]``.

    Takes of each action the root of its features' second moments, ``[num_actions, features per
    action, features per action]``, lower triangular: what is of different actions is orthogonal.
    """
    num_actions = len(roots)
    every = features.T.expand(num_actions, *features.T.shape)
    white = torch.linalg.solve_triangular(roots, every, upper=False)
    whole = of_action(game.action, num_actions).unsqueeze(-1) * white.permute(2, 0, 1)
    return Pairs(whole.flatten(1), game.weight, rows)


class Answer(NamedTuple):
    """The numbers in a follower's objective besides its parameters.

    Attributes:
        residual_weight: Of the loss whose gradient goes through its own target.
    """

    aims: Aims
    statistic: KernelLoss
    multiplier: Tensor
    regularization: float | Tensor
    residual_weight: float | Tensor = 1.0


def objective(
    critic: Network,
    anchor: Network,
    answer: Answer,
    game: BatchGame,
    policy: Points,
    places: Points,
    scale: Units,
    batch: Pairs,
    slow: Points | None = None,
) -> tuple[Tensor, Tensor]:
    """Return ``J_F`` and ``L_K`` on a batch.

    With values of a slow critic the loss in ``J_F`` is partly against targets by them; ``L_K``, the
    second of the pair, never is.
    """
    q = values(critic, places, scale)
    loss = fitted = batch.loss(game.residual(policy, q), answer.statistic)
    if slow is not None:
        known = game.residual(policy, q._replace(following=slow.following))
        fitted = torch.lerp(batch.loss(known, answer.statistic), loss, answer.residual_weight)
    away = zip(tree_leaves(critic), tree_leaves(anchor), strict=True)
    size = torch.stack([((x - y).double() ** 2).sum() for x, y in away]).sum()
    pessimism = answer.aims.follower(game, policy, q)
    return pessimism + answer.multiplier * fitted + answer.regularization * size, loss


def reply(
    critic: Network,
    along: Network,
    answer: Answer,
    game: BatchGame,
    policy: Points,
    places: Points,
    scale: Units,
    batch: Pairs,
) -> Reply:
    """Return the answer as the leader needs it, on one batch."""
    tangent = tree_map(lambda w, x: w.to(x.dtype), along, critic)
    moving = torch.func.jvp(lambda c: values(c, places, scale), (critic,), (tangent,))
    q, q_dot = moving[0], moving[1]
    residual, moved = game.residual(policy, q), game.residual_along(policy, q_dot)
    pull = answer.multiplier * batch.pull(residual, answer.statistic)
    pull_dot = answer.multiplier * batch.pull(moved, answer.statistic)
    return Reply(q, q_dot, pull, pull_dot)
