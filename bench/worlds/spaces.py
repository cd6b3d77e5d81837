"""Gymnasium's spaces as flat vectors or numbers, alike for recorded and for live observations.

Continuous actions are in a world's units everywhere but inside learners; `to_unit` and `from_unit`
alone go from the one to the other.
"""

from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

Bounds = tuple[tuple[float, ...], tuple[float, ...]]


class FlatSpace(NamedTuple):
    """How a space is seen here.

    Attributes:
        num_values: Number of values of a discrete space; 0 for vectors.
        size: Length of the vector; 0 for discrete spaces.
        start: Lowest value of a discrete space, which becomes 0 here.
        bounds: Lowest and highest vector of a box, infinite where it is open; None of all else.
    """

    num_values: int
    size: int
    start: int = 0
    bounds: Bounds | None = None


def flat_space(space: spaces.Space[Any]) -> FlatSpace:
    """Return how a space is seen: alone, `Discrete` is numbered, all else is one vector.

    Raises:
        ValueError: If the space holds something other than numbers.
    """
    if isinstance(space, spaces.Discrete):
        return FlatSpace(int(space.n), 0, int(space.start))
    return FlatSpace(
        0, _size(space), bounds=bounds(space) if isinstance(space, spaces.Box) else None
    )


def flatten(space: spaces.Space[Any], values: Any, length: int) -> np.ndarray:
    """Return values of a space as ``[length]`` int64 from 0, or ``[length, size]`` float32.

    `values` is as Minari stores an episode: an array ``[length, ...]``, or mappings and tuples of
    such arrays.

    Raises:
        ValueError: If an array is not as long, its rows are of another size than the space's, or
            numbers lie outside of it.
    """
    if isinstance(space, spaces.Discrete):
        numbers = np.asarray(values).reshape(-1)
        if len(numbers) != length:
            raise ValueError(f"{len(numbers)} of them")
        if numbers.dtype.kind not in "iub":
            raise ValueError(f"values of type {numbers.dtype}")
        numbers = numbers.astype(np.int64) - int(space.start)
        outside = numbers[(numbers < 0) | (numbers >= int(space.n))]
        if len(outside):
            raise ValueError(f"values such as {outside[0] + int(space.start)}")
        return numbers
    parts = [_part(leaf, part, length) for leaf, part in _leaves(space, values)]
    return np.concatenate(parts, axis=1)


def bounds(space: spaces.Box) -> Bounds:
    """Return the lowest and highest vector of a box, infinite where it is open."""
    return tuple(space.low.reshape(-1).tolist()), tuple(space.high.reshape(-1).tolist())


def to_unit(action: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Return actions ``[..., size]`` of a box as learners see them, in [-1, 1] per dimension.

    A dimension that is open, or has one value alone, stays as it is; an action outside of the box
    is outside of [-1, 1].
    """
    low, high, scaled = _halves(bounds)
    half = np.asarray(action, dtype=np.float64) / 2
    unit: np.ndarray = np.where(scaled, ((half - low) - (high - half)) / (high - low), action)
    return unit


def from_unit(unit: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Return actions ``[..., size]`` of a box from a learner's, the nearest within it."""
    low, high, scaled = _halves(bounds)
    # A mean of the bounds is just one of them at -1 and 1, whatever is rounded in between.
    action = np.where(scaled, (1 - unit) * low + (1 + unit) * high, unit)
    return np.clip(action, *np.array(bounds))


def _halves(bounds: Bounds) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return half of either bound, and where both are finite and apart; elsewhere -1 and 1.

    Halves, since the range of the widest bounds would be infinite.
    """
    low, high = np.array(bounds)
    scaled = np.isfinite(low) & np.isfinite(high) & (high > low)
    return np.where(scaled, low, -2.0) / 2, np.where(scaled, high, 2.0) / 2, scaled


def _part(space: spaces.Space[Any], values: Any, length: int) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"values of type {array.dtype}")
    if array.ndim == 0 or len(array) != length:
        raise ValueError(f"{len(array) if array.ndim else 'a single one'} of them")
    if array.size != length * _size(space):
        raise ValueError(f"rows of shape {array.shape[1:]}")
    with np.errstate(over="ignore"):
        return array.reshape(length, -1).astype(np.float32)


def _leaves(space: spaces.Space[Any], values: Any) -> list[tuple[spaces.Space[Any], Any]]:
    """Return the simple spaces in a space with their values, a mapping's in the order of names.

    Not in the mapping's own order: a stored space comes back sorted, the environment's need not be.
    """
    if isinstance(space, spaces.Dict):
        inner = [(part, values[name]) for name, part in sorted(space.spaces.items())]
    elif isinstance(space, spaces.Tuple):
        inner = [(part, values[index]) for index, part in enumerate(space.spaces)]
    else:
        return [(space, values)]
    return [leaf for part, value in inner for leaf in _leaves(part, value)]


def leaves(space: spaces.Space[Any]) -> list[spaces.Space[Any]]:
    """Return the simple spaces in a space, in the order in which their values are made flat."""
    if isinstance(space, spaces.Dict):
        return [leaf for _, part in sorted(space.spaces.items()) for leaf in leaves(part)]
    if isinstance(space, spaces.Tuple):
        return [leaf for part in space.spaces for leaf in leaves(part)]
    return [space]


def _size(space: spaces.Space[Any]) -> int:
    if isinstance(space, spaces.Dict):
        return sum(_size(part) for part in space.spaces.values())
    if isinstance(space, spaces.Tuple):
        return sum(_size(part) for part in space.spaces)
    if isinstance(space, spaces.Discrete):
        return 1
    if isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary):
        return int(np.prod(space.shape, dtype=int))
    raise ValueError(f"a space of kind {type(space).__name__}, which holds more than numbers")
