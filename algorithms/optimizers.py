"""Adam as a pure function, so that every run of a cohort can have its own learning rate."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten


class AdamState(NamedTuple):
    """Updates made so far ``[]`` and the running moments ``[parameters]``, all leaves in a row."""

    num_updates: Tensor
    first: Tensor
    second: Tensor


def adam_init(parameters: Any) -> AdamState:
    """Return the state before the first update."""
    zeros = torch.zeros_like(_flat(tree_leaves(parameters)))
    return AdamState(torch.zeros(()), zeros, zeros.clone())


def adam(
    gradient: Any,
    state: AdamState,
    parameters: Any,
    learning_rate: float | Tensor,
    decay_first: float = 0.9,
    decay_second: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Any, AdamState]:
    """Return parameters and state after one update (Kingma and Ba 2015, Algorithm 1).

    On all leaves at once: a network has several, most of them small, and each would cost as many
    operations as the largest.
    """
    count = state.num_updates + 1
    # What divides m in  lr / (1 - d1^t) m / (sqrt(v / (1 - d2^t)) + e)  is  scale sqrt(v) + least.
    least = -torch.expm1(count * math.log(decay_first)) / learning_rate
    scale = least / (-torch.expm1(count * math.log(decay_second))).sqrt()
    leaves, structure = tree_flatten(parameters)
    grad = _flat(tree_leaves(gradient))
    first = torch.lerp(grad, state.first, decay_first)
    second = torch.addcmul(decay_second * state.second, grad, grad, value=1 - decay_second)
    divisor = torch.addcmul(epsilon * least, second.sqrt(), scale)
    moved = torch.addcdiv(_flat(leaves), first, divisor, value=-1)
    parts = moved.split([leaf.numel() for leaf in leaves])
    new = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    return tree_unflatten(new, structure), AdamState(count, first, second)


def _flat(leaves: list[Tensor]) -> Tensor:
    """Return all numbers of some tensors in a row."""
    if len(leaves) == 1:
        return leaves[0].reshape(-1)
    return torch.cat([leaf.reshape(-1) for leaf in leaves])
