"""How many bytes things of this project hold in arrays, each counted once however many share it."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch


def held(thing: Any, seen: set[int]) -> int:
    """Return the bytes of all arrays and tensors that a thing leads to, but for those `seen`.

    `seen` holds what was counted already and is added to. What other libraries made is not looked
    into, sparse matrices apart.
    """
    total, left = 0, [thing]
    while left:
        place, size = _memory(here := left.pop())
        if place in seen:
            continue
        seen.add(place)
        total += size
        left += _inside(here)
    return total


def _memory(thing: Any) -> tuple[int, int]:
    """Return where a thing is and its bytes: of what shows a part of other memory, of all of it.

    What is mapped from a file takes none that the system could not have back.
    """
    if isinstance(thing, torch.Tensor) and thing.layout == torch.strided:
        storage = thing.untyped_storage()
        return storage.data_ptr(), storage.nbytes()
    while isinstance(thing, np.ndarray) and isinstance(thing.base, np.ndarray):
        thing = thing.base
    if not isinstance(thing, np.ndarray):
        return id(thing), 0
    return thing.ctypes.data, 0 if isinstance(thing, np.memmap) else thing.nbytes


def _inside(thing: Any) -> Iterator[Any]:
    if isinstance(thing, Mapping):
        yield from thing.values()
    elif isinstance(thing, list | tuple):
        yield from thing
    elif type(thing).__module__.startswith(("bench.", "scipy.sparse.")):
        yield from getattr(thing, "__dict__", {}).values()
