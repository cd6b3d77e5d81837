"""Kernels on (observation, action), as Gram matrices and as random features.

    K((s, a), (s~, a~)) = k(|s - s~| / bandwidth) 1[a = a~]

    gaussian              k(d) = exp(-d^2 / 2)
    laplacian             k(d) = exp(-d)
    inverse_multiquadric  k(d) = (1 + d^2)^(-1/2)
    delta                 k(d) = 1[d = 0]
    feature               phi phi^T of the features themselves (those of the linear critic)
    normalized_feature    phi E[phi^T phi]^-1 phi^T: the projected Bellman error
    normalized_delta      1[x = x~] / mu(x), mu the data's share of x: tables only

On a table, whose features are its cells, `feature` is `delta` and `normalized_feature` is
`normalized_delta`. Features of the three smooth kernels follow Rahimi and Recht (2007).
"""

import math
from typing import Literal

import torch
from torch import Tensor

from algorithms.networks import rows

Kernel = Literal[
    "gaussian",
    "laplacian",
    "inverse_multiquadric",
    "feature",
    "normalized_feature",
    "delta",
    "normalized_delta",
]
SMOOTH: tuple[Kernel, ...] = ("gaussian", "laplacian", "inverse_multiquadric")


def similarity(kernel: Kernel, squared_distance: Tensor) -> Tensor:
    """Return ``k(d)`` of squared distances in units of the bandwidth, elementwise.

    Raises:
        ValueError: If the kernel is no function of a distance.
    """
    if kernel == "gaussian":
        return (-squared_distance / 2).exp()
    if kernel == "laplacian":
        return (-squared_distance.clamp_min(0).sqrt()).exp()
    if kernel == "inverse_multiquadric":
        return (1 + squared_distance).rsqrt()
    if kernel == "delta":
        return (squared_distance <= 0).to(squared_distance.dtype)
    raise ValueError(f"kernel={kernel} is no function of a distance")


def gram(
    kernel: Kernel,
    observation: Tensor,
    action: Tensor,
    bandwidth: float | Tensor,
) -> Tensor:
    """Return ``[n, n]`` of observations ``[n, size]`` and actions ``[n]``."""
    # Differences, not |x|^2 + |y|^2 - 2 x y: equal points must be at distance exactly 0.
    difference = (observation.unsqueeze(1) - observation.unsqueeze(0)) / bandwidth
    same_action = (action.unsqueeze(1) == action.unsqueeze(0)).to(observation.dtype)
    return similarity(kernel, (difference * difference).sum(-1)) * same_action


def state_gram(kernel: Kernel, num_states: int, bandwidth: float | Tensor, like: Tensor) -> Tensor:
    """Return ``k`` between numbered states ``[states, states]``, all sqrt(2) apart."""
    same = torch.eye(num_states, dtype=like.dtype, device=like.device)
    apart = 2 * (1 - same) / (torch.as_tensor(bandwidth, dtype=like.dtype) ** 2)
    return similarity(kernel, apart)


def random_frequencies(
    kernel: Kernel, size: int, num_features: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return frequencies ``[size, features]`` for bandwidth 1 and phases ``[features]``.

    The frequencies follow the kernel's spectral density. Kernels without one of their own
    (`feature` and `normalized_feature`) get the Gaussian's.
    """
    normal = torch.randn(size, num_features, generator=generator, dtype=torch.float64)
    scale = torch.randn(num_features, generator=generator, dtype=torch.float64).abs()
    phase = 2 * math.pi * torch.rand(num_features, generator=generator, dtype=torch.float64)
    if kernel == "laplacian":  # a multivariate Cauchy
        normal = normal / scale
    elif kernel == "inverse_multiquadric":  # (1 + d^2)^(-1/2) = E_g[ exp(-g^2 d^2 / 2) ]
        normal = normal * scale
    return normal, phase


def random_features(
    observation: Tensor, frequency: Tensor, phase: Tensor, bandwidth: float | Tensor
) -> Tensor:
    """Return ``[..., features]`` whose inner products approximate ``k``.

    A numbered state is a unit vector, of which the product with the frequencies is a row of them.
    """
    if observation.is_floating_point():
        projected = (observation.to(frequency.dtype) / bandwidth) @ frequency
    else:
        projected = rows(frequency, observation) / bandwidth
    return math.sqrt(2 / phase.shape[-1]) * (projected + phase).cos()
