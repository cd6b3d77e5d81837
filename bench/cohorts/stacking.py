"""Runs stacked on a leading axis: settings, trees of tensors, and their parts."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from algorithms.base import Algorithm


def stack_algorithms(algorithms: list[Algorithm]) -> tuple[Algorithm, dict[str, Tensor]]:
    """Return the shared algorithm and its float hyperparameters as ``[run]`` tensors."""
    floats = [
        f.name for f in fields(algorithms[0]) if isinstance(getattr(algorithms[0], f.name), float)
    ]
    first = algorithms[0]
    for other in algorithms:
        if replace(other, **{name: getattr(first, name) for name in floats}) != first:
            raise ValueError(f"A cohort shares all but float settings, not {first} and {other}.")
    stacked = {
        name: torch.tensor([getattr(a, name) for a in algorithms], dtype=torch.float32)
        for name in floats
    }
    return first, stacked


def stack(trees: list[Any], device: torch.device) -> Any:
    """Return one tree of ``[run, ...]`` tensors; absent leaves stay absent."""

    def one(*leaves: Tensor | None) -> Tensor | None:
        present = [leaf for leaf in leaves if leaf is not None]
        return torch.stack(present).to(device) if present else None

    return tree_map(one, *trees)


def pad_and_stack(tensors: list[Tensor]) -> Tensor:
    """Return ``[run, ...]`` of tensors that differ in size, zeros where one is smaller."""
    largest = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
    stacked = torch.zeros(len(tensors), *largest)
    for row, tensor in zip(stacked, tensors, strict=True):
        row[tuple(map(slice, tensor.shape))] = tensor
    return stacked


def axes(tree: Any) -> Any:
    """Return the axis to map each leaf over; absent ones (no batch, no counts) have none."""
    return tree_map(lambda leaf: 0 if isinstance(leaf, Tensor) else None, tree)


def count_tensors(tree: Any) -> int:
    """Return the number of tensors in a tree."""
    return sum(isinstance(leaf, Tensor) for leaf in tree_leaves(tree))
