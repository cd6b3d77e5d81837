"""The leader's derivative through its follower's answer, without second-order autodiff.

    total_derivative = d_theta J_L  -  (d_theta d_psi J_F) w,     w = (d2_psi J_F + ridge I)^-1 d_psi J_L
    implicit_term    = - d_theta [ pessimism(q_dot) + pull_dot . delta(q) + pull . delta_dot(q_dot) ]

with q_dot the derivative of q along w, delta_dot that of the residual, pull = 2 multiplier K delta
and pull_dot its derivative along w, all constants: what depends on theta is the policy in
`pessimism`, `delta` and `delta_dot`. So the leader's update is one backward pass through the policy.

In constraint form the multiplier answers as well. With g = d_psi L_K the system is bordered,

    [[H, g], [g^T, 0]] [w; m] = [d_psi J_L; 0],   implicit_term = - d_theta [ ... as above + m L_K ].
"""  # noqa: E501

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from algorithms.stackelberg.game import solvers
from algorithms.stackelberg.game.game import Aims, Game, Points

Q = TypeVar("Q")


class Reply(NamedTuple, Generic[Q]):
    """A follower's answer as the leader needs to know it; float64.

    Attributes:
        q: Values, as the game knows them.
        q_dot: Their derivative along w.
        pull: Derivative of the weighted kernel loss in each residual, shaped like the residuals.
        pull_dot: Its derivative along w.
    """

    q: Q
    q_dot: Q
    pull: Tensor
    pull_dot: Tensor


class LeaderGradient(NamedTuple):
    """The leader's derivative and its two parts, each shaped like its parameters.

    Attributes:
        direct: Derivative of J_L, q as it is.
        implicit: What the answer's moving adds to it.
        total: Their sum.
        envelope: Derivative of the follower's whole J_F, q as it is; at the answer it is that of
            J_F's minimum, and ascending it is the maximin game of PSPI and ATAC.
    """

    direct: Any
    implicit: Any
    total: Any
    envelope: Any


def stationarity_along(aims: Aims, game: Game, policy: Points, reply: Reply) -> Tensor:
    """Return the follower's derivative along w, ``[]``, as a function of the policy."""
    return (
        aims.follower(game, policy, reply.q_dot)
        + (reply.pull_dot * game.residual(policy, reply.q)).sum()
        + (reply.pull * game.residual_along(policy, reply.q_dot)).sum()
    )


def leader_gradient(
    aims: Aims,
    game: Game,
    policy_of: Callable[[Any], Points],
    parameters: Any,
    reply: Reply,
) -> LeaderGradient:
    """Return the gradients at the leader's parameters.

    Each by a pass of its own: where the others are not asked for, that pass is all there is.
    """

    def all_of(parameters: Any) -> tuple[Tensor, Tensor, Tensor]:
        policy = policy_of(parameters)
        along = stationarity_along(aims, game, policy, reply)
        # The pull is the derivative of the weighted kernel loss in the residuals.
        loss = (reply.pull * game.residual(policy, reply.q)).sum()
        envelope = aims.follower(game, policy, reply.q) + loss
        return aims.leader(game, policy, reply.q), -along, envelope

    values, pull_back = torch.func.vjp(all_of, parameters)[:2]
    one, zero = torch.ones_like(values[0]), torch.zeros_like(values[0])
    cotangents = (one, zero, zero), (zero, one, zero), (one, one, zero), (zero, zero, one)
    return LeaderGradient(*(pull_back(cotangent)[0] for cotangent in cotangents))


def tilted_gradient(gradient: LeaderGradient, up: Any, down: Any, tilt: float) -> LeaderGradient:
    """Return the gradients with the total derivative by two tilted answers.

        total = (G(tilt) - G(-tilt)) / (2 tilt),   G(t) = d_theta (J_F + t J_L) at the answer to it

    (the envelope theorem, as in Kwon et al. 2023), with `up` ``G(tilt)`` and `down` ``G(-tilt)``.
    For answers that are affine in t, which quadratic followers' are, it is exact for every tilt.
    """
    total = tree_map(lambda x, y: (x - y) / (2 * tilt), up, down)
    implicit = tree_map(torch.sub, total, gradient.direct)
    return gradient._replace(implicit=implicit, total=total)


class Direction(NamedTuple):
    """Where the follower's answer moves: w, and m, how its multiplier does (0 as a penalty)."""

    along: Tensor
    multiplier: Tensor


def keep_constraint(along: Tensor, toward: Tensor, loss_gradient: Tensor) -> Direction:
    """Return the solution of the bordered system.

    Takes ``H^-1 d_psi J_L``, ``H^-1 g`` and ``g``, all of one shape. Where g is 0 there is nothing
    to keep.
    """
    tiny = torch.finfo(along.dtype).tiny
    multiplier = (loss_gradient * along).sum() / (loss_gradient * toward).sum().clamp_min(tiny)
    return Direction(along - multiplier * toward, multiplier)


def bordered_residual(
    image: Tensor, loss_gradient: Tensor, moves: Direction, wanted: Tensor
) -> Tensor:
    """Return ``|H w + m g - d_psi J_L| / |d_psi J_L|`` of ``H w``, g, (w, m) and ``d_psi J_L``.

    The system's second row holds as `keep_constraint` makes it. As a penalty m is 0.
    """
    return solvers.relative_residual(image + moves.multiplier * loss_gradient, wanted)


def low_rank_direction(
    gradient: Tensor,
    project: Callable[[Tensor], Tensor],
    spread: Callable[[Tensor], Tensor],
    small: Tensor,
    ridge: float | Tensor,
) -> solvers.Solution:
    """Return ``(F F^T + ridge I)^-1 gradient[rows]`` where F has many rows and few columns.

    `project` is F^T, `spread` is F, `small` is ``F^T F``. Then ``w = (gradient - F y) / ridge``
    with ``(F^T F + ridge I) y = F^T gradient``, whose subtraction needs float64.
    """
    eye = torch.eye(len(small), dtype=small.dtype, device=small.device)
    y = solvers.cholesky(small + ridge * eye, project(gradient)).x
    along = (gradient - spread(y)) / ridge
    # Of the system that is asked about: an error of y comes out of the division by the ridge
    # larger, which the small system's own residual does not see.
    image = spread(project(along)) + ridge * along
    return solvers.Solution(along, solvers.relative_residual(image, gradient))


def inner(left: Any, right: Any) -> Tensor:
    """Return the inner product of two trees of tensors, in float64."""
    pairs = zip(tree_leaves(left), tree_leaves(right), strict=True)
    return torch.stack([(x.double() * y.double()).sum() for x, y in pairs]).sum()


def norm(tree: Any) -> Tensor:
    """Return the Euclidean norm of a tree of tensors, in float64."""
    return inner(tree, tree).sqrt()


def cosine(left: Any, right: Any) -> Tensor:
    """Return the cosine between two trees of tensors; 0 if one vanishes."""
    size = norm(left) * norm(right)
    return inner(left, right) / size.clamp_min(torch.finfo(torch.float64).tiny)
