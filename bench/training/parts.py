"""Dividing runs into parts of equal size."""

from itertools import pairwise
from typing import TypeVar

Run = TypeVar("Run")


def equal_parts(items: list[Run], number: int) -> list[list[Run]]:
    """Return so many consecutive parts, their sizes equal up to one."""
    bounds = [len(items) * index // number for index in range(number + 1)]
    return [items[start:end] for start, end in pairwise(bounds)]
