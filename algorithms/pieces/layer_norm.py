"""Critics of continuous actions whose hidden layers are normalised behind the ReLU (layer norm)."""

import torch
from torch import Tensor

from algorithms import critics
from algorithms.networks import Network
from bench.types import EnvSpec

# Added to a variance, as in Flax's layer norm.
NORM_EPSILON = 1e-6


def twin_critics(
    spec: EnvSpec, hidden_sizes: tuple[int, ...], generator: torch.Generator
) -> Network:
    """Return two random critics with scales of 1 and shifts of 0 for their hidden layers' norms."""
    *hidden, last = critics.twin_critics(spec, hidden_sizes, generator)
    norms = ({"scale": torch.ones_like(x["bias"]), "shift": 0 * x["bias"]} for x in hidden)
    return *(layer | norm for layer, norm in zip(hidden, norms, strict=True)), last


def values(twins: Network, observation: Tensor, action: Tensor) -> Tensor:
    """Return the values ``[2, batch]`` of critics whose hidden layers are normalised."""
    x = torch.cat([observation, action], -1)
    *hidden, last = twins
    for layer in hidden:
        x = (x @ layer["weight"] + layer["bias"]).relu()
        centered = x - x.mean(-1, keepdim=True)
        deviation = ((centered**2).mean(-1, keepdim=True) + NORM_EPSILON).sqrt()
        x = layer["scale"] * centered / deviation + layer["shift"]
    return (x @ last["weight"] + last["bias"]).squeeze(-1)
