"""Moves in a square with uniform noise, solved on a grid almost without error.

What a move leads to depends on its mean place alone. So all that value iteration needs is a table
over mean places of what is expected there, made by one matrix per axis (`grid.averages`); the best
move from a node is the maximum of that table over a square around it.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter1d

from bench.types import Positive
from bench.worlds.continuous.control import Act, Anchors, ControlWorld, Outcome
from bench.worlds.continuous.grid import averages, interpolate
from bench.worlds.continuous.search import best_actions
from bench.worlds.spaces import Bounds

# Length of the longest move along an axis, and the box that episodes start in, around its middle.
MOVE = 0.08
START, START_HALF_WIDTH = 0.1, 0.05
# Cells of the grid along an axis, and in the longest move.
CELLS, MOVE_CELLS = 200, 16

# What is expected at mean places ``[x, y]`` if the value is this at nodes ``[x, y]``.
Backup = Callable[[np.ndarray], np.ndarray]


class Solution(NamedTuple):
    """What a grid says of a plane.

    Attributes:
        expected: ``[x, y]``, value of a mean place under the optimal policy with all steps to go;
            its nodes are those of the grid and as many beyond as the longest move has cells.
        anchors: The optimal and the uniform policy's value.
    """

    expected: np.ndarray
    anchors: Anchors


@dataclass(frozen=True)
class Plane(ControlWorld):
    """Places ``(x, y)`` in the unit square; an action moves by at most `MOVE` along each axis.

    Attributes:
        noise: Half width of the uniform noise that a move ends with on each axis. The walls hold
            back what would leave the square.
    """

    noise: Positive

    observation_names: ClassVar[tuple[str, ...]] = ("x", "y")

    @property
    def action_bounds(self) -> Bounds:
        """One move along each axis, in [-1, 1]."""
        return (-1.0, -1.0), (1.0, 1.0)

    def starts(self, rng: np.random.Generator, num_episodes: int) -> np.ndarray:
        """Draw places in a box near the lower left corner."""
        return START + rng.uniform(-START_HALF_WIDTH, START_HALF_WIDTH, (num_episodes, 2))

    def disturbances(
        self, rng: np.random.Generator, num_steps: int, num_episodes: int
    ) -> np.ndarray:
        """Draw the noise of moves."""
        return rng.uniform(-self.noise, self.noise, (num_steps, num_episodes, 2))

    def transition(self, state: np.ndarray, action: np.ndarray, disturbance: np.ndarray) -> Outcome:
        """Return the place that a move ends at."""
        place = np.clip(state + MOVE * action + disturbance, 0, 1)
        return Outcome(place, *self.outcome(place))

    @abstractmethod
    def outcome(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return reward and end of the episode ``[...]`` at the places that moves end at."""

    @abstractmethod
    def backup(self, nodes: np.ndarray, means: np.ndarray, discount: float) -> Backup:
        """Return the expectation over noise of reward and discounted value."""

    def reference(self, discount: float, horizon: int) -> Act:
        """Return the policy that maximises over all moves what the table expects of them.

        An action stored per node would lose up to a quarter of the value beside a cliff, where the
        best action jumps between nodes; what is expected of a place does not.
        """
        expected = solve(self, discount, horizon).expected

        def act(observation: np.ndarray) -> np.ndarray:
            place = observation.astype(np.float64)[..., None, :] * CELLS + MOVE_CELLS

            def value(action: np.ndarray) -> np.ndarray:
                mean = place + MOVE_CELLS * action
                return interpolate(expected, mean[..., 0], mean[..., 1])

            return best_actions(value, observation.shape[:-1], 2)

        return act

    def anchors(self, discount: float, horizon: int) -> Anchors:
        """Return the grid's optimum and the uniform policy's value on it."""
        return solve(self, discount, horizon).anchors


@cache
def solve(
    world: Plane, discount: float, horizon: int, cells: int = CELLS, move_cells: int = MOVE_CELLS
) -> Solution:
    """Return what a grid says, by dynamic programming back from the step limit."""
    nodes = np.linspace(0, 1, cells + 1)
    beyond = np.arange(1, move_cells + 1) / cells
    means = np.concatenate([-beyond[::-1], nodes, 1 + beyond])
    backup = world.backup(nodes, means, discount)
    # A uniform action spreads the mean place like noise as wide as a move.
    moves = averages(means, nodes, MOVE)
    optimal = uniform = np.zeros((len(nodes), len(nodes)))
    expected = np.zeros((len(means), len(means)))
    for _ in range(horizon):
        expected = backup(optimal)
        optimal = _best_around(expected, move_cells)
        uniform = moves @ backup(uniform) @ moves.T
    start = averages(nodes, np.array([START]), START_HALF_WIDTH)
    found = [float((start @ value @ start.T).item()) for value in (optimal, uniform)]
    return Solution(expected, Anchors(*found))


def _best_around(expected: np.ndarray, reach: int) -> np.ndarray:
    """Return the maximum within `reach` nodes along each axis, without the outer ones."""
    for axis in (0, 1):
        expected = maximum_filter1d(expected, 2 * reach + 1, axis=axis)
    return expected[reach:-reach, reach:-reach]
