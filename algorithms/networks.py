"""Networks as plain nested tuples of tensors, with ``nn.Linear``'s initial scale."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from bench.types import EnvSpec

Layer = dict[str, Tensor]
Network = tuple[Layer, ...]
InitialValue = Literal["zero", "v_min", "v_max"]


def initial_value(spec: EnvSpec, name: InitialValue) -> float:
    """Return the number that a critic starts from."""
    return {"zero": 0.0, "v_min": spec.v_min, "v_max": spec.v_max}[name]


def action_network(
    spec: EnvSpec, hidden_sizes: Sequence[int], generator: torch.Generator, value: float = 0.0
) -> Network:
    """Return a network from observations to one number per action that starts around `value`.

    Without hidden layers on numbered states it is a table: exactly `value` everywhere and
    no bias, so that an update in one state moves no other. Else `value` is added to the last bias.
    """
    if not hidden_sizes and spec.observation_kind == "discrete":
        return ({"weight": torch.full((spec.observation_size, spec.num_actions), float(value))},)
    network = feed_forward((spec.observation_size, *hidden_sizes, spec.num_actions), generator)
    network[-1]["bias"] = network[-1]["bias"] + value
    return network


def value_network(
    spec: EnvSpec, hidden_sizes: Sequence[int], generator: torch.Generator, value: float
) -> Network:
    """Return a network from observations to one number that starts around `value`, ``[..., 1]``.

    On numbered states it is a table where `action_network` is one.
    """
    return action_network(replace(spec, num_actions=1), hidden_sizes, generator, value)


def feed_forward(sizes: Sequence[int], generator: torch.Generator) -> Network:
    """Return a network with layers between the given sizes, the input's and output's included."""
    return tuple(linear(size_in, size_out, generator) for size_in, size_out in pairwise(sizes))


def linear(size_in: int, size_out: int, generator: torch.Generator) -> Layer:
    """Return a layer at ``nn.Linear``'s initial scale, uniform within 1 / sqrt(size_in)."""
    bound = 1 / math.sqrt(size_in)
    weight = torch.empty(size_in, size_out).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(size_out).uniform_(-bound, bound, generator=generator)
    return {"weight": weight, "bias": bias}


def apply(network: Network, observation: Tensor) -> Tensor:
    """Return the output ``[..., out]``, ReLU between layers.

    Takes observations as they come in a batch: vectors ``[..., in]``, or numbered states ``[...]``,
    for which the first layer's product is the row of its weights that the number names.
    """
    x = observation
    for index, layer in enumerate(network):
        x = x @ layer["weight"] if x.is_floating_point() else rows(layer["weight"], x)
        if "bias" in layer:
            x = x + layer["bias"]
        if index < len(network) - 1:
            x = x.relu()
    return x


def rows(table: Tensor, index: Tensor) -> Tensor:
    """Return ``table[index]``, ``[..., width]`` of ``[rows, width]``.

    By a gather: indexing, which does the same, takes several times as long under vmap.
    """
    width = table.shape[-1]
    every = index.reshape(-1, 1).expand(-1, width)
    return table.gather(0, every).reshape(*index.shape, width)


def polyak_average(target: Network, online: Network, polyak: float | Tensor) -> Network:
    """Return ``target + polyak (online - target)``, parameter by parameter."""
    return tree_map(lambda slow, fast: torch.lerp(slow, fast, polyak), target, online)
