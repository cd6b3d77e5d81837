"""The tabular worlds: what happens off the data's support is known exactly in each.

Garnet: the unseen is harmless. Combination lock and cliff: the unseen is dangerous.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import gymnasium
import numpy as np
from annotated_types import Ge, Le

from bench import seeding
from bench.types import Count, Fraction
from bench.worlds.base import Environment, World
from bench.worlds.exact import TabularMDP
from bench.worlds.tabular import TabularEnvironment

ToyTextId = Literal[
    "FrozenLake-v1",
    "FrozenLake8x8-v1",
    "CliffWalking-v1",
    "CliffWalkingSlippery-v1",
    "Taxi-v4",
]


class TabularWorld(World):
    """Settings of a family of finite MDPs; `mdp` draws one instance."""

    tabular: ClassVar[bool] = True

    def environment(self, name: str, seed: int, discount: float, horizon: int) -> Environment:
        """Return the instance that the seed names."""
        mdp = self.mdp(seeding.numpy_generator("instance", seed))
        return TabularEnvironment.from_mdp(name, mdp, discount, horizon, self.coordinates())

    @abstractmethod
    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return one instance of the family."""

    @abstractmethod
    def coordinates(self) -> np.ndarray:
        """Return where each state lies, ``[states, dim]``: what a vector observation would be."""


@dataclass(frozen=True)
class Garnet(TabularWorld):
    """A random MDP (Archibald, McKinnon and Thomas 1995), its episodes start in state 0.

    Every (state, action) leads to `branching` distinct states with probabilities from a uniform
    partition of [0, 1]. A share `reward_density` of the pairs pays a reward, uniform in [0, 1].
    """

    num_states: Count
    num_actions: Count
    branching: Count
    reward_density: Fraction

    def __post_init__(self) -> None:
        """Refuse more successors than there are states."""
        if self.branching > self.num_states:
            raise ValueError(
                f"branching is {self.branching}, but can be at most num_states={self.num_states}"
            )

    @property
    def table_shape(self) -> tuple[int, int]:
        """Numbers of states and of actions."""
        return self.num_states, self.num_actions

    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return one random instance."""
        pairs = (self.num_states, self.num_actions)
        order = rng.random((*pairs, self.num_states)).argsort(-1)
        next_state = order[..., : self.branching]
        cuts = np.sort(rng.random((*pairs, self.branching - 1)), axis=-1)
        edges = np.concatenate([np.zeros((*pairs, 1)), cuts, np.ones((*pairs, 1))], axis=-1)
        paid = rng.random(pairs) < self.reward_density
        reward = np.where(paid, rng.random(pairs), 0.0)[..., None]
        return TabularMDP(
            probability=np.diff(edges, axis=-1),
            next_state=next_state,
            reward=np.broadcast_to(reward, next_state.shape),
            terminated=np.zeros(next_state.shape, dtype=bool),
            initial=np.eye(self.num_states)[0],
        )

    def coordinates(self) -> np.ndarray:
        """Return one-hot rows: no state is near another."""
        return np.eye(self.num_states)


@dataclass(frozen=True)
class SignedGarnet(Garnet):
    """A Garnet whose rewards are uniform in [-1, 1]: the unseen is as good as the seen."""

    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return one random instance."""
        drawn = super().mdp(rng)
        paid = drawn.reward != 0
        return replace(drawn, reward=np.where(paid, 2 * drawn.reward - 1, 0.0))


@dataclass(frozen=True)
class CombinationLock(TabularWorld):
    """A chain in which one action per state advances and every other ends the episode with -1.

    With probability `slip` the action is replaced by a uniform one. Leaving the last state by its
    right action ends the episode with +1. The combination is drawn per instance.
    """

    length: Annotated[int, Ge(2), Le(10)]
    num_actions: Annotated[int, Ge(2)]
    slip: Fraction

    @property
    def table_shape(self) -> tuple[int, int]:
        """Numbers of states and of actions."""
        return self.length, self.num_actions

    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return a lock with a random combination."""
        combination = rng.integers(self.num_actions, size=self.length)
        state = np.arange(self.length)
        opens = np.where(state == self.length - 1, 1.0, 0.0)
        # Outcome b: action b was executed; a was chosen.
        executed = np.eye(self.num_actions) * (1 - self.slip) + self.slip / self.num_actions
        shape = (self.length, self.num_actions, self.num_actions)
        right = np.arange(self.num_actions) == combination[:, None]
        reward = np.where(right, opens[:, None], -1.0)
        ends = ~right | (state == self.length - 1)[:, None]
        following = np.minimum(state + 1, self.length - 1)
        return TabularMDP(
            probability=np.broadcast_to(executed, shape),
            next_state=np.broadcast_to(following[:, None, None], shape),
            reward=np.broadcast_to(reward[:, None, :], shape),
            terminated=np.broadcast_to(ends[:, None, :], shape),
            initial=np.eye(self.length)[0],
        )

    def coordinates(self) -> np.ndarray:
        """Return the place in the chain."""
        return np.arange(self.length, dtype=float)[:, None]


@dataclass(frozen=True)
class Cliff(TabularWorld):
    """A grid whose bottom row, between start (left) and goal (right), is a cliff.

    Actions move up, right, down, left; with probability `slip` the direction is uniform. A fall
    ends the episode with -1, the goal with +1, every other reward is 0. Walls hold one in place.
    """

    height: Annotated[int, Ge(2)]
    width: Annotated[int, Ge(3)]
    slip: Fraction

    @property
    def table_shape(self) -> tuple[int, int]:
        """Numbers of states and of actions."""
        return self.height * self.width, 4

    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return the grid; every instance is the same."""
        del rng
        cells = self.height * self.width
        landing = landings(self.height, self.width)
        start, goal = cells - self.width, cells - 1
        falls = (landing > start) & (landing < goal)
        reward = np.where(falls, -1.0, np.where(landing == goal, 1.0, 0.0))
        ends = falls | (landing == goal)
        # The cliff and the goal are cells of the grid but never states one acts in.
        inert = np.arange(cells) > start
        reward[inert], ends[inert] = 0.0, True
        return slippery(landing, reward, ends, self.slip, start)

    def coordinates(self) -> np.ndarray:
        """Return row and column."""
        return _digits((self.height, self.width))


@dataclass(frozen=True)
class TwoGoals(TabularWorld):
    """A square grid with a small goal in its middle, a large one in a corner, and traps.

    Actions move up, right, down, left; with probability `slip` the direction is uniform. The middle
    ends the episode with `near_reward`, the corner opposite to the start with 1, a trap with -1.
    Traps are a share of the cells, drawn per instance, never of the first row and the last column:
    along these a detour leads to the corner.
    """

    size: Annotated[int, Ge(4)]
    near_reward: Fraction
    traps: Fraction
    slip: Fraction

    @property
    def table_shape(self) -> tuple[int, int]:
        """Numbers of states and of actions."""
        return self.size**2, 4

    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return a grid with traps of its own."""
        cells, middle = self.size**2, (self.size // 2) * (self.size + 1)
        row, column = np.divmod(np.arange(cells), self.size)
        free = (row == 0) | (column == self.size - 1)
        trapped = ~free & (rng.random(cells) < self.traps)
        pays = np.where(trapped, -1.0, 0.0)
        pays[middle], pays[cells - 1] = self.near_reward, 1.0
        final = trapped | np.isin(np.arange(cells), (middle, cells - 1))
        landing = landings(self.size, self.size)
        reward, ends = pays[landing], final[landing]
        reward[final], ends[final] = 0.0, True  # never states one acts in
        return slippery(landing, reward, ends, self.slip, start=0)

    def coordinates(self) -> np.ndarray:
        """Return row and column."""
        return _digits((self.size, self.size))


def landings(height: int, width: int) -> np.ndarray:
    """Return where moves up, right, down, left end in a grid with walls, ``[cells, 4]``."""
    row, column = np.divmod(np.arange(height * width), width)
    moves = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])
    landing_row = np.clip(row[:, None] + moves[:, 0], 0, height - 1)
    landing_column = np.clip(column[:, None] + moves[:, 1], 0, width - 1)
    landing: np.ndarray = landing_row * width + landing_column
    return landing


def slippery(
    landing: np.ndarray, reward: np.ndarray, ends: np.ndarray, slip: float, start: int
) -> TabularMDP:
    """Return the grid of moves ``[cells, 4]`` of which a uniform one is made with chance `slip`."""
    executed = np.eye(4) * (1 - slip) + slip / 4
    shape = (*landing.shape, 4)
    return TabularMDP(
        probability=np.broadcast_to(executed, shape),
        next_state=np.broadcast_to(landing[:, None, :], shape),
        reward=np.broadcast_to(reward[:, None, :], shape),
        terminated=np.broadcast_to(ends[:, None, :], shape),
        initial=np.eye(len(landing))[start],
    )


# What a state's number counts: rows, columns and, for the taxi, the passenger's places (four stands
# and the taxi itself) and destinations.
TOY_TEXT_SHAPES = {
    "FrozenLake-v1": (4, 4),
    "FrozenLake8x8-v1": (8, 8),
    "CliffWalking-v1": (4, 12),
    "CliffWalkingSlippery-v1": (4, 12),
    "Taxi-v4": (5, 5, 5, 4),
}


@dataclass(frozen=True)
class ToyText(TabularWorld):
    """A gymnasium toy-text environment, exact through its `P` table."""

    id: ToyTextId

    @property
    def gymnasium_id(self) -> str:
        """The environment's id."""
        return self.id

    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return the environment's table; every instance is the same."""
        del rng
        return toy_text_mdp(gymnasium.make(self.id).unwrapped)

    def coordinates(self) -> np.ndarray:
        """Return row and column; of a taxi also the passenger's place and the destination."""
        return _digits(TOY_TEXT_SHAPES[self.id])


def toy_text_mdp(world: Any) -> TabularMDP:
    """Return the table of one of gymnasium's toy-text environments, whatever its settings."""
    table = world.P
    num_states, num_actions = len(table), len(table[0])
    outcomes = max(len(table[s][a]) for s in range(num_states) for a in range(num_actions))
    # Unused outcomes keep probability zero.
    fields = np.zeros((4, num_states, num_actions, outcomes))
    for state in range(num_states):
        for action in range(num_actions):
            rows = np.array(table[state][action], dtype=float)
            fields[:, state, action, : len(rows)] = rows.T
    probability, next_state, reward, terminated = fields
    return TabularMDP(
        probability=probability,
        next_state=next_state.astype(int),
        reward=reward,
        terminated=terminated.astype(bool),
        initial=np.asarray(world.initial_state_distrib, dtype=float),
    )


def _digits(shape: tuple[int, ...]) -> np.ndarray:
    """Return the index of every cell along each axis, ``[cells, axes]``, row by row."""
    return np.indices(shape).reshape(len(shape), -1).T.astype(float)
