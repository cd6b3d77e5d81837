"""Whether two programs compute the same: the guard of every rewritten one before it is used."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# What another order of adding up float32 may change, and what is no rounding any more.
RELATIVE, ABSOLUTE = 1e-3, 1e-5


def agree(one: Callable[..., Any], other: Callable[..., Any], examples: list[Tensor]) -> bool:
    """Return whether two functions of tensors give the same numbers near the examples."""
    inputs = _disturbed(examples)
    with torch.no_grad():
        pairs = zip(one(*inputs), other(*inputs), strict=True)
        return all(_close(x, y) for x, y in pairs)


def _disturbed(examples: list[Tensor]) -> list[Tensor]:
    """Return examples without the ties and zeros of a beginning, which would hide differences.

    Upwards only: what is never below 0, like second moments, stays so.
    """
    generator = torch.Generator().manual_seed(0)
    return [
        x + 0.1 * torch.rand(x.shape, generator=generator).to(x) if x.is_floating_point() else x
        for x in examples
    ]


def _close(one: Tensor, other: Tensor) -> bool:
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    size = one[one.isfinite()].abs().max().item() if one.isfinite().any() else 0.0
    return torch.allclose(one, other, RELATIVE, ABSOLUTE * max(1.0, size), equal_nan=True)
