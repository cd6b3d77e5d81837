"""Whether recorded episodes begin where the world's own do."""

from collections.abc import Callable

import numpy as np

# The world's own beginnings, by which recorded ones are judged.
RESETS = 100
# Recorded beginnings that are looked at.
ROWS = 1000
# How many times as far from their middle as the world's farthest a recorded beginning may be.
FARTHER = 3.0
# The smallest spread that counts, of a dimension that always begins alike: a share of how much the
# whole data spreads in it.
STILL = 1e-3
# Share of the recorded episodes that may begin elsewhere: some cut off the first steps.
ELSEWHERE = 0.1

Reset = Callable[[int], np.ndarray]


def strangers(recorded: np.ndarray, spread: np.ndarray, reset: Reset) -> np.ndarray:
    """Return which beginnings ``[n, dim]`` are none of the world's, ``[n]``.

    The distance is from the median of the world's own beginnings, in each dimension's own unit: how
    far the farthest of them lies. `spread` is the data's standard deviation in each dimension;
    `reset` returns the beginning that a seed names.
    """
    own = np.stack([reset(seed) for seed in range(RESETS)]).astype(np.float64)
    middle = np.median(own, axis=0)
    unit = np.maximum(np.abs(own - middle).max(0), STILL * spread)
    # What neither begins apart nor ever changes must be just the same, up to rounding.
    unit = np.maximum(unit, np.finfo(np.float32).eps * np.abs(middle))
    unit = np.where(unit > 0, unit, np.finfo(np.float64).tiny)
    found: np.ndarray = (np.abs(recorded - middle) / unit).max(1) > FARTHER
    return found


def complaint(strange: np.ndarray) -> str | None:
    """Return what is wrong where too many beginnings ``[n]`` are strange; None if nothing is."""
    share = float(strange.mean())
    if share <= ELSEWHERE:
        return None
    return f"{share:.0%} of the recorded episodes begin where the world's do not"
