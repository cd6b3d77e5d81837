"""Twin critics: two networks side by side, as one network with a leading axis ``[2, ...]``.

That costs half the operations of two and makes twins of unequal shape impossible; an ensemble is
the same with a longer axis. Of continuous actions a critic takes an observation and an action, of
numbered ones it gives a value for each.
"""

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.networks import InitialValue, Network
from bench.types import EnvSpec


def twin_critics(
    spec: EnvSpec, hidden_sizes: tuple[int, ...], generator: torch.Generator
) -> Network:
    """Return two independently drawn critics, ``[2, in, out]`` weights and ``[2, 1, out]`` bias."""
    return ensemble(spec, hidden_sizes, generator, 2)


def ensemble(
    spec: EnvSpec, hidden_sizes: tuple[int, ...], generator: torch.Generator, number: int
) -> Network:
    """Return so many, ``[number, in, out]`` weights and ``[number, 1, out]`` bias."""
    sizes = (spec.observation_size + spec.action_size, *hidden_sizes, 1)
    return side_by_side([networks.feed_forward(sizes, generator) for _ in range(number)])


def side_by_side(alone: list[Network]) -> Network:
    """Return networks of equal shape as one, ``[number, in, out]`` and ``[number, 1, out]``."""
    return tuple(
        {
            "weight": torch.stack([layer["weight"] for layer in several]),
            "bias": torch.stack([layer["bias"] for layer in several]).unsqueeze(1),
        }
        for several in zip(*alone, strict=True)
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


def values_of_several(critics: Network, observation: Tensor, action: Tensor) -> Tensor:
    """Return the values ``[2, n, batch]``, of a single critic ``[n, batch]``.

    Observations are ``[batch, observation_size]``, actions at each ``[n, batch, action_size]``.
    """
    shape = action.shape[:-1]
    repeated = observation.expand(*shape, observation.shape[-1])
    found = values(critics, repeated.flatten(0, 1), action.flatten(0, 1))
    return found.unflatten(-1, shape)


def twin_action_critics(
    spec: EnvSpec,
    hidden_sizes: tuple[int, ...],
    generator: torch.Generator,
    initial_value: InitialValue,
) -> Network:
    """Return two critics of numbered actions around a value; as tables both are the same."""
    value = networks.initial_value(spec, initial_value)
    pair = [networks.action_network(spec, hidden_sizes, generator, value) for _ in range(2)]
    twins: Network = tree_map(lambda *both: torch.stack(both), *pair)
    return twins


def action_values(critics: Network, observation: Tensor) -> Tensor:
    """Return the values ``[2, batch, num_actions]`` of observations as they come in a batch."""
    found: Tensor = torch.func.vmap(networks.apply, (0, None))(critics, observation)
    return found


def projected(critics: Network, largest_norm: float | Tensor) -> Network:
    """Return critics ``[2, ...]`` each of whose weight matrices has at most this Frobenius norm."""

    def shrunk(weight: Tensor) -> Tensor:
        norm = (weight**2).sum((-2, -1), keepdim=True).clamp_min(1e-12).sqrt()
        return weight * (largest_norm / norm).clamp_max(1)

    return tuple({**layer, "weight": shrunk(layer["weight"])} for layer in critics)
