"""A swamp between start and goal: the unseen is costly, and nothing ever ends."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.special import erf

from bench.types import Positive
from bench.worlds.continuous.control import Ranges
from bench.worlds.continuous.grid import averages
from bench.worlds.continuous.plane import Expectation, Plane
from bench.worlds.tabular import return_bounds


class Hill(NamedTuple):
    """A bell-shaped hill of height 1 over one axis, with its standard deviation."""

    center: float
    width: float

    def __call__(self, place: np.ndarray) -> np.ndarray:
        """Return the height."""
        height: np.ndarray = np.exp(-(((place - self.center) / self.width) ** 2) / 2)
        return height

    def mean(self, centers: np.ndarray, half_width: float) -> np.ndarray:
        """Return the mean height at ``clip(center + noise, 0, 1)``, noise uniform, exactly."""
        low, high = centers - half_width, centers + half_width
        first, last = (
            erf((np.clip(edge, 0, 1) - self.center) / self.width / np.sqrt(2))
            for edge in (low, high)
        )
        inside = self.width * np.sqrt(np.pi / 2) * (last - first)
        # What would leave the square stops at its edge.
        below, above = np.maximum(-low, 0), np.maximum(high - 1, 0)
        at_edges = np.minimum(below, 2 * half_width) * self(np.array(0.0))
        at_edges = at_edges + np.minimum(above, 2 * half_width) * self(np.array(1.0))
        mean: np.ndarray = (inside + at_edges) / (2 * half_width)
        return mean


# The goal and the swamp, each a hill along x times one along y.
GOAL = (Hill(0.85, 0.15), Hill(0.15, 0.15))
SWAMP = (Hill(0.5, 0.12), Hill(0.1, 0.25))


@dataclass(frozen=True)
class Swamp(Plane):
    """The nearer to the goal the better; on the straight way there lies a swamp.

    Attributes:
        depth: What a step in the middle of the swamp costs; one at the goal is worth 1.
    """

    depth: Positive

    slab_dimension: ClassVar[str | None] = "x"

    def ranges(self, discount: float, horizon: int) -> Ranges:
        """Return bounds from the swamp's depth and the goal's height."""
        del horizon
        low, high = -self.depth, 1.0
        return Ranges(low, high, *return_bounds(low, high, discount, only_at_end=False))

    def outcome(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the height of the goal's hill less that of the swamp; nothing ends."""
        goal, swamp = (of_x(place[..., 0]) * of_y(place[..., 1]) for of_x, of_y in (GOAL, SWAMP))
        return goal - self.depth * swamp, np.zeros(goal.shape, dtype=bool)

    def expectation(self, nodes: np.ndarray, means: np.ndarray) -> Expectation:
        """Return what is expected over noise; nothing ends."""
        goal, swamp = (
            np.outer(*(hill.mean(means, self.noise) for hill in hills)) for hills in (GOAL, SWAMP)
        )
        return Expectation(goal - self.depth * swamp, averages(nodes, means, self.noise))
