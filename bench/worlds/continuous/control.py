"""What worlds with continuous actions share: settings with dynamics, copies that follow them.

States are ``[..., state_size]`` in float64 and actions ``[..., action_size]`` in the world's units.
Values are discounted, from the start of an episode to its step limit.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

import numpy as np

from bench.types import ActionKind, EnvSpec, NonNegative
from bench.worlds.base import Act, Environment, Simulator, World
from bench.worlds.cells import Cells
from bench.worlds.spaces import Bounds


class Outcome(NamedTuple):
    """Where a step leads, with the reward and the end of the episode ``[...]``."""

    state: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray


class Ranges(NamedTuple):
    """Bounds of a step's reward and of a discounted return."""

    reward_min: float
    reward_max: float
    v_min: float
    v_max: float


class Anchors(NamedTuple):
    """Values of the best policy, or of the reference that counts as such, and of the uniform."""

    optimum: float
    uniform: float


@dataclass(frozen=True)
class ControlWorld(World):
    """Dynamics and anchors of a world with continuous actions; every instance is the same.

    Attributes:
        behavior_noise: Standard deviation of the normal noise that behavior policies add to the
            reference policy's actions, in half ranges of an action.
    """

    behavior_noise: NonNegative

    action_kind: ClassVar[ActionKind] = "continuous"

    @property
    @abstractmethod
    def action_bounds(self) -> Bounds:
        """Lowest and highest action, ``[action_size]`` each."""

    @abstractmethod
    def ranges(self, discount: float, horizon: int) -> Ranges:
        """Return the bounds of rewards and returns."""

    @abstractmethod
    def starts(self, rng: np.random.Generator, num_episodes: int) -> np.ndarray:
        """Draw start states ``[episode, state_size]``."""

    def disturbances(
        self, rng: np.random.Generator, num_steps: int, num_episodes: int
    ) -> np.ndarray:
        """Draw all randomness of steps ``[step, episode, size]``; there is none by default."""
        del rng
        return np.zeros((num_steps, num_episodes, 0))

    @abstractmethod
    def transition(self, state: np.ndarray, action: np.ndarray, disturbance: np.ndarray) -> Outcome:
        """Return the outcome of actions within the bounds."""

    def step(self, state: np.ndarray, action: np.ndarray, disturbance: np.ndarray) -> Outcome:
        """Return the outcome of actions; one outside the bounds is taken at the nearest within."""
        low, high = (np.array(bound, dtype=action.dtype) for bound in self.action_bounds)
        return self.transition(state, np.clip(action, low, high), disturbance)

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Return observations ``[..., observation_size]`` of states: the states themselves."""
        return state

    @abstractmethod
    def reference(self, discount: float, horizon: int) -> Act:
        """Return the reference policy."""

    @abstractmethod
    def anchors(self, discount: float, horizon: int) -> Anchors:
        """Return the values that regrets are measured against."""

    def policy_value(self, act: Act, discount: float, horizon: int) -> float | None:
        """Return the value of a policy that always does the same; None if only rollouts tell."""
        del act, discount, horizon
        return None

    def cells(self, discount: float, horizon: int) -> Cells | None:
        """Return the world cut into cells; None where no grid is fine enough."""
        del discount, horizon
        return None

    def environment(self, name: str, seed: int, discount: float, horizon: int) -> Environment:
        """Return the environment; every instance is the same."""
        del seed
        ranges, anchors = self.ranges(discount, horizon), self.anchors(discount, horizon)
        spec = EnvSpec(
            name=name,
            observation_kind="vector",
            observation_size=len(self.observation_names),
            num_actions=0,
            discount=discount,
            horizon=horizon,
            **ranges._asdict(),
            observation_names=self.observation_names,
            action_bounds=self.action_bounds,
            uniform_regret=anchors.optimum - anchors.uniform,
            uniform_value=anchors.uniform,
        )
        return ControlEnvironment(spec, self)


@dataclass(frozen=True, eq=False)
class ControlEnvironment(Environment):
    """A world with continuous actions, with the discount and step limit that values are for."""

    spec: EnvSpec
    world: ControlWorld

    discounted: ClassVar[bool] = True  # type: ignore[misc]

    @property
    def behavior_noise(self) -> float:  # type: ignore[override]
        """Standard deviation of behavior policies' noise, in half ranges of an action."""
        return self.world.behavior_noise

    @property
    def optimum(self) -> float:
        """Value of the optimal policy, or of the reference policy that counts as such."""
        return self.world.anchors(self.spec.discount, self.spec.horizon).optimum

    @property
    def uniform(self) -> float:
        """Value of the uniform policy."""
        return self.world.anchors(self.spec.discount, self.spec.horizon).uniform

    def policy_value(self, act: Act) -> float | None:
        """Return the value of a policy that always does the same; None if only rollouts tell."""
        return self.world.policy_value(act, self.spec.discount, self.spec.horizon)

    @property
    def cells(self) -> Cells | None:  # type: ignore[override]
        """The world cut into cells; None where no grid is fine enough."""
        return self.world.cells(self.spec.discount, self.spec.horizon)

    def reference_action(self, observation: np.ndarray) -> np.ndarray:
        """Return the reference policy's action ``[..., action_size]``, as data stores it."""
        act = self.world.reference(self.spec.discount, self.spec.horizon)
        return act(observation).astype(np.float32)

    @classmethod
    def simulator(
        cls,
        environments: Sequence[Self],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ) -> Simulator:
        """Return copies that are stepped together, as far as runs share their settings."""
        return _ControlSimulator(environments, generators, num_episodes)


class _ControlSimulator(Simulator):
    def __init__(
        self,
        environments: Sequence[ControlEnvironment],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ):
        worlds = [environment.world for environment in environments]
        self.runs = {w: [r for r, own in enumerate(worlds) if own == w] for w in set(worlds)}
        self.observe = worlds[0].observe
        horizon = environments[0].spec.horizon
        # Drawn per run and up front: a run's luck is the same alone and in company.
        drawn = [
            (world.starts(generator, num_episodes),
             world.disturbances(generator, horizon, num_episodes))
            for world, generator in zip(worlds, generators, strict=True)
        ]  # fmt: skip
        self.start = np.stack([start for start, _ in drawn])
        self.disturbance = np.stack([disturbance for _, disturbance in drawn], axis=1)
        self.state, self.clock = self.start, 0

    def reset(self) -> np.ndarray:
        self.state, self.clock = self.start, 0
        return self._seen()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        disturbance = self.disturbance[self.clock]
        self.clock += 1
        state = np.empty_like(self.state)
        reward, terminated = np.empty(state.shape[:-1]), np.empty(state.shape[:-1], dtype=bool)
        for world, runs in self.runs.items():
            outcome = world.step(self.state[runs], action[runs], disturbance[runs])
            state[runs], reward[runs], terminated[runs] = outcome
        self.state = state
        return self._seen(), reward, terminated

    def _seen(self) -> np.ndarray:
        return self.observe(self.state).astype(np.float32)


def rollout_value(
    world: ControlWorld, act: Act, state: np.ndarray, discount: float, horizon: int
) -> np.ndarray:
    """Return discounted returns ``[n]`` from states ``[n, state_size]`` of a world without luck.

    The policy sees what there is to observe in float64, not rounded as in a simulator.
    """
    value = np.zeros(len(state))
    nothing = np.zeros((len(state), 0))
    for time in range(horizon):
        state, reward, _ = world.step(state, act(world.observe(state)), nothing)
        value += discount**time * reward
    return value
