"""Whether two programs compute the same: the guard of every rewritten one before it is used."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

# What another order of adding up float32 may change, and what is no rounding any more.
RELATIVE, ABSOLUTE = 1e-3, 1e-5
# Of a tensor's numbers so many may differ by more: an optimiser divides by the size of a gradient,
# so that of one that is nothing but rounding something as large as any other step is made.
FEW = 1e-4
# Beyond it a run is lost, and what follows is rounding alone.
LOST = 1e10


def agree(one: Callable[..., Any], other: Callable[..., Any], examples: list[Tensor]) -> bool:
    """Return whether two functions of tensors give the same numbers, where the first is finite.

    Tensors without memory have none.
    """
    with torch.no_grad():
        pairs = zip(one(*examples), other(*examples), strict=True)
        return all(x.device.type == "meta" or _close(x, y) for x, y in pairs)


def identical(ones: Iterable[Tensor], others: Iterable[Tensor]) -> bool:
    """Return whether all tensors are alike in every bit."""
    return all(
        (x.shape, x.dtype) == (y.shape, y.dtype) and torch.equal(_bits(x), _bits(y))
        for x, y in zip(ones, others, strict=True)
    )


def _bits(x: Tensor) -> Tensor:
    return x.contiguous().reshape(-1).view(torch.uint8)


def _close(one: Tensor, other: Tensor) -> bool:
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    usable = one.abs() < LOST
    one, other = one[usable], other[usable]
    size = float(one.abs().max()) if len(one) else 0.0
    same = torch.isclose(one, other, RELATIVE, ABSOLUTE * max(1.0, size))
    return int((~same).sum()) <= FEW * one.numel()
