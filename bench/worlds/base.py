"""Evaluation environments, batched over runs, with the anchors that regrets are measured against.

A `Simulator` advances ``[run, episode]`` copies at once. Each run draws its start states (and a
tabular run its transitions) from its own generator, so its episodes do not depend on which other
runs are simulated beside it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Self

import numpy as np

from bench.types import ActionKind, EnvSpec
from bench.worlds.cells import Cells
from bench.worlds.exact import TabularMDP

# A policy that always does the same: actions in the world's units at raw observations.
Act = Callable[[np.ndarray], np.ndarray]


class Simulator(ABC):
    """Copies of environments, ``[run, episode]``.

    Attributes:
        stopped: ``[run, episode]``, copies that have ended without terminating; None where only
            the step limit cuts an episode.
        measured: What else than its reward the latest step is judged by, by name, each ``[run,
            episode]``; of a policy it is the mean over its steps.
    """

    stopped: np.ndarray | None = None
    measured: Mapping[str, np.ndarray] = MappingProxyType({})

    @abstractmethod
    def reset(self) -> np.ndarray:
        """Start every copy and return observations ``[run, episode, ...]``."""

    @abstractmethod
    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return next observation, reward and terminated for actions ``[run, episode, ...]``."""


class Step(NamedTuple):
    """One step of every copy; entries of copies that are not `active` mean nothing."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray
    terminated: np.ndarray
    active: np.ndarray
    measured: Mapping[str, np.ndarray]


def rollout(simulator: Simulator, act: Act, max_steps: int) -> Iterator[Step]:
    """Yield steps until every copy has ended its first episode or `max_steps` is reached.

    Whatever a copy does after its first end (an autoreset, say) is not `active`.
    """
    observation = simulator.reset()
    active: np.ndarray | None = None
    for _ in range(max_steps):
        action = act(observation)
        next_observation, reward, terminated = simulator.step(action)
        active = np.ones_like(terminated) if active is None else active
        ended = terminated & active
        yield Step(observation, action, reward, next_observation, ended, active, simulator.measured)
        active = active & ~terminated
        if simulator.stopped is not None:
            active &= ~simulator.stopped
        if not active.any():
            return
        observation = next_observation


class Environment(ABC):
    """A world with its spec, its reference policy and its anchors.

    Its values are discounted from the start of an episode, or else mean returns.

    Attributes:
        spec: What an algorithm may know of the world.
        mdp: The exact MDP where there is one, else None.
        cells: The world cut into cells of states and continuous actions, where a grid is fine
            enough, else None.
        coordinates: ``[states, dim]``, where each state lies, for what judges states by distance;
            None where observations are vectors already.
        behavior_noise: Standard deviation of the normal noise that behavior policies add to the
            reference policy's actions, in half ranges of an action; 0 where they are numbered.
        discounted: Whether values are discounted; if not, they are mean returns.
        clinician: ``[states, actions]``, how likely those who kept the records act, where a table
            of that is known; else None.
    """

    spec: EnvSpec
    mdp: TabularMDP | None = None
    cells: Cells | None = None
    coordinates: np.ndarray | None = None
    behavior_noise: float = 0.0
    discounted: bool = False
    clinician: np.ndarray | None = None

    can_evaluate: ClassVar[bool] = True
    """Whether policies can be run in it."""

    has_reference_policy: ClassVar[bool] = True
    """Whether `reference_action` knows one."""

    @property
    def title(self) -> str:
        """What policies are evaluated in, as records and captions say it."""
        return self.spec.name

    @property
    def without_evaluation(self) -> str | None:
        """Why no policy can be run in it; None where one can."""
        return None

    zero: ClassVar[str] = "uniform policy"
    """Whose value `uniform` is, the 0 of normalised scores."""

    value_episodes: ClassVar[int] = 2000
    """Episodes that the value of a behavior policy is measured on where it is not known exactly."""

    @property
    @abstractmethod
    def optimum(self) -> float | None:
        """Value of the optimal policy in the environment's units of value; None if unknown."""

    @property
    @abstractmethod
    def uniform(self) -> float | None:
        """Value of the uniformly random policy in the environment's units; None if unknown."""

    @abstractmethod
    def reference_action(self, observation: np.ndarray) -> np.ndarray:
        """Return the reference policy's action for raw observations ``[..., (dim)]``."""

    def clinician_action(self, observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return what those do who kept the records, at raw observations ``[..., (dim)]``."""
        assert self.clinician is not None
        cumulative = self.clinician[observation].cumsum(-1)
        uniform = rng.random((*observation.shape, 1))
        # Scaling keeps a rounding error in the sum from selecting past the end.
        return np.asarray((uniform * cumulative[..., -1:] >= cumulative).sum(-1))

    def clinician_chances(self, observation: np.ndarray) -> np.ndarray:
        """Return how likely they are to do what, ``[n, num_actions]``, at ``[n, ...]``."""
        assert self.clinician is not None
        return self.clinician[observation]

    def policy_value(self, act: Act) -> float | None:
        """Return the exact value of a policy that always does the same; None if not to be had."""
        del act
        return None

    def reference_rollout(self, rng: np.random.Generator, num_episodes: int) -> Iterator[Step]:
        """Yield the steps ``[1, episode]`` of episodes under the reference policy."""
        simulator = self.simulator([self], [rng], num_episodes)
        return rollout(simulator, self.reference_action, self.spec.horizon)

    @classmethod
    @abstractmethod
    def simulator(
        cls,
        environments: Sequence[Self],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ) -> Simulator:
        """Return `num_episodes` copies of each environment, each run with its own generator."""


class World(ABC):
    """Settings from which the instance of an environment that a seed names is made."""

    tabular: ClassVar[bool] = False
    """Whether the environments are finite MDPs with known tables."""

    action_kind: ClassVar[ActionKind] = "discrete"
    """Whether actions are numbered or vectors."""

    observation_names: ClassVar[tuple[str, ...]] = ()
    """Names of a vector observation's dimensions."""

    has_reference_policy: ClassVar[bool] = True
    """Whether there is a policy to collect by and to compare with."""

    has_clinician: ClassVar[bool] = False
    """Whether it is known how those act who kept the records that the world is made from."""

    own_world: ClassVar[bool] = True
    """Whether it is one of this project's, not a simulator of others."""

    slab_dimension: ClassVar[str | None] = None
    """The dimension that ``coverage=region`` cuts a slab of where nobody names one."""

    @property
    def table_shape(self) -> tuple[int, int] | None:
        """Numbers of states and of actions, where they are known before an instance is made."""
        return None

    def check_here(self) -> None:  # noqa: B027  (most need nothing)
        """Raise ``MissingData`` where something that the world needs is not installed."""

    def check_discount(self, discount: float) -> None:
        """Raise ``ValueError`` where the world's anchors do not hold for a discount."""
        del discount

    @property
    def gymnasium_id(self) -> str | None:
        """The id of the environment in gymnasium that this is, None if there is none."""
        return None

    @abstractmethod
    def environment(self, name: str, seed: int, discount: float, horizon: int) -> Environment:
        """Return the instance; `horizon` limits the steps of an episode."""
