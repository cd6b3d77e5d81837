"""Twin critics of continuous actions: two networks of an observation and an action, side by side.

They are one network whose layers have a leading axis ``[2, ...]``, which costs half the operations
of two and makes twins of unequal shape impossible.
"""

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.networks import Network
from bench.types import EnvSpec


def twin_critics(
    spec: EnvSpec, hidden_sizes: tuple[int, ...], generator: torch.Generator
) -> Network:
    """Return two independently drawn critics, ``[2, in, out]`` weights and ``[2, 1, out]`` bias."""
    sizes = (spec.observation_size + spec.action_size, *hidden_sizes, 1)
    first, second = (networks.feed_forward(sizes, generator) for _ in range(2))
    return tuple(
        {
            "weight": torch.stack([one["weight"], other["weight"]]),
            "bias": torch.stack([one["bias"], other["bias"]]).unsqueeze(1),
        }
        for one, other in zip(first, second, strict=True)
    )


def first(critics: Network) -> Network:
    """Return the first critic alone, without the leading axis."""
    alone: Network = tree_map(lambda parameter: parameter[0], critics)
    return alone


def values(critics: Network, observation: Tensor, action: Tensor) -> Tensor:
    """Return the values ``[2, batch]``, of a single critic ``[batch]``.

    Observations are ``[batch, observation_size]``, actions ``[batch, action_size]``.
    """
    return networks.apply(critics, torch.cat([observation, action], -1)).squeeze(-1)
