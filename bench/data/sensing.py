"""Sensing: what an agent gets to see of a vector observation, for partial observability.

Some dimensions can be hidden, and the latest observations of an episode seen together as one
(``[history * kept]``, oldest first; before its start the first one is repeated). Data and
evaluation are sensed alike, so every algorithm can be used with it, and none knows of it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn, Self

import numpy as np

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.data.storage import Storage
from bench.types import EnvSpec
from bench.worlds.base import Environment, Simulator, Step


@dataclass(frozen=True)
class Sensing:
    """Which dimensions are seen, over how many steps.

    Attributes:
        hidden: Names of the dimensions that are not seen.
        history: How many of the latest observations are seen; 1 is the present one alone.
    """

    hidden: tuple[str, ...] = ()
    history: int = 1

    def __call__(self, task: Task) -> Task:
        """Return the task as an agent that senses like this meets it."""
        if not self.hidden and self.history == 1:
            return task
        data, whole = task.data, task.environment
        sense = partial(self.storage, names=whole.spec.observation_names)
        environment = SensedEnvironment(self.spec(whole.spec), whole, self)
        reserve = None if data.reserve is None else data.reserve.seen_through(sense)
        sensed = sense(data.storage)
        return replace(
            task,
            environment=environment,
            data=OfflineDataset.full(sensed, environment.spec, data.provenance, reserve),
            # Who collected saw the whole.
            behavior_policy=None,
        )

    def title(self, environment: str) -> str:
        """Return the environment's name with what is not as usual: ``cartpole, 2 hidden``."""
        parts = [f"{len(self.hidden)} hidden"] if self.hidden else []
        parts += [f"history {self.history}"] if self.history > 1 else []
        return ", ".join([environment, *parts])

    def names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of what is seen; ``angle_2`` is the angle two steps ago.

        Raises:
            ValueError: If a hidden dimension has no such name, or if none is left.
        """
        unknown = [name for name in self.hidden if name not in names]
        if unknown or not set(names) - set(self.hidden):
            some = ", ".join(names) or "none, since states have no dimensions"
            raise ValueError(
                f"dataset.hidden is {list(self.hidden)}, but should name some, not all, of the "
                f"observation's dimensions: {some}"
            )
        kept = [name for name in names if name not in self.hidden]
        past = [f"{name}_{ago}" for ago in range(self.history - 1, 0, -1) for name in kept]
        return (*past, *kept)

    def spec(self, spec: EnvSpec) -> EnvSpec:
        """Return the spec of what is seen."""
        names = self.names(spec.observation_names)
        return replace(spec, observation_names=names, observation_size=len(names))

    def storage(self, storage: Storage, names: tuple[str, ...]) -> Storage:
        """Return the storage with observations as they are seen.

        An observation holds what was seen before it, whether or not a degradation removes the
        transitions of that time later.
        """
        present = storage.observation[:, self._kept(names)]
        following = storage.next_observation[:, self._kept(names)]
        start = np.ones(len(storage), dtype=bool)
        start[1:] = (np.diff(storage.episode) != 0) | (np.diff(storage.step) != 1)
        first = np.maximum.accumulate(np.where(start, np.arange(len(storage)), 0))
        ago = np.arange(self.history - 1, -1, -1)
        rows = np.maximum(np.arange(len(storage))[:, None] - ago, first[:, None])
        window = present[rows]  # [n, history, kept]
        next_window = np.concatenate([window[:, 1:], following[:, None]], axis=1)
        return replace(
            storage,
            observation=window.reshape(len(storage), -1),
            next_observation=next_window.reshape(len(storage), -1),
        )

    def window(self, names: tuple[str, ...]) -> "Window":
        """Return a window over the steps of episodes that begin now."""
        return Window(self._kept(names), self.history)

    def _kept(self, names: tuple[str, ...]) -> list[int]:
        return [index for index, name in enumerate(names) if name not in self.hidden]


class Window:
    """The latest observations ``[..., dim]`` of episodes that advance together."""

    def __init__(self, kept: list[int], history: int):
        """Take the positions of the dimensions that are seen, and over how many steps."""
        self.kept, self.history = kept, history
        self.seen: deque[np.ndarray] = deque(maxlen=history)

    def see(self, observation: np.ndarray) -> np.ndarray:
        """Add the next observation and return what is seen ``[..., history * kept]``."""
        present = observation[..., self.kept]
        self.seen.extend([present] * (1 if self.seen else self.history))
        return np.concatenate(list(self.seen), axis=-1)


@dataclass(frozen=True, eq=False)
class SensedEnvironment(Environment):
    """An environment of which less is seen; its anchors are those of whoever sees it whole."""

    spec: EnvSpec
    whole: Environment
    sensing: Sensing

    @property
    def optimum(self) -> float | None:
        """Value of the optimal policy of the whole environment."""
        return self.whole.optimum

    @property
    def uniform(self) -> float | None:
        """Value of the uniform policy."""
        return self.whole.uniform

    @property
    def discounted(self) -> bool:  # type: ignore[override]
        """Whether values are discounted."""
        return self.whole.discounted

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the dimensions that there are."""
        return self.whole.spec.observation_names

    def reference_action(self, observation: np.ndarray) -> NoReturn:
        """Refuse: the reference policy needs to see the whole."""
        raise NotImplementedError(
            f"The reference policy of {self.spec.name} needs to see it whole."
        )

    def reference_rollout(self, rng: np.random.Generator, num_episodes: int) -> Iterator[Step]:
        """Yield the steps of the reference policy, which sees the whole, as they are sensed."""
        window = self.sensing.window(self.names)
        seen: np.ndarray | None = None
        for step in self.whole.reference_rollout(rng, num_episodes):
            seen = window.see(step.observation) if seen is None else seen
            following = window.see(step.next_observation)
            yield step._replace(observation=seen, next_observation=following)
            seen = following

    @classmethod
    def simulator(
        cls,
        environments: Sequence[Self],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ) -> Simulator:
        """Return copies of the whole environments, sensed."""
        whole = [environment.whole for environment in environments]
        simulator = type(whole[0]).simulator(whole, generators, num_episodes)
        return _SensedSimulator(simulator, environments[0])


class _SensedSimulator(Simulator):
    def __init__(self, whole: Simulator, environment: SensedEnvironment):
        self.whole, self.environment = whole, environment

    def reset(self) -> np.ndarray:
        self.window = self.environment.sensing.window(self.environment.names)
        return self.window.see(self.whole.reset())

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        observation, reward, terminated = self.whole.step(action)
        self.stopped, self.measured = self.whole.stopped, self.whole.measured
        return self.window.see(observation), reward, terminated
