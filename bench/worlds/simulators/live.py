"""LiveEnvironment: any of gymnasium's environments, as a dataset's metadata names it."""

import copy
import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar, Self

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

from bench.errors import MissingData
from bench.types import EnvSpec
from bench.worlds.base import Simulator
from bench.worlds.simulators.recorded import RecordedEnvironment, Reference
from bench.worlds.spaces import FlatSpace, flat_space, flatten


@dataclass(frozen=True, eq=False)
class LiveEnvironment(RecordedEnvironment):
    """An environment that gymnasium makes; nothing but reference returns is known of its values."""

    gymnasium_spec: GymnasiumSpec

    can_evaluate: ClassVar[bool] = True
    # Copies are stepped one by one.
    value_episodes: ClassVar[int] = 100

    @classmethod
    def make(cls, gymnasium_spec: GymnasiumSpec, spec: EnvSpec, reference: Reference) -> Self:
        """Return the environment that policies on data of `spec` are evaluated in.

        Raises:
            ValueError: If it cannot be made here.
        """
        bare = without_limit(gymnasium_spec)
        spaces_of(bare)
        return cls(spec, reference, bare)

    @property
    def title(self) -> str:
        """The environment's id, with the simulator's version and the data it stands for."""
        made_by = f" (mujoco {version('mujoco')})" if _is_mujoco(self.gymnasium_spec) else ""
        name = self.gymnasium_spec.id
        data = "" if self.spec.name == name else f", for {self.spec.name}"
        return f"{name}{made_by}{data}"

    @property
    def without_evaluation(self) -> None:
        """Nothing stands against it."""
        return None

    @classmethod
    def simulator(
        cls,
        environments: Sequence[Self],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ) -> Simulator:
        """Return copies that are stepped one by one."""
        return _LiveSimulator(environments, generators, num_episodes)


def without_limit(gymnasium_spec: GymnasiumSpec) -> GymnasiumSpec:
    """Return gymnasium's spec without its step limit.

    A simulator steps to `spec.horizon` itself, and not every version checks what it is given.
    """
    bare = copy.deepcopy(gymnasium_spec)
    bare.max_episode_steps, bare.disable_env_checker = None, True
    return bare


def spaces_of(gymnasium_spec: GymnasiumSpec) -> tuple[FlatSpace, FlatSpace]:
    """Return how observations and actions of an environment are seen.

    Raises:
        ValueError: If the environment cannot be made here, or a space holds more than numbers.
    """
    if _is_mujoco(gymnasium_spec) and importlib.util.find_spec("mujoco") is None:
        needed = f'{gymnasium_spec.id} needs `pip install -e ".[mujoco]"`'
        raise MissingData(gymnasium_spec.id, needed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            world = gymnasium.make(gymnasium_spec)
        try:
            return flat_space(world.observation_space), flat_space(world.action_space)
        finally:
            world.close()
    except Exception as error:
        # Whatever keeps an optional package from working here.
        cause = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(f"{gymnasium_spec.id} cannot be made here: {cause}") from None


def _is_mujoco(gymnasium_spec: GymnasiumSpec) -> bool:
    return str(gymnasium_spec.entry_point).startswith("gymnasium.envs.mujoco")


class _LiveSimulator(Simulator):
    """Copies ``[run, episode]``; one that has ended, by termination or truncation, stands still."""

    def __init__(
        self,
        environments: Sequence[LiveEnvironment],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ):
        self.shape = (len(environments), num_episodes)
        with warnings.catch_warnings():
            # That there is a newer version of an environment is known.
            warnings.simplefilter("ignore")
            self.worlds = [
                gymnasium.make(environment.gymnasium_spec)
                for environment in environments
                for _ in range(num_episodes)
            ]
        self.seeds = [
            int(seed)
            for generator in generators
            for seed in generator.integers(2**31, size=num_episodes)
        ]
        space = self.worlds[0].action_space
        self.action_space, self.chosen = space, flat_space(space)
        self.observation: list[np.ndarray] = []
        self.ended = np.zeros(len(self.worlds), dtype=bool)
        self.stopped: np.ndarray = self.ended.reshape(self.shape)

    def reset(self) -> np.ndarray:
        self.ended[:] = False
        self.stopped = np.zeros(self.shape, dtype=bool)
        self.observation = [
            self._flat(world.reset(seed=seed)[0])
            for world, seed in zip(self.worlds, self.seeds, strict=True)
        ]
        return self._stacked()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        reward = np.zeros(len(self.worlds))
        terminations = np.zeros(len(self.worlds), dtype=bool)
        for index, chosen in enumerate(action.reshape(len(self.worlds), -1)):
            if not self.ended[index]:
                observation, gained, terminated, truncated, _ = self.worlds[index].step(
                    native_action(self.action_space, self.chosen, chosen)
                )
                self.observation[index] = self._flat(observation)
                reward[index] = float(gained)
                terminations[index], self.ended[index] = terminated, terminated or truncated
        self.stopped = self.ended.reshape(self.shape).copy()
        return self._stacked(), reward.reshape(self.shape), terminations.reshape(self.shape)

    def _flat(self, observation: Any) -> np.ndarray:
        return flat_observation(self.worlds[0].observation_space, observation)

    def _stacked(self) -> np.ndarray:
        stacked = np.stack(self.observation)
        return stacked.reshape(*self.shape, *stacked.shape[1:])


def flat_observation(space: Any, observation: Any) -> np.ndarray:
    """Return an observation as data stores it: a number, or ``[size]`` float32."""
    flat: np.ndarray = flatten(space, _one_row(observation), 1)[0]
    return flat


def _one_row(observation: Any) -> Any:
    """Return an observation with a leading axis of length 1, as an episode is stored."""
    if isinstance(observation, dict):
        return {name: _one_row(value) for name, value in observation.items()}
    if isinstance(observation, tuple):
        return tuple(_one_row(value) for value in observation)
    return np.asarray(observation)[None]


def native_action(space: Any, kind: FlatSpace, action: np.ndarray) -> Any:
    """Return a flat action as the environment takes it."""
    if kind.num_values:
        return int(action[0]) + kind.start
    return action.reshape(space.shape).astype(space.dtype)
