"""How a network follower answers, by Adam steps, and what its leader has to know of that.

    L_K = |E_data[ phi_K delta ]|^2  (V-statistic), or without a transition's pair with itself (U)
    fitted:  residual_weight L_K[delta] + (1 - residual_weight) L_K[delta against a slow copy of q]

phi_K are the kernel's random features, whitened by ``E[phi_K phi_K^T]`` for `normalized_feature`.
Where its answer moves is in responses/curvature.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from algorithms.networks import Network
from algorithms.stackelberg.game.game import Aims, Points
from algorithms.stackelberg.game.implicit import Reply
from algorithms.stackelberg.game.terms import KernelLoss
from algorithms.stackelberg.responses.samples import Sample


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
    sample: Sample,
    policy: Points,
    slow: Network | None = None,
) -> tuple[Tensor, Tensor]:
    """Return ``J_F`` and ``L_K`` on a batch.

    With a slow critic the loss in ``J_F`` is partly against targets by it; ``L_K``, the second of
    the pair, never is.
    """
    game, q = sample.game, sample.values(critic)
    loss = fitted = sample.pairs.loss(game.residual(policy, q), answer.statistic)
    if slow is not None:
        known = game.residual_to(policy, q, sample.values(slow))
        fitted = torch.lerp(
            sample.pairs.loss(known, answer.statistic), loss, answer.residual_weight
        )
    away = zip(tree_leaves(critic), tree_leaves(anchor), strict=True)
    size = torch.stack([((x - y).double() ** 2).sum() for x, y in away]).sum()
    pessimism = answer.aims.follower(game, policy, q)
    return pessimism + answer.multiplier * fitted + answer.regularization * size, loss


def reply(critic: Network, along: Network, answer: Answer, sample: Sample, policy: Points) -> Reply:
    """Return the answer as the leader needs it, on one batch."""
    tangent = tree_map(lambda w, x: w.to(x.dtype), along, critic)
    q, q_dot = sample.moving(critic, tangent)
    residual = sample.game.residual(policy, q)
    moved = sample.game.residual_along(policy, q_dot)
    pull = answer.multiplier * sample.pairs.pull(residual, answer.statistic)
    pull_dot = answer.multiplier * sample.pairs.pull(moved, answer.statistic)
    return Reply(q, q_dot, pull, pull_dot)
