"""The follower as a linear function of random features: its exact best response from moments.

    q(s, a) = v_min + phi(s, a) . w,     phi(s, a) = 1[a] features(s)
    M = E_data[ phi_K (phi - discount (1 - terminated) phi'_pi)^T ],     b = E_data[ phi_K target ]
    L_K = (b - M w)^T W (b - M w)

phi_K are the kernel's features: phi itself and W = I for `feature` (the norm of the expected TD
update, V-statistic), phi itself and ``W = E[phi phi^T]^-1`` for `normalized_feature` (the projected
Bellman error; one transition's worth of identity is added), other random features for a kernel
between states. Without a kernel (`Squares`), L_K is the mean squared residual. The moments come
from game/moments.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.objectives import at_action
from algorithms.stackelberg.game import solvers
from algorithms.stackelberg.game.game import Aims, BatchGame, Points
from algorithms.stackelberg.game.implicit import (
    Direction,
    Reply,
    bordered_residual,
    keep_constraint,
)
from algorithms.stackelberg.game.kernels import Kernel
from algorithms.stackelberg.game.moments import Moments, Seen, of_action, per_action, whitening

EIGENVALUE_STEPS = 8
BISECTION_STEPS = 40
DIAGONAL_ROWS = 128


class Quadratic(NamedTuple):
    """``|rotated b - rotated M w|^2``: the kernel loss with W taken apart as ``R^T R``."""

    matrix: Tensor
    target: Tensor
    root: Tensor

    def residual(self, weights: Tensor) -> Tensor:
        """Return ``R (b - M w)``."""
        return self.target - self.matrix @ weights

    def curvature(self) -> Tensor:
        """Return half the second derivative, ``[features, features]``."""
        return self.matrix.T @ self.matrix

    def slope(self) -> Tensor:
        """Return minus half the derivative at weights of 0."""
        return self.matrix.T @ self.target

    def value(self, weights: Tensor) -> Tensor:
        """Return the loss."""
        return (self.residual(weights) ** 2).sum()

    def gradient(self, weights: Tensor) -> Tensor:
        """Return its derivative."""
        return -2 * self.matrix.T @ self.residual(weights)

    def pull(self, rotated: Tensor) -> Tensor:
        """Return ``R^T`` times a vector, back in the kernel's features."""
        return torch.linalg.solve_triangular(self.root.mT, rotated.unsqueeze(-1), upper=True)[:, 0]


class Squares(NamedTuple):
    """``E_data[ delta^2 ] = w^T matrix w - 2 target . w + constant``, biased by noise."""

    matrix: Tensor
    target: Tensor
    constant: Tensor

    def curvature(self) -> Tensor:
        """Return half the second derivative, ``[features, features]``."""
        return self.matrix

    def slope(self) -> Tensor:
        """Return minus half the derivative at weights of 0."""
        return self.target

    def value(self, weights: Tensor) -> Tensor:
        """Return the loss."""
        return weights @ (self.matrix @ weights - 2 * self.target) + self.constant

    def gradient(self, weights: Tensor) -> Tensor:
        """Return its derivative."""
        return 2 * (self.matrix @ weights - self.target)


Loss = Quadratic | Squares


def quadratic(kernel: Kernel, moments: Moments, squared: bool = False) -> Loss:
    """Return the loss as a quadratic form of the weights; `squared` for that without a kernel."""
    if squared:
        return Squares(moments.matrix, moments.target, moments.gram[0, 0])
    root = whitening(kernel, moments.gram, moments.inverse_size)
    both = torch.cat([moments.matrix, moments.target.unsqueeze(-1)], dim=-1)
    rotated = torch.linalg.solve_triangular(root, both, upper=False)
    return Quadratic(rotated[:, :-1], rotated[:, -1], root)


class LinearResponse(NamedTuple):
    """The best response.

    Attributes:
        weights: w, ``[features]``.
        multiplier: ``[]``, lambda.
        curvature: H, ``[features, features]``.
        residual: ``[]``, relative, of the system that was solved.
        bound: ``[]``, whether a constraint binds the weights.
    """

    weights: Tensor
    multiplier: Tensor
    curvature: Tensor
    residual: Tensor
    bound: Tensor


def best_response(
    loss: Loss, start: Tensor, regularization: float | Tensor, multiplier: Tensor
) -> LinearResponse:
    """Return the minimum of ``start . w + multiplier L_K(w) + regularization |w|^2``."""
    eye = torch.eye(len(start), dtype=start.dtype, device=start.device)
    curvature = 2 * multiplier * loss.curvature() + 2 * regularization * eye
    right = 2 * multiplier * loss.slope() - start
    found = solvers.cholesky(curvature, right)
    unbound = torch.zeros_like(multiplier, dtype=torch.bool)
    return LinearResponse(found.x, multiplier, curvature, found.residual, unbound)


def constrained_response(
    loss: Loss, start: Tensor, regularization: float | Tensor, allowed: Tensor, scale: Tensor
) -> LinearResponse:
    """Return the response whose kernel loss is `allowed`, by bisection on log multiplier.

    `scale` is a multiplier of the right order; the search spans twelve orders around it. Where even
    the largest does not reach what is allowed, the logged loss says so; where the smallest does,
    regularization alone keeps the weights and the constraint does not bind.
    """

    def respond(exponent: Tensor) -> tuple[LinearResponse, Tensor]:
        found = best_response(loss, start, regularization, scale * 10**exponent)
        return found, loss.value(found.weights)

    low, high = torch.full_like(scale, -6.0), torch.full_like(scale, 6.0)
    bound = respond(low)[1] > allowed
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        too_much = respond(middle)[1] > allowed
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
    return respond(high)[0]._replace(bound=bound)


def direction(
    loss: Loss,
    response: LinearResponse,
    start: Tensor,
    *,
    ridge: float | Tensor | None,
    constrained: bool,
) -> tuple[Direction, Tensor]:
    """Return ``(H + ridge I)^-1 start`` for start = d_w J_L, and the system's residual."""
    curvature = response.curvature
    if ridge is not None:
        curvature = curvature + ridge * torch.eye(
            len(start), dtype=start.dtype, device=start.device
        )
    found = solvers.cholesky(curvature, start)
    if not constrained:
        return Direction(found.x, torch.zeros_like(response.multiplier)), found.residual
    gradient = loss.gradient(response.weights)
    toward = solvers.cholesky(curvature, gradient).x
    kept = keep_constraint(found.x, toward, gradient)
    along = torch.where(response.bound, kept.along, found.x)
    moves = Direction(along, torch.where(response.bound, kept.multiplier, 0.0))
    held = torch.where(response.bound, gradient, 0.0)
    return moves, bordered_residual(curvature @ along, held, moves, start)


def values(seen: Seen, weights: Tensor, base: Tensor | float, num_actions: int) -> Points:
    """Return ``base + phi . w`` at the points of a batch."""
    per = weights.reshape(num_actions, -1).T
    return Points(*(base + x @ per for x in (seen.observation, seen.following, seen.initial)))


def reply(
    game: BatchGame,
    policy: Points,
    seen: Seen,
    loss: Loss,
    response: LinearResponse,
    moves: Direction,
    v_min: Tensor,
    num_actions: int,
) -> Reply:
    """Return the answer as the leader needs it, on one batch."""
    doubled = 2 * response.multiplier
    q = values(seen, response.weights, v_min, num_actions)
    q_dot = values(seen, moves.along, 0.0, num_actions)
    if isinstance(loss, Squares):
        pull = doubled * game.weight * game.residual(policy, q)
        return Reply(q, q_dot, pull, doubled * game.weight * game.residual_along(policy, q_dot))
    feature_pull = loss.pull(doubled * loss.residual(response.weights))
    feature_pull_dot = loss.pull(doubled * -(loss.matrix @ moves.along))

    def at_data(feature_pull: Tensor) -> Tensor:
        per = seen.kernel_observation @ feature_pull.reshape(num_actions, -1).T
        return game.weight * at_action(per, game.action)

    pull = at_data(feature_pull)
    pull_dot = at_data(feature_pull_dot) + moves.multiplier / response.multiplier * pull
    return Reply(q, q_dot, pull, pull_dot)


class Answer(NamedTuple):
    """A best response with what it responds to.

    Attributes:
        loss: The kernel loss.
        starts: Derivatives of what the players are after.
        number: ``[]``, transitions that the loss counts for.
        response: The weights that answer.
    """

    loss: Loss
    starts: "Starts"
    number: Tensor
    response: LinearResponse


class Starts(NamedTuple):
    """Derivatives in w, ``[features]``, of what the players are after and of initial states' value.

    The follower's is that of its pessimism with its tilt, the leader's that of J_L.
    """

    follower: Tensor
    leader: Tensor
    initial: Tensor


def starts(aims: Aims, moments: Moments, initial: Tensor) -> Starts:
    """Return the derivatives, given ``E_s0[phi(s0, pi)]``."""
    leader = initial if aims.objective == "initial" else moments.mean_features
    relative = moments.mean_features - moments.taken_features
    pessimism = relative if aims.pessimism == "relative" else leader
    if aims.tilt is not None:
        pessimism = pessimism + aims.tilt * leader
    return Starts(pessimism, leader, initial)


def diagonal_share(
    game: BatchGame, seen: Seen, loss: Quadratic, residual: Tensor, whole: Tensor, number: Tensor
) -> Tensor:
    """Return which part of a kernel loss is due to pairs of a transition with itself.

    ``E_data[K(x, x) delta^2] / number``, the bias of the V-statistic of `number` transitions, over
    the `whole` loss.
    """
    # A number that is only logged: some rows of a large batch will do.
    every = -(-len(residual) // DIAGONAL_ROWS)
    num_actions = len(loss.root) // seen.kernel_observation.shape[-1]
    taken = of_action(game.action[::every], num_actions)
    features = per_action(taken, seen.kernel_observation[::every])
    weight = game.weight[::every]
    rotated = torch.linalg.solve_triangular(loss.root, features.T, upper=False)
    square = (rotated**2).sum(0) * residual[::every] ** 2
    own = (weight * square).sum() / weight.sum().clamp_min(1e-12) / number
    return own / whole.clamp_min(torch.finfo(whole.dtype).tiny)


def smallest_curvature(response: LinearResponse) -> Tensor:
    """Return the smallest eigenvalue of the curvature, from above."""
    return solvers.smallest_of(response.curvature, EIGENVALUE_STEPS)


def metrics(
    loss: Loss,
    response: LinearResponse,
    starting: Starts,
    discount: Tensor,
    regularization: float | Tensor,
) -> dict[str, Tensor]:
    """Return what the response says of itself, scalars in normalised units.

    `concentrability` is ``(1 - discount)^2 |R^-T M^-T p|^2``, p = ``E_s0[phi(s0, pi)]``: what the
    policy's value from the initial states costs in pessimism, times ``2 multiplier``.
    """
    multiplier = response.multiplier
    gradient = (
        starting.follower
        + multiplier * loss.gradient(response.weights)
        + 2 * regularization * response.weights
    )
    reached = (starting.initial * solvers.cholesky(response.curvature, starting.initial).x).sum()
    return {
        "kernel_loss": loss.value(response.weights),
        "follower_gradient": (gradient**2).sum().sqrt(),
        "response_residual": response.residual,
        "concentrability": (1 - discount) ** 2 * 2 * multiplier * reached,
    }
