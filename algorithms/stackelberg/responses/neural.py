"""The follower as a network, squashed into the range of values; it answers by Adam steps.

    q = v_min + (v_max - v_min) sigmoid(f_psi(s)[a])
    L_K = |E_data[ phi_K delta ]|^2  (V-statistic), or without a transition's pair with itself (U)
    fitted:  residual_weight L_K[delta] + (1 - residual_weight) L_K[delta against a slow copy of q]
    w = (2 multiplier J^T K J + ridge I)^-1 d_psi J_L,   J = d delta / d psi,   K = Phi Phi^T / n^2

phi_K are the kernel's random features, whitened by ``E[phi_K phi_K^T]`` for `normalized_feature`;
so K has low rank and w comes out of a system as large as there are features:

    F = sqrt(2 multiplier) J^T Phi / n,   (F^T F + ridge I) y = F^T v,   w = (v - F y) / ridge

in float64: in float32 the subtraction loses all digits. `exact` curvature, the dense Hessian of
J_F, is an oracle for tests and for tiny networks; it can be indefinite.
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from algorithms import networks
from algorithms.networks import Network
from algorithms.objectives import at_action
from algorithms.stackelberg.game import solvers
from algorithms.stackelberg.game.game import Aims, BatchGame, Points, Units
from algorithms.stackelberg.game.implicit import Reply, low_rank_direction
from algorithms.stackelberg.game.moments import of_action, per_action
from algorithms.stackelberg.game.terms import KernelLoss

Solver = Literal["gram", "cg"]
GRADIENT_STEPS = 50
EIGENVALUE_STEPS = 50


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


def pairs(game: BatchGame, features: Tensor, root: Tensor | None, rows: Tensor) -> Pairs:
    """Return the pairs of a batch whose kernel features are ``[batch, features per action]``."""
    num_actions = 1 if root is None else len(root) // features.shape[-1]
    whole = per_action(of_action(game.action, num_actions), features)
    if root is not None:
        whole = torch.linalg.solve_triangular(root, whole.T, upper=False).T
    return Pairs(whole, game.weight, rows)


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


def flat(tree: Any) -> Tensor:
    """Return the leaves of a tree as one float64 vector."""
    return torch.cat([x.double().flatten() for x in tree_leaves(tree)])


def like(vector: Tensor, tree: Any) -> Any:
    """Return a vector in the shape of a tree, keeping its own type."""
    leaves, structure = tree_flatten(tree)
    parts = vector.split([x.numel() for x in leaves])
    return tree_unflatten(
        [v.reshape(x.shape) for v, x in zip(parts, leaves, strict=True)], structure
    )


def jacobian(
    critic: Network, game: BatchGame, policy: Points, places: Points, scale: Units
) -> Tensor:
    """Return ``d delta / d psi``, ``[batch, parameters]``, float64."""

    def one(
        critic: Network, here: Tensor, there: Tensor, row: BatchGame, chances: Tensor
    ) -> Tensor:
        q = values(critic, Points(here, there, there), scale)
        return row.bootstrap * (chances * q.following).sum() - at_action(q.observation, row.action)

    rows = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0, 0, 0, 0))(
        critic, places.observation, places.following, game, policy.following
    )
    return torch.cat([x.double().flatten(1) for x in tree_leaves(rows)], dim=1)


class Curved(NamedTuple):
    """``w``, shaped like the critic and float64, with the relative residual of its system."""

    along: Network
    residual: Tensor


def gauss_newton_direction(
    critic: Network,
    gradient: Network,
    rows: Tensor,
    batch: Pairs,
    multiplier: Tensor,
    ridge: float | Tensor,
    solver: Solver,
    statistic: KernelLoss = "v",
) -> Curved:
    """Return w by the Gauss-Newton curvature, of V also for U, given the Jacobian's rows.

    The residual is that of ``(F F^T + ridge I) w``, whichever system was solved for it.
    """
    weighted = (2 * multiplier).sqrt() * batch.root(statistic)

    def project(v: Tensor) -> Tensor:
        return weighted.T @ (rows @ v)

    def spread(y: Tensor) -> Tensor:
        return rows.T @ (weighted @ y)

    def solve(small: Any, right: Tensor) -> solvers.Solution:
        if solver == "cg":
            return solvers.conjugate_gradients(small, right, GRADIENT_STEPS)
        factor = weighted.T @ rows
        eye = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        return solvers.cholesky(factor @ factor.T + ridge * eye, right)

    found = low_rank_direction(flat(gradient), project, spread, solve, ridge)
    return Curved(like(found.x, critic), found.residual)


class Spectrum(NamedTuple):
    """Smallest eigenvalues of the curvature of the follower's objective, scalars.

    Attributes:
        smallest: Of all.
        smallest_seen: Of those in the span of what the data's kernel features constrain, all others
            being the regularization's own.
    """

    smallest: Tensor
    smallest_seen: Tensor


def gauss_newton_spectrum(
    rows: Tensor,
    batch: Pairs,
    multiplier: Tensor,
    regularization: float | Tensor,
    statistic: KernelLoss = "v",
) -> Spectrum:
    """Return the spectrum's end of ``2 multiplier J^T K J + 2 regularization I``, from above.

    Where there are more parameters than kernel features, the smallest is 2 regularization exactly.
    """
    factor = (2 * multiplier).sqrt() * batch.root(statistic).T @ rows  # F^T
    features, parameters = factor.shape
    small = factor @ factor.T if features < parameters else factor.T @ factor
    floor = 2 * torch.as_tensor(regularization, dtype=small.dtype, device=small.device)
    matrix = small + floor * torch.eye(len(small), dtype=small.dtype, device=small.device)
    seen = solvers.smallest_of(matrix, EIGENVALUE_STEPS)
    return Spectrum(floor if features < parameters else seen, seen)


def exact_direction(hessian: Tensor, critic: Network, gradient: Network, ridge: Any) -> Curved:
    """Return w by a dense Hessian of the follower's objective ``[parameters, parameters]``."""
    right = flat(gradient)
    matrix = hessian + ridge * torch.eye(len(right), dtype=right.dtype, device=right.device)
    x = torch.linalg.solve_ex(matrix, right)[0]
    return Curved(like(x, critic), solvers.relative_residual(matrix @ x, right))


def hessian_of(
    critic: Network,
    anchor: Network,
    answer: Answer,
    game: BatchGame,
    policy: Points,
    places: Points,
    scale: Units,
    batch: Pairs,
) -> Tensor:
    """Return the dense Hessian of ``J_F`` in the critic's parameters, float64."""
    start = flat(critic)
    doubled = tree_map(lambda x: x.double() if x.is_floating_point() else x, (anchor, places))

    def of_vector(vector: Tensor) -> Tensor:
        moved = like(vector, critic)
        return objective(
            moved, doubled[0], answer, game, policy, Points(*doubled[1]), scale, batch
        )[0]

    return torch.func.hessian(of_vector)(start)


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
