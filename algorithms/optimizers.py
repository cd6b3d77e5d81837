"""Adam as a pure function, so that every run of a cohort can have its own learning rate."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten


class AdamState(NamedTuple):
    """Updates made so far ``[]`` and the running moments, shaped like the parameters."""

    num_updates: Tensor
    first: Any
    second: Any


def adam_init(parameters: Any) -> AdamState:
    """Return the state before the first update."""
    zeros = tree_map(torch.zeros_like, parameters)
    return AdamState(torch.zeros(()), zeros, tree_map(torch.zeros_like, parameters))


def adam(
    gradient: Any,
    state: AdamState,
    parameters: Any,
    learning_rate: float | Tensor,
    decay_first: float = 0.9,
    decay_second: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Any, AdamState]:
    """Return parameters and state after one update (Kingma and Ba 2015, Algorithm 1)."""
    count = state.num_updates + 1
    correction_first = 1 - decay_first**count
    correction_second = (1 - decay_second**count).sqrt()
    grads, structure = tree_flatten(gradient)
    updated: list[tuple[Tensor, Tensor, Tensor]] = []
    for grad, m, v, p in zip(
        grads,
        tree_flatten(state.first)[0],
        tree_flatten(state.second)[0],
        tree_flatten(parameters)[0],
        strict=True,
    ):
        m = torch.lerp(grad, m, decay_first)
        v = torch.lerp(grad * grad, v, decay_second)
        scaled = m / (v.sqrt() / correction_second + epsilon)
        updated.append((p - learning_rate / correction_first * scaled, m, v))
    new, first, second = (tree_unflatten(list(x), structure) for x in zip(*updated, strict=True))
    return new, AdamState(count, first, second)
