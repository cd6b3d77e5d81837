"""Dividing runs into parts of equal size."""

from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

# Of a processor core's own cache, and fewest runs whose operations are worth their overhead.
CACHE_BYTES = 2**20
LEAST_TOGETHER = 8


def part_lengths(state: Any, runs: int) -> list[int]:
    """Return the sizes of the parts of so many runs whose state ``[run, ...]`` fits the cache.

    Equal ones if possible, since every size is traced by itself.
    """
    size = sum(x.nbytes for x in tree_leaves(state) if isinstance(x, Tensor)) // runs
    most = max(LEAST_TOGETHER, CACHE_BYTES // max(1, size))
    if runs <= most:
        return [runs]
    even = [n for n in range(max(LEAST_TOGETHER, most // 2), 2 * most) if runs % n == 0]
    if even:
        length = min(even, key=lambda n: max(n / most, most / n))
        return [length] * (runs // length)
    return equal_parts(runs, most)


def equal_parts(count: int, at_most: int) -> list[int]:
    """Return the sizes of as few consecutive parts as possible, equal up to one."""
    parts = -(-count // max(1, at_most))
    return [count * (i + 1) // parts - count * i // parts for i in range(parts)]
