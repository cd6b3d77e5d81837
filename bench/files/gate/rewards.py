"""Whether recorded rewards are the world's, or an affine map of them."""

from typing import NamedTuple

import numpy as np

from bench.files.gate.verdict import RewardMap

# Of the widest reward; what is stored in single precision is not the same to the last bits.
ROUNDING = 1e-5
# Steps that fit a map worst are left out when it is fitted again.
LEFT_OUT = 0.1


# How much nearer a map must bring rewards that are near enough without one, to be believed.
BETTER = 0.1
# Of the slack that rewards have, how much is taken off a map's numbers to make them short.
SNAP = 0.01


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


SAME = Fit(None, 0)


def fit(recorded: np.ndarray, world: np.ndarray, slack: float, share: float, constant: bool) -> Fit:
    """Return how recorded rewards ``[n]`` follow from the world's.

    `slack` is how far they may be apart, in standard deviations of the world's; `share` how many
    of them must agree. `constant` says that the world has one reward for every step there is.
    """
    largest, spread = np.abs(world).max(), world.std()
    apart = np.abs(recorded - world)
    strangers = int((apart > slack * spread + ROUNDING * largest).sum())
    same = len(world) - strangers >= share * len(world)
    if np.ptp(world) <= ROUNDING * largest:
        return SAME if same else _of_one_reward(recorded, world[0], strangers, constant)
    slope, offset = _line(world, recorded)
    left = np.abs(recorded - (slope * world + offset))
    if same and np.median(left) >= BETTER * np.median(apart) - ROUNDING * largest:
        return SAME
    if slope * np.ptp(world) <= ROUNDING * np.abs(recorded).max():
        return Fit(None, strangers, "they do not rise with the world's")
    rounding = ROUNDING * (np.abs(recorded).max() + abs(offset))
    if (left <= slope * slack * spread + rounding).sum() < share * len(world):
        return SAME if same else Fit(None, strangers, "nor are they an affine map of the world's")
    snap = max(ROUNDING, slack * SNAP)
    if abs(offset) <= snap * np.abs(recorded).max():
        offset = 0.0
    slope, offset = _short(slope, snap), _short(offset, snap)
    return SAME if (slope, offset) == (1, 0) else Fit(RewardMap(slope=slope, offset=offset), 0)


def _of_one_reward(recorded: np.ndarray, world: float, strangers: int, constant: bool) -> Fit:
    """Return a scale where the world has no other reward anywhere; elsewhere nothing is known."""
    same = np.ptp(recorded) <= ROUNDING * np.abs(recorded).max()
    if constant and same and world != 0 and recorded[0] / world > 0:
        slope = _short(float(recorded[0] / world), ROUNDING)
        return Fit(RewardMap(slope=slope, offset=0.0), 0)
    return Fit(None, strangers, "the compared steps have one reward in the world")


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return slope and offset by least squares, the points that fit worst left out."""
    slope, offset = np.polyfit(x, y, 1)
    apart = np.abs(y - slope * x - offset)
    kept = apart <= np.quantile(apart, 1 - LEFT_OUT)
    if np.ptp(x[kept]) > 0:
        slope, offset = np.polyfit(x[kept], y[kept], 1)
    return float(slope), float(offset)


def _short(value: float, snap: float) -> float:
    """Return the number of few digits that is as good as a value, up to a share `snap` of it."""
    short = float(f"{value:.3g}")
    return short if abs(short - value) <= snap * abs(value) else float(f"{value:.6g}")
