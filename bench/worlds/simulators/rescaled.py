"""A world whose rewards are an affine map of another's, as a file may have recorded them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from bench.types import EnvSpec
from bench.worlds.base import Act, Environment, Simulator
from bench.worlds.cells import Cells
from bench.worlds.continuous.control import ControlEnvironment
from bench.worlds.continuous.pendulum import Pendulum
from bench.worlds.simulators.recorded import RecordedEnvironment
from bench.worlds.tabular import TabularEnvironment


def rescaled(environment: Environment, slope: float, offset: float) -> Environment:
    """Return the world with ``slope * reward + offset`` in place of its rewards; `slope` > 0.

    A value that would depend on how long episodes are, which nobody knows, is None.
    """
    spec = environment.spec
    if isinstance(environment, TabularEnvironment):
        mdp = replace(environment.mdp, reward=slope * environment.mdp.reward + offset)
        return TabularEnvironment.from_mdp(
            spec.name, mdp, spec.discount, spec.horizon, environment.coordinates
        )
    weight = _weight_of_steps(environment)
    if isinstance(environment, RecordedEnvironment):
        # Its spec is of the data, whose rewards these are.
        reference = environment.reference.rescaled(slope, offset)
        return Rescaled(spec, replace(environment, reference=reference), slope, offset, None)
    low, high = (0.0, offset) if offset > 0 else (offset, 0.0)
    low, high = (bound / (1 - spec.discount) for bound in (low, high))
    if weight is not None:
        low = high = offset * weight
    regret = spec.uniform_regret
    own = replace(
        spec,
        reward_min=slope * spec.reward_min + offset,
        reward_max=slope * spec.reward_max + offset,
        v_min=slope * spec.v_min + low,
        v_max=slope * spec.v_max + high,
        uniform_regret=None if regret is None else slope * regret,
    )
    return Rescaled(own, environment, slope, offset, weight)


def _weight_of_steps(environment: Environment) -> float | None:
    """Return what a reward of 1 at every step is worth; None if it depends on the policy."""
    if isinstance(environment, ControlEnvironment) and isinstance(environment.world, Pendulum):
        spec = environment.spec
        return float((spec.discount ** np.arange(spec.horizon)).sum())
    return None


@dataclass(frozen=True, eq=False)
class Rescaled(Environment):
    """A world without known tables, with its rewards mapped.

    Attributes:
        world: The world as it is.
        slope: By which its rewards are multiplied.
        offset: What is added to each of them then.
        weight: What a reward of 1 at every step is worth; None if it depends on the policy.
    """

    spec: EnvSpec
    world: Environment
    slope: float
    offset: float
    weight: float | None

    @property
    def can_evaluate(self) -> bool:  # type: ignore[override]
        """Whether policies can be run in it."""
        return self.world.can_evaluate

    @property
    def has_reference_policy(self) -> bool:  # type: ignore[override]
        """Whether `reference_action` knows one."""
        return self.world.has_reference_policy

    @property
    def value_episodes(self) -> int:  # type: ignore[override]
        """Episodes that a behavior policy's value is measured on."""
        return self.world.value_episodes

    @property
    def discounted(self) -> bool:  # type: ignore[override]
        """Whether values are discounted."""
        return self.world.discounted

    @property
    def behavior_noise(self) -> float:  # type: ignore[override]
        """Noise of behavior policies, in half ranges of an action."""
        return self.world.behavior_noise

    @property
    def title(self) -> str:
        """What policies are evaluated in."""
        return f"{self.world.title}, in recorded rewards"

    @property
    def optimum(self) -> float | None:
        """Value of the optimal policy in the recorded rewards."""
        return self._mapped(self.world.optimum)

    @property
    def uniform(self) -> float | None:
        """Value of the uniform policy in the recorded rewards."""
        return self._mapped(self.world.uniform)

    @property
    def cells(self) -> Cells | None:  # type: ignore[override]
        """The world cut into cells, if it is."""
        cells = self.world.cells
        if cells is None:
            return None
        return replace(cells, reward=self.slope * cells.reward + self.offset)

    def reference_action(self, observation: np.ndarray) -> np.ndarray:
        """Return the world's own reference policy's action: it is as good here."""
        return self.world.reference_action(observation)

    def policy_value(self, act: Act) -> float | None:
        """Return the exact value of a policy that always does the same; None if not to be had."""
        return self._mapped(self.world.policy_value(act))

    def _mapped(self, value: float | None) -> float | None:
        if isinstance(self.world, RecordedEnvironment):
            return value
        if value is None or (self.offset and self.weight is None):
            return None
        return self.slope * value + self.offset * (self.weight or 0.0)

    @classmethod
    def simulator(
        cls,
        environments: Sequence[Self],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ) -> Simulator:
        """Return copies of the worlds, their rewards mapped."""
        worlds = [environment.world for environment in environments]
        whole = type(worlds[0]).simulator(worlds, generators, num_episodes)
        return _RescaledSimulator(whole, environments)


class _RescaledSimulator(Simulator):
    def __init__(self, whole: Simulator, environments: Sequence[Rescaled]):
        self.whole = whole
        self.slope = np.array([[environment.slope] for environment in environments])
        self.offset = np.array([[environment.offset] for environment in environments])

    def reset(self) -> np.ndarray:
        return self.whole.reset()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        observation, reward, terminated = self.whole.step(action)
        self.stopped, self.measured = self.whole.stopped, self.whole.measured
        return observation, self.slope * reward + self.offset, terminated
