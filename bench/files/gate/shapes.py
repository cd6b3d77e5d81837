"""Whether data has the kind, the size and the range of a world's observations and actions."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces

from bench.data.storage import Storage
from bench.types import EnvSpec
from bench.worlds.spaces import flat_space, leaves

# Of a range of values, how far beyond it a recorded one may lie.
BEYOND = 0.01
# Rows that are looked at a time; a mapped column is never in memory as a whole.
CHUNK_ROWS = 2**18


def misfit(data: EnvSpec, world: EnvSpec) -> str | None:
    """Return what keeps policies on data from acting in a world; None if nothing does."""
    for name, own, other in (
        ("observations", _observed(data), _observed(world)),
        ("actions", _chosen(data), _chosen(world)),
    ):
        if own != other:
            return f"{name} are {own} in the data and {other} in the world"
    return None


def spec_of_spaces(spec: EnvSpec, observed: Any, chosen: Any) -> EnvSpec:
    """Return a spec with the kinds and sizes of gymnasium's spaces; bounds of actions are not."""
    seen, acted = flat_space(observed), flat_space(chosen)
    return replace(
        spec,
        observation_kind="discrete" if seen.num_values else "vector",
        observation_size=seen.num_values or seen.size,
        num_actions=acted.num_values,
        action_bounds=((0.0,) * acted.size, (0.0,) * acted.size) if acted.size else None,
    )


def outside(storage: Storage, name: str, space: Any) -> str | None:
    """Return where a column of vectors goes beyond the bounds of a space; None if nowhere."""
    low, high = limits(space)
    lowest, highest = extremes(getattr(storage, name))
    if name == "observation":
        following = extremes(storage.next_observation)
        lowest, highest = np.minimum(lowest, following[0]), np.maximum(highest, following[1])
    slack = np.where(np.isfinite(high - low), BEYOND * (high - low), 0.0)
    bad = np.flatnonzero((lowest < low - slack) | (highest > high + slack))
    if len(bad) == 0:
        return None
    worst = bad[0]
    return (
        f"{name} {worst} goes from {lowest[worst]:g} to {highest[worst]:g}, but from "
        f"{low[worst]:g} to {high[worst]:g} in the world"
    )


def limits(space: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest flat vector of a space."""
    low, high = zip(*(_limits(leaf) for leaf in leaves(space)), strict=True)
    return np.concatenate(low), np.concatenate(high)


def extremes(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and the highest of each dimension of a column ``[n, dim]``."""
    parts = [(part.min(0), part.max(0)) for part in _chunks(column)]
    low, high = zip(*parts, strict=True)
    return np.min(low, axis=0).astype(np.float64), np.max(high, axis=0).astype(np.float64)


def _chunks(column: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(column), CHUNK_ROWS):
        yield column[start : start + CHUNK_ROWS]


def _limits(space: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(space, spaces.Box):
        return space.low.reshape(-1).astype(float), space.high.reshape(-1).astype(float)
    if isinstance(space, spaces.Discrete):
        return np.array([float(space.start)]), np.array([float(space.start + space.n - 1)])
    if isinstance(space, spaces.MultiDiscrete):
        low = np.asarray(space.start, dtype=float).reshape(-1)
        return low, low + space.nvec.reshape(-1) - 1
    size = int(np.prod(space.shape, dtype=int))
    return np.zeros(size), np.ones(size)


def _observed(spec: EnvSpec) -> str:
    if spec.observation_kind == "discrete":
        return f"{spec.observation_size} numbered states"
    return f"vectors of {spec.observation_size}"


def _chosen(spec: EnvSpec) -> str:
    if spec.num_actions:
        return f"{spec.num_actions} numbered ones"
    return f"vectors of {spec.action_size}"
