"""Random features of a batch, and the moments of the data in them.

    phi(s, a) = 1[a] features(s)
    M = E_data[ phi_K (phi - discount (1 - terminated) phi'_pi)^T ],     b = E_data[ phi_K target ]

with phi_K the kernel's features, phi itself unless the kernel is one between states. Moments are
running means over minibatches, since M needs the whole data and changes with the policy as little
as that does.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.stackelberg.game import kernels
from algorithms.stackelberg.game.game import BatchGame, Points
from algorithms.stackelberg.game.kernels import SMOOTH, Kernel
from algorithms.stackelberg.game.pairs import PairGame

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


def of_action(action: Tensor, num_actions: int) -> Tensor:
    """Return which action each of ``action[batch]`` is, ``[batch, num_actions]``, float64."""
    numbers = torch.arange(num_actions, device=action.device)
    return (numbers == action.unsqueeze(-1)).double()


def whitening(kernel: Kernel, gram: Tensor, inverse_size: Tensor) -> Tensor:
    """Return R with ``W = (R R^T)^-1`` of a kernel, lower triangular.

    The identity, but for `normalized_feature`, whose gram ``E[phi_K phi_K^T]`` counts with one
    transition's worth of identity added.
    """
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    if kernel != "normalized_feature":
        return eye.expand_as(gram)
    return torch.linalg.cholesky_ex(gram + inverse_size * eye)[0]


def block_diagonal(blocks: Tensor, num_actions: int) -> Tensor:
    """Return ``[actions * rows, actions * columns]`` of blocks ``[actions * rows, columns]``."""
    same = torch.eye(num_actions, dtype=blocks.dtype, device=blocks.device)
    apart = blocks.unflatten(0, (num_actions, -1)).unsqueeze(2) * same[:, None, :, None]
    return apart.flatten(2).flatten(0, 1)


def moments_of(game: BatchGame, seen: Seen, policy: Points, v_min: Tensor, rows: Tensor) -> Moments:
    """Return the moments of one batch worth `rows` transitions."""
    num_actions = policy.initial.shape[-1]
    weight = game.weight.unsqueeze(-1)
    weighted_taken = weight * of_action(game.action, num_actions)
    weighted_policy = weight * policy.observation
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


def squares_of(
    moments: Moments, game: BatchGame, seen: Seen, policy: Points, v_min: Tensor
) -> Moments:
    """Return the moments of a batch with those of squared residuals in place of the kernel's.

    With m = phi - discount (1 - terminated) phi'_pi: `matrix` is ``E[m m^T]``, `target` is
    ``E[m target]``, and the first entry of `gram` is ``E[target^2]``.
    """
    num_actions = policy.initial.shape[-1]
    own = per_action(of_action(game.action, num_actions), seen.observation)
    moved = own - per_action(game.bootstrap.unsqueeze(-1) * policy.following, seen.following)
    target = game.reward + (game.bootstrap - 1) * v_min
    return _squares(moments, moved, target, game.weight)


def _squares(moments: Moments, moved: Tensor, target: Tensor, weight: Tensor) -> Moments:
    weighted = weight.unsqueeze(-1) * moved
    return moments._replace(
        matrix=moved.mT @ weighted,
        target=weighted.mT @ target,
        gram=torch.zeros_like(moments.gram) + (weight * target**2).sum(),
    )


def moments_of_pairs(
    game: PairGame, policy: Points, kernel_features: Tensor, base: Tensor, rows: Tensor
) -> Moments:
    """Return the moments of one batch worth `rows` transitions, whose actions are vectors.

    Takes features where the policy acts and those of the kernel at the data ``[batch, features]``.
    """
    weighted = (game.weight.unsqueeze(-1) * kernel_features).mT
    moved = game.taken - game.bootstrap.unsqueeze(-1) * policy.following
    return Moments(
        matrix=weighted @ moved,
        # q starts from a base, whose own share of the residual belongs to the target.
        target=weighted @ (game.reward + (game.bootstrap - 1) * base),
        gram=weighted @ kernel_features,
        mean_features=game.weight @ policy.observation,
        taken_features=game.weight @ game.taken,
        inverse_size=1 / rows.clamp_min(1e-12),
        batches=torch.ones_like(rows),
    )


def squares_of_pairs(moments: Moments, game: PairGame, policy: Points, base: Tensor) -> Moments:
    """Return the moments of `moments_of_pairs` changed as `squares_of` does."""
    moved = game.taken - game.bootstrap.unsqueeze(-1) * policy.following
    target = game.reward + (game.bootstrap - 1) * base
    return _squares(moments, moved, target, game.weight)


def running_mean(past: Moments, batch: Moments, rate: float | Tensor) -> Moments:
    """Return the mean of all batches so far, later ones at least by `rate`."""
    batches = past.batches + 1
    share = torch.maximum(torch.as_tensor(rate, dtype=batches.dtype), 1 / batches)
    mixed = (old + share * (new - old) for old, new in zip(past, batch, strict=True))
    # Of independent batches: variances add with squared shares.
    inverse_size = (1 - share) ** 2 * past.inverse_size + share**2 * batch.inverse_size
    return Moments(*mixed)._replace(inverse_size=inverse_size, batches=batches)
