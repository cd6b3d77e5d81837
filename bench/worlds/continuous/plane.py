"""Moves in a square with uniform noise, solved on a grid almost without error.

What a move leads to depends on its mean place alone. So all that value iteration needs is a table
over mean places of what is expected there, made by one matrix per axis (`grid.averages`); the best
move from a node is the maximum of that table over a square around it.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.sparse import csr_matrix, kron

from bench.types import Positive
from bench.worlds.cells import Cells
from bench.worlds.continuous.control import Act, Anchors, ControlWorld, Outcome
from bench.worlds.continuous.grid import averages, interpolate
from bench.worlds.continuous.search import best_actions
from bench.worlds.spaces import Bounds

# Length of the longest move along an axis, and the box that episodes start in, around its middle.
MOVE = 0.08
START, START_HALF_WIDTH = 0.1, 0.05
# Cells of the grid along an axis, and in the longest move.
CELLS, MOVE_CELLS = 200, 16

# Cells of the coarser grid along an axis on which data counts as covering, and moves along an axis
# there. Cliff and goal end between such cells, as they do between those above.
COVER_CELLS, COVER_MOVES = 40, 9


class Expectation(NamedTuple):
    """What is expected of the places ``[x, y]`` that moves lead to in the mean.

    Attributes:
        reward: ``[x, y]``.
        lands: ``[place, node]`` along either axis: times the values at a grid's nodes the value of
            where a move ends.
        ends: The same within what ends the episode, along x and along y.
    """

    reward: np.ndarray
    lands: np.ndarray
    ends: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    def backup(self, value: np.ndarray, discount: float) -> np.ndarray:
        """Return reward and discounted value ``[x, y]`` if nodes ``[x, y]`` have this value.

        Values where an episode ends are what they would be if nothing ended there; they are taken
        away again. Edges are on nodes, so no value outside leans on one inside.
        """
        going_on = self.lands @ value @ self.lands.T
        for x, y in self.ends:
            going_on = going_on - x @ value @ y.T
        expected: np.ndarray = self.reward + discount * going_on
        return expected

    def leads(self) -> csr_matrix:
        """Return where places ``[x * y]`` lead as one matrix ``[x * y, nodes * nodes]``."""
        lands = csr_matrix(self.lands)
        going_on = kron(lands, lands, format="csr")
        for x, y in self.ends:
            going_on = going_on - kron(csr_matrix(x), csr_matrix(y), format="csr")
        return going_on


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
    def expectation(self, nodes: np.ndarray, means: np.ndarray) -> Expectation:
        """Return what is expected over noise at mean places ``[means, means]``."""

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

    def cells(self, discount: float, horizon: int) -> Cells:
        """Return a coarser grid's nodes, each with moves evenly over all that there are."""
        return _cells(self, discount, horizon)


@cache
def solve(
    world: Plane, discount: float, horizon: int, cells: int = CELLS, move_cells: int = MOVE_CELLS
) -> Solution:
    """Return what a grid says, by dynamic programming back from the step limit."""
    nodes = np.linspace(0, 1, cells + 1)
    beyond = np.arange(1, move_cells + 1) / cells
    means = np.concatenate([-beyond[::-1], nodes, 1 + beyond])
    expectation = world.expectation(nodes, means)
    # A uniform action spreads the mean place like noise as wide as a move.
    moves = averages(means, nodes, MOVE)
    optimal = uniform = np.zeros((len(nodes), len(nodes)))
    expected = np.zeros((len(means), len(means)))
    for _ in range(horizon):
        expected = expectation.backup(optimal, discount)
        optimal = _best_around(expected, move_cells)
        uniform = moves @ expectation.backup(uniform, discount) @ moves.T
    start = _start(nodes)
    found = [float(start @ value @ start) for value in (optimal, uniform)]
    return Solution(expected, Anchors(*found))


def _start(nodes: np.ndarray) -> np.ndarray:
    """Return the weights ``[nodes]`` that average over the start along either axis."""
    weights: np.ndarray = averages(nodes, np.array([START]), START_HALF_WIDTH)[0]
    return weights


@cache
def _cells(world: Plane, discount: float, horizon: int) -> Cells:
    nodes, moves = np.linspace(0, 1, COVER_CELLS + 1), np.linspace(-1, 1, COVER_MOVES)
    expectation = world.expectation(nodes, (nodes[:, None] + MOVE * moves).ravel())
    # From [x, move along x, y, move along y] to [x, y, both moves].
    axes = (len(nodes), len(moves)) * 2
    order = np.arange(np.prod(axes)).reshape(axes).transpose(0, 2, 1, 3)
    place, action = (
        np.stack(np.meshgrid(one, one, indexing="ij"), -1).reshape(-1, 2) for one in (nodes, moves)
    )
    reward = expectation.reward.ravel()[order].reshape(len(place), len(action))
    start = _start(nodes)
    return Cells(
        observation=place,
        action=action,
        reward=reward,
        leads=expectation.leads()[order.ravel()],
        initial=np.outer(start, start).ravel(),
        discount=discount,
        horizon=horizon,
    )


def _best_around(expected: np.ndarray, reach: int) -> np.ndarray:
    """Return the maximum within `reach` nodes along each axis, without the outer ones."""
    for axis in (0, 1):
        expected = maximum_filter1d(expected, 2 * reach + 1, axis=axis)
    return expected[reach:-reach, reach:-reach]
