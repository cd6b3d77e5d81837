"""The best of all actions in a box, by a search that starts coarse and halves its step."""

from collections.abc import Callable

import numpy as np

# Candidates per dimension at first, and how often the step between them is halved then: to a 64th
# of the box. Where the value has several tops, the first candidates have to tell them apart.
FIRST, HALVINGS = 5, 4


def best_actions(
    value: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], action_size: int
) -> np.ndarray:
    """Return the actions ``[*shape, action_size]`` in [-1, 1] of the highest value.

    `value` takes candidates ``[*shape, n, action_size]`` and returns ``[*shape, n]``.
    """
    candidates = np.broadcast_to(
        _box(np.linspace(-1, 1, FIRST), action_size), (*shape, FIRST**action_size, action_size)
    )
    best = _best(value, candidates)
    around = _box(np.array([-1.0, 0.0, 1.0]), action_size)
    for halving in range(1, HALVINGS + 1):
        step = 2 / (FIRST - 1) / 2**halving
        best = _best(value, np.clip(best[..., None, :] + step * around, -1, 1))
    return best


def _best(value: Callable[[np.ndarray], np.ndarray], candidates: np.ndarray) -> np.ndarray:
    chosen = value(candidates).argmax(-1)[..., None, None]
    found: np.ndarray = np.take_along_axis(candidates, chosen, axis=-2)[..., 0, :]
    return found


def _box(levels: np.ndarray, size: int) -> np.ndarray:
    """Return all vectors ``[levels^size, size]`` of the levels."""
    return np.stack(np.meshgrid(*[levels] * size, indexing="ij"), axis=-1).reshape(-1, size)
