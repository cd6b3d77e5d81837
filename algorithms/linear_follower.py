"""The follower as a linear function of random features: its exact best response from moments.

    q(s, a) = v_min + phi(s, a) . w,     phi(s, a) = 1[a] features(s)
    M = E_data[ phi_K (phi - discount (1 - terminated) phi'_pi)^T ],     b = E_data[ phi_K target ]
    L_K = (b - M w)^T W (b - M w)

phi_K are the kernel's features: phi itself and W = I for `feature` (the norm of the expected TD
update, V-statistic), phi itself and ``W = E[phi phi^T]^-1`` for `normalized_feature` (the projected
Bellman error; one transition's worth of identity is added), other random features for a kernel
between states. All moments are running means over minibatches, since M needs the whole data and
changes with the policy as little as that does: `moment_rate` 1 forgets all but the last batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import kernels, solvers
from algorithms.game import Aims, BatchGame, Points
from algorithms.implicit import Direction, Reply, keep_constraint
from algorithms.kernels import SMOOTH, Kernel
from algorithms.objectives import at_action

EIGENVALUE_STEPS = 8
BISECTION_STEPS = 40
DIAGONAL_ROWS = 128
ROWS_AT_A_TIME = 256


class Features(NamedTuple):
    """Random features of the critic and of the kernel, fixed for a run, float64."""

    frequency: Tensor
    phase: Tensor
    kernel_frequency: Tensor
    kernel_phase: Tensor


def draw_features(kernel: Kernel, size: int, number: int, generator: torch.Generator) -> Features:
    """Return `number` features per action of observations of the given size."""
    critic = kernels.random_frequencies("gaussian", size, number, generator)
    return Features(*critic, *kernels.random_frequencies(kernel, size, number, generator))


class Moments(NamedTuple):
    """Running means over the data; ``features`` is num_actions times the features per action.

    Attributes:
        matrix: M, ``[kernel features, features]``.
        target: b, ``[kernel features]``.
        gram: ``E[phi_K phi_K^T]``.
        mean_features: ``E[phi(s, pi)]``, ``[features]``.
        taken_features: ``E[phi(s, a)]``.
        inverse_size: ``[]``, one over the number of transitions that the means are worth.
        batches: ``[]``, updates that went into them.
    """

    matrix: Tensor
    target: Tensor
    gram: Tensor
    mean_features: Tensor
    taken_features: Tensor
    inverse_size: Tensor
    batches: Tensor


def no_moments(num_features: int) -> Moments:
    """Return the moments of nothing."""
    square, vector = (num_features, num_features), (num_features,)
    shapes: tuple[tuple[int, ...], ...] = (square, vector, square, vector, vector, (), ())
    return Moments(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))


class Seen(NamedTuple):
    """The features of one batch, ``[points, features per action]``.

    `kernel_observation` holds those of the kernel at the data's observations.
    """

    observation: Tensor
    following: Tensor
    initial: Tensor
    kernel_observation: Tensor


def features_of(
    features: Features, kernel: Kernel, bandwidth: float | Tensor, observations: Points
) -> Seen:
    """Return the features at the observations of a batch."""

    def critic(x: Tensor) -> Tensor:
        return kernels.random_features(x, features.frequency, features.phase, bandwidth)

    critics = Points(*map(critic, observations))
    of_kernel = critics.observation
    if kernel in SMOOTH:
        of_kernel = kernels.random_features(
            observations.observation, features.kernel_frequency, features.kernel_phase, bandwidth
        )
    return Seen(*critics, of_kernel)


def per_action(probability: Tensor, features: Tensor) -> Tensor:
    """Return ``E_a phi(s, a)``, ``[points, actions * features]``."""
    return (probability.unsqueeze(-1) * features.unsqueeze(-2)).flatten(-2)


def block_diagonal(blocks: Tensor, num_actions: int) -> Tensor:
    """Return ``[actions * rows, actions * columns]`` of blocks ``[actions * rows, columns]``."""
    same = torch.eye(num_actions, dtype=blocks.dtype, device=blocks.device)
    apart = blocks.unflatten(0, (num_actions, -1)).unsqueeze(2) * same[:, None, :, None]
    return apart.flatten(2).flatten(0, 1)


def moments_of(game: BatchGame, seen: Seen, policy: Points, v_min: Tensor, rows: Tensor) -> Moments:
    """Return the moments of one batch worth `rows` transitions."""
    num_actions = policy.initial.shape[-1]
    chosen = torch.arange(num_actions, device=game.action.device) == game.action.unsqueeze(-1)
    weight = game.weight.unsqueeze(-1)
    weighted_taken, weighted_policy = weight * chosen, weight * policy.observation
    bootstrapped = game.bootstrap.unsqueeze(-1) * policy.following
    # q starts from v_min, so its own share of the residual belongs to the target.
    target = (game.reward + (game.bootstrap - 1) * v_min).unsqueeze(-1)
    sums: list[Tensor] = []
    # Some rows at a time: whole matrices of rows by features leave the cache, and cost more to
    # write than to multiply.
    for start in range(0, len(weight), ROWS_AT_A_TIME):
        at = slice(start, start + ROWS_AT_A_TIME)
        taken = per_action(weighted_taken[at], seen.kernel_observation[at]).T
        parts = [
            taken @ per_action(bootstrapped[at], seen.following[at]),
            taken @ seen.observation[at],
            taken @ target[at],
        ]
        if seen.kernel_observation is not seen.observation:
            parts.append(taken @ seen.kernel_observation[at])
        sums = [x + y for x, y in zip(sums, parts, strict=True)] if sums else parts
    following, own, aim = sums[:3]
    return Moments(
        matrix=block_diagonal(own, num_actions) - following,
        target=aim.squeeze(-1),
        gram=block_diagonal(sums[-1] if len(sums) > 3 else own, num_actions),
        mean_features=(weighted_policy.T @ seen.observation).flatten(),
        taken_features=(weighted_taken.T @ seen.observation).flatten(),
        inverse_size=1 / rows.clamp_min(1e-12),
        batches=torch.ones_like(rows),
    )


def running_mean(past: Moments, batch: Moments, rate: float | Tensor) -> Moments:
    """Return the mean of all batches so far, later ones at least by `rate`."""
    batches = past.batches + 1
    share = torch.maximum(torch.as_tensor(rate, dtype=batches.dtype), 1 / batches)
    mixed = (old + share * (new - old) for old, new in zip(past, batch, strict=True))
    # Of independent batches: variances add with squared shares.
    inverse_size = (1 - share) ** 2 * past.inverse_size + share**2 * batch.inverse_size
    return Moments(*mixed)._replace(inverse_size=inverse_size, batches=batches)


class Quadratic(NamedTuple):
    """``|rotated b - rotated M w|^2``: the kernel loss with W taken apart as ``R^T R``."""

    matrix: Tensor
    target: Tensor
    root: Tensor

    def residual(self, weights: Tensor) -> Tensor:
        """Return ``R (b - M w)``."""
        return self.target - self.matrix @ weights

    def pull(self, rotated: Tensor) -> Tensor:
        """Return ``R^T`` times a vector, back in the kernel's features."""
        return torch.linalg.solve_triangular(self.root.mT, rotated.unsqueeze(-1), upper=True)[:, 0]


def quadratic(kernel: Kernel, moments: Moments) -> Quadratic:
    """Return the kernel loss as a quadratic form of the weights."""
    eye = torch.eye(len(moments.gram), dtype=torch.float64, device=moments.gram.device)
    root = eye
    if kernel == "normalized_feature":
        root = torch.linalg.cholesky_ex(moments.gram + moments.inverse_size * eye)[0]
    both = torch.cat([moments.matrix, moments.target.unsqueeze(-1)], dim=-1)
    rotated = torch.linalg.solve_triangular(root, both, upper=False)
    return Quadratic(rotated[:, :-1], rotated[:, -1], root)


class Response(NamedTuple):
    """The best response.

    Attributes:
        weights: w, ``[features]``.
        multiplier: ``[]``, lambda.
        curvature: H, ``[features, features]``.
        residual: ``[]``, relative, of the system that was solved.
    """

    weights: Tensor
    multiplier: Tensor
    curvature: Tensor
    residual: Tensor


def best_response(
    loss: Quadratic, start: Tensor, regularization: float | Tensor, multiplier: Tensor
) -> Response:
    """Return the minimum of ``start . w + multiplier L_K(w) + regularization |w|^2``."""
    eye = torch.eye(len(start), dtype=start.dtype, device=start.device)
    curvature = 2 * multiplier * loss.matrix.T @ loss.matrix + 2 * regularization * eye
    right = 2 * multiplier * loss.matrix.T @ loss.target - start
    found = solvers.cholesky(curvature, right)
    return Response(found.x, multiplier, curvature, found.residual)


def constrained_response(
    loss: Quadratic, start: Tensor, regularization: float | Tensor, allowed: Tensor, scale: Tensor
) -> Response:
    """Return the response whose kernel loss is `allowed`, by bisection on log multiplier.

    `scale` is a multiplier of the right order; the search spans twelve orders around it. Where no
    multiplier reaches what is allowed, the largest is used and the logged loss says so.
    """
    low, high = torch.full_like(scale, -6.0), torch.full_like(scale, 6.0)
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        found = best_response(loss, start, regularization, scale * 10**middle)
        too_much = (loss.residual(found.weights) ** 2).sum() > allowed
        low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
    return best_response(loss, start, regularization, scale * 10**high)


def direction(
    loss: Quadratic,
    response: Response,
    start: Tensor,
    *,
    ridge: float | Tensor | None,
    constrained: bool,
) -> tuple[Direction, Tensor]:
    """Return ``(H + ridge I)^-1 start`` for start = d_w J_L, and the solver's residual."""
    curvature = response.curvature
    if ridge is not None:
        curvature = curvature + ridge * torch.eye(
            len(start), dtype=start.dtype, device=start.device
        )
    found = solvers.cholesky(curvature, start)
    if not constrained:
        return Direction(found.x, torch.zeros_like(response.multiplier)), found.residual
    gradient = -2 * loss.matrix.T @ loss.residual(response.weights)
    toward = solvers.cholesky(curvature, gradient).x
    return keep_constraint(found.x, toward, gradient), found.residual


def values(seen: Seen, weights: Tensor, base: Tensor | float, num_actions: int) -> Points:
    """Return ``base + phi . w`` at the points of a batch."""
    per = weights.reshape(num_actions, -1).T
    return Points(*(base + x @ per for x in (seen.observation, seen.following, seen.initial)))


def reply(
    game: BatchGame,
    seen: Seen,
    loss: Quadratic,
    response: Response,
    moves: Direction,
    v_min: Tensor,
    num_actions: int,
) -> Reply:
    """Return the answer as the leader needs it, on one batch."""
    doubled = 2 * response.multiplier
    feature_pull = loss.pull(doubled * loss.residual(response.weights))
    feature_pull_dot = loss.pull(doubled * -(loss.matrix @ moves.along))

    def at_data(feature_pull: Tensor) -> Tensor:
        per = seen.kernel_observation @ feature_pull.reshape(num_actions, -1).T
        return game.weight * at_action(per, game.action)

    pull = at_data(feature_pull)
    pull_dot = at_data(feature_pull_dot) + moves.multiplier / response.multiplier * pull
    q = values(seen, response.weights, v_min, num_actions)
    return Reply(q, values(seen, moves.along, 0.0, num_actions), pull, pull_dot)


class Starts(NamedTuple):
    """Derivatives in w, ``[features]``, of pessimism, J_L and the value of initial states."""

    follower: Tensor
    leader: Tensor
    initial: Tensor


def starts(aims: Aims, moments: Moments, initial: Tensor) -> Starts:
    """Return the derivatives, given ``E_s0[phi(s0, pi)]``."""
    leader = initial if aims.objective == "initial" else moments.mean_features
    relative = moments.mean_features - moments.taken_features
    return Starts(relative if aims.pessimism == "relative" else leader, leader, initial)


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
    numbers = torch.arange(num_actions, device=game.action.device)
    chosen = (numbers == game.action[::every].unsqueeze(-1)).double()
    features = per_action(chosen, seen.kernel_observation[::every])
    weight = game.weight[::every]
    rotated = torch.linalg.solve_triangular(loss.root, features.T, upper=False)
    square = (rotated**2).sum(0) * residual[::every] ** 2
    own = (weight * square).sum() / weight.sum().clamp_min(1e-12) / number
    return own / whole.clamp_min(torch.finfo(whole.dtype).tiny)


def smallest_curvature(response: Response) -> Tensor:
    """Return the smallest eigenvalue of the curvature, from above."""
    factor = torch.linalg.cholesky_ex(response.curvature)[0]

    def solve(x: Tensor) -> Tensor:
        return torch.cholesky_solve(x.unsqueeze(-1), factor).squeeze(-1)

    start = torch.ones_like(response.weights)
    return solvers.smallest_eigenvalue(solve, start, EIGENVALUE_STEPS)


def metrics(
    game: BatchGame,
    seen: Seen,
    loss: Quadratic,
    response: Response,
    starting: Starts,
    regularization: float | Tensor,
    policy: Points,
    q: Points,
    discount: Tensor,
    number: Tensor,
) -> dict[str, Tensor]:
    """Return what the response says of itself, scalars in normalised units.

    `concentrability` is ``(1 - discount)^2 |R^-T M^-T p|^2``, p = ``E_s0[phi(s0, pi)]``: what the
    policy's value from the initial states costs in pessimism, times ``4 multiplier``.
    """
    error = loss.residual(response.weights)
    gradient = (
        starting.follower
        - 2 * response.multiplier * loss.matrix.T @ error
        + 2 * regularization * response.weights
    )
    whole, residual = (error**2).sum(), game.residual(policy, q)
    reached = solvers.cholesky(response.curvature, starting.initial).x
    return {
        "kernel_loss": whole,
        "kernel_diagonal_share": diagonal_share(game, seen, loss, residual, whole, number),
        "follower_gradient": (gradient**2).sum().sqrt(),
        "smallest_curvature": smallest_curvature(response),
        "response_residual": response.residual,
        "concentrability": (1 - discount) ** 2
        * 2
        * response.multiplier
        * (starting.initial * reached).sum(),
    }
