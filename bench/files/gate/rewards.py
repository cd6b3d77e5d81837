"""Whether recorded rewards are the world's, or an affine map of them."""

from typing import NamedTuple

import numpy as np

from bench.files.gate.verdict import RewardMap

# Of the widest reward; what is stored in single precision is not the same to the last bits.
ROUNDING = 1e-5
# Steps that fit a map worst are left out when it is fitted again.
LEFT_OUT = 0.1


class Fit(NamedTuple):
    """How recorded rewards follow from the world's.

    Attributes:
        map: The map; None where they are the same, or where there is none.
        strangers: How many steps have a reward of neither kind.
        why: What keeps a map from being known; None where there is one or none is needed.
    """

    map: RewardMap | None
    strangers: int
    why: str | None = None


def fit(recorded: np.ndarray, world: np.ndarray, slack: float, share: float, constant: bool) -> Fit:
    """Return how recorded rewards ``[n]`` follow from the world's.

    `slack` is how far they may be apart, in standard deviations of the world's; `share` how many
    of them must agree. `constant` says that the world has one reward for every step there is.
    """
    tolerance = slack * world.std() + ROUNDING * np.abs(world).max()
    strangers = int((np.abs(recorded - world) > tolerance).sum())
    if len(world) - strangers >= share * len(world):
        return Fit(None, 0)
    first = world[0]
    if np.ptp(world) <= ROUNDING * np.abs(world).max():
        same = np.ptp(recorded) <= ROUNDING * np.abs(recorded).max()
        if constant and same and first != 0 and recorded[0] / first > 0:
            return Fit(RewardMap(slope=_rounded(recorded[0] / first), offset=0.0), 0)
        return Fit(None, strangers, "the compared steps have one reward in the world")
    slope, offset = _line(world, recorded)
    if slope <= 0:
        return Fit(None, strangers, "they do not rise with the world's")
    rounding = ROUNDING * (np.abs(recorded).max() + abs(offset))
    apart = np.abs(recorded - (slope * world + offset))
    if (apart <= slope * slack * world.std() + rounding).sum() < share * len(world):
        return Fit(None, strangers, "nor are they an affine map of the world's")
    scale = np.abs(recorded).max()
    offset = 0.0 if abs(offset) <= ROUNDING * scale else offset
    return Fit(RewardMap(slope=_rounded(slope), offset=_rounded(offset)), 0)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return slope and offset by least squares, the points that fit worst left out."""
    slope, offset = np.polyfit(x, y, 1)
    apart = np.abs(y - slope * x - offset)
    kept = apart <= np.quantile(apart, 1 - LEFT_OUT)
    if np.ptp(x[kept]) > 0:
        slope, offset = np.polyfit(x[kept], y[kept], 1)
    return float(slope), float(offset)


def _rounded(value: float) -> float:
    """Return the number that single precision could have been meant to hold."""
    return float(f"{value:.6g}")
