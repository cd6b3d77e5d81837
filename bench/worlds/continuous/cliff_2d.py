"""A cliff between start and goal: the unseen is dangerous, a fall ends the episode with -1."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from bench.worlds.continuous.control import Ranges
from bench.worlds.continuous.grid import averages
from bench.worlds.continuous.plane import Expectation, Plane


class Rectangle(NamedTuple):
    """Intervals of x and y."""

    x: tuple[float, float]
    y: tuple[float, float]

    def holds(self, place: np.ndarray) -> np.ndarray:
        """Return whether places ``[..., 2]`` lie within, ``[...]``."""
        x, y = place[..., 0], place[..., 1]
        inside: np.ndarray = (
            (x > self.x[0]) & (x < self.x[1]) & (y > self.y[0]) & (y < self.y[1])
        )  # fmt: skip
        return inside


# Both reach the lower wall, and the goal the one to the right.
CLIFF = Rectangle((0.25, 0.75), (-np.inf, 0.25))
GOAL = Rectangle((0.8, np.inf), (-np.inf, 0.2))


@dataclass(frozen=True)
class Cliff2D(Plane):
    """A walk around a cliff to a goal beside it, both of which end the episode.

    What a place is worth jumps at the edges. Noise is uniform, so that the probability of an end is
    a product of overlaps: exact, where a quadrature of the jump would be a tenth wrong.
    """

    slab_dimension: ClassVar[str | None] = "x"

    def ranges(self, discount: float, horizon: int) -> Ranges:
        """Return bounds of a reward that comes once."""
        del discount, horizon
        return Ranges(-1.0, 1.0, -1.0, 1.0)

    def outcome(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return -1 where a move ends over the cliff and 1 at the goal."""
        cliff, goal = CLIFF.holds(place), GOAL.holds(place)
        return goal.astype(np.float64) - cliff, cliff | goal

    def expectation(self, nodes: np.ndarray, means: np.ndarray) -> Expectation:
        """Return what is expected over noise, which may carry over an edge."""

        def lands(within: tuple[float, float] = (-np.inf, np.inf)) -> np.ndarray:
            return averages(nodes, means, self.noise, within)

        ends = tuple((lands(rectangle.x), lands(rectangle.y)) for rectangle in (CLIFF, GOAL))
        falls, arrives = (np.outer(x.sum(1), y.sum(1)) for x, y in ends)
        return Expectation(arrives - falls, lands(), ends)
