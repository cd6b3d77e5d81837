"""Dosing insulin in type 1 diabetes: a day of half hours, meals announced with errors.

Bodies are those of `bench/worlds/clinical/physiology.py`; a basal rate keeps each steady without
meals, and the decision is a bolus, by its level or in units. A benchmark, no medical device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from annotated_types import Ge, Le

from bench.types import ActionKind, EnvSpec
from bench.worlds.base import Environment, Simulator, World, rollout
from bench.worlds.clinical.days import (
    HIGHEST,
    LOWEST,
    NAMES,
    STEPS_OF_DAY,
    Days,
    index_of_control,
)
from bench.worlds.tabular import return_bounds

LEVELS = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
"""Units of insulin, given in the first minute of a step."""
MOST_UNITS = 20.0
"""Of a dose that is not one of levels; one meal's in a hundred would have to be more."""
TARGET, CORRECTED_ABOVE = 140.0, 150.0
ANCHOR_EPISODES = 1000

# From observations ``[..., 11]`` to units of insulin ``[...]``.
Dosing = Callable[[np.ndarray], np.ndarray]


def calculated(observation: np.ndarray) -> np.ndarray:
    """Return what a bolus calculator says, in units ``[...]`` at observations ``[..., 11]``.

    Carbohydrates over what a unit covers, and at a meal a correction of high glucose less what
    is on board. Doses are given at meals alone.
    """
    glucose, board, meal = (observation[..., i] for i in (0, 2, 4))
    ratio, factor = observation[..., 8], observation[..., 9]
    high = np.where(glucose > CORRECTED_ABOVE, (glucose - TARGET) / factor, 0.0)
    return np.where(meal > 0, meal / ratio + np.maximum(high - board, 0), 0.0)


def by_level(observation: np.ndarray) -> np.ndarray:
    """Return the calculator's dose, the nearest that is a level."""
    return np.asarray(LEVELS[_nearest(observation)])


def in_units(observation: np.ndarray) -> np.ndarray:
    """Return the calculator's dose, the largest where it would be more."""
    return calculated(observation).clip(0, MOST_UNITS)


def no_bolus(observation: np.ndarray) -> np.ndarray:
    """Return no dose."""
    return np.zeros(observation.shape[:-1])


def _nearest(observation: np.ndarray) -> np.ndarray:
    nearest: np.ndarray = np.abs(calculated(observation)[..., None] - LEVELS).argmin(-1)
    return nearest


# Mean returns of a day over 4,000 days of all adults (standard errors 1.2, .6 and 5.9).
ANCHORS: dict[Dosing, float] = {by_level: -87.3, in_units: -46.7, no_bolus: -870.3}


@dataclass(frozen=True)
class Glucose(World):
    """Bolus insulin for adults with type 1 diabetes, one of five levels.

    Attributes:
        patient: Which of the ten virtual adults, from 1; 0 draws one per episode.
        noise: Of clinicians, how often a dose is one level up or down.
        skipped: Of clinicians, how often a meal's dose is left out.
    """

    patient: Annotated[int, Ge(0), Le(10)]
    noise: Annotated[float, Ge(0), Le(1)]
    skipped: Annotated[float, Ge(0), Le(1)]

    observation_names: ClassVar[tuple[str, ...]] = NAMES
    slab_dimension: ClassVar[str | None] = "glucose"
    has_clinician: ClassVar[bool] = True

    def environment(self, name: str, seed: int, discount: float, horizon: int) -> Environment:
        """Return the environment; every instance is the same."""
        del seed
        spec = self._spec(name, discount, horizon, num_actions=len(LEVELS))
        return GlucoseEnvironment(spec, self)

    def _spec(self, name: str, discount: float, horizon: int, **actions: Any) -> EnvSpec:
        worst = -float(index_of_control(np.array([LOWEST, HIGHEST])).max())
        v_min, v_max = return_bounds(worst, 0.0, discount, only_at_end=False)
        return EnvSpec(
            name=name,
            observation_kind="vector",
            observation_size=len(NAMES),
            discount=discount,
            horizon=horizon,
            reward_min=worst,
            reward_max=0.0,
            v_min=v_min,
            v_max=v_max,
            observation_names=NAMES,
            **actions,
        )


@dataclass(frozen=True)
class GlucoseInUnits(Glucose):
    """The same with any dose up to 20 units.

    Attributes:
        patient: As there.
        noise: Of clinicians, how often a dose is off, by a factor from a half to two.
        skipped: As there.
    """

    action_kind: ClassVar[ActionKind] = "continuous"

    def environment(self, name: str, seed: int, discount: float, horizon: int) -> Environment:
        """Return the environment; every instance is the same."""
        del seed
        optimum, uniform = (mean_return(self.patient, horizon, by) for by in (in_units, no_bolus))
        actions = {"num_actions": 0, "action_bounds": ((0.0,), (MOST_UNITS,))}
        scale = {"uniform_regret": optimum - uniform, "uniform_value": uniform}
        spec = self._spec(name, discount, horizon, **actions, **scale)
        return GlucoseInUnitsEnvironment(spec, self)


@dataclass(frozen=True, eq=False)
class GlucoseEnvironment(Environment):
    """The day of a patient; values are mean returns.

    What counts as the optimum is a bolus calculator without its user's errors, and as the worst, in
    the uniform policy's place, no bolus at all: uniform doses are much worse than that.
    """

    spec: EnvSpec
    world: Glucose

    zero: ClassVar[str] = "no bolus"
    value_episodes: ClassVar[int] = 1000

    @property
    def optimum(self) -> float:
        """Mean return of the bolus calculator."""
        return mean_return(self.world.patient, self.spec.horizon, by_level)

    @property
    def uniform(self) -> float:
        """Mean return without any bolus."""
        return mean_return(self.world.patient, self.spec.horizon, no_bolus)

    @staticmethod
    def units(action: np.ndarray) -> np.ndarray:
        """Return the units of insulin ``[...]`` of actions as data stores them."""
        return np.asarray(LEVELS[action])

    def reference_action(self, observation: np.ndarray) -> np.ndarray:
        """Return the level nearest to the calculator's dose at observations ``[..., 11]``."""
        return _nearest(observation)

    def clinician_action(self, observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the same with slips of the dose and left out meals."""
        shape = observation.shape[:-1]
        dose, chance = self.reference_action(observation), rng.random(shape)
        moved = np.where(rng.random(shape) < 0.5, dose - 1, dose + 1).clip(0, len(LEVELS) - 1)
        slips = (chance < self.world.noise) & (observation[..., 4] > 0)
        left_out = rng.random(shape) < self.world.skipped
        return np.where(left_out, 0, np.where(slips, moved, dose))

    def clinician_chances(self, observation: np.ndarray) -> np.ndarray:
        """Return how likely each dose is by that ``[n, 5]`` at observations ``[n, 11]``."""
        dose, meal = self.reference_action(observation), observation[..., 4] > 0
        doses, slips = np.eye(len(LEVELS)), np.where(meal, self.world.noise, 0.0)[:, None]
        lower, upper = (doses[(dose + by).clip(0, len(LEVELS) - 1)] for by in (-1, 1))
        given = (1 - slips) * doses[dose] + slips * (lower + upper) / 2
        return (1 - self.world.skipped) * given + self.world.skipped * doses[0]

    @classmethod
    def simulator(
        cls,
        environments: Sequence[Self],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ) -> Simulator:
        """Return days of patients."""
        return Days(environments[0].world.patient, cls.units, generators, num_episodes)


@dataclass(frozen=True, eq=False)
class GlucoseInUnitsEnvironment(GlucoseEnvironment):
    """The same with doses in units, ``[..., 1]``."""

    @property
    def optimum(self) -> float:
        """Mean return of the bolus calculator, to the unit."""
        return mean_return(self.world.patient, self.spec.horizon, in_units)

    @staticmethod
    def units(action: np.ndarray) -> np.ndarray:
        """Return the units of insulin ``[...]``; what is out of bounds is the nearest within."""
        return np.asarray(action[..., 0].clip(0, MOST_UNITS))

    def reference_action(self, observation: np.ndarray) -> np.ndarray:
        """Return the bolus calculator's dose at observations ``[..., 11]``."""
        return in_units(observation)[..., None].astype(np.float32)

    def clinician_action(self, observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the same, at times off by a factor, and with left out meals."""
        shape = (*observation.shape[:-1], 1)
        dose, slips = self.reference_action(observation), rng.random(shape) < self.world.noise
        factor = np.where(slips, 2 ** rng.uniform(-1, 1, shape), 1.0)
        left_out = rng.random(shape) < self.world.skipped
        return np.where(left_out, 0, (factor * dose).clip(0, MOST_UNITS)).astype(np.float32)


@lru_cache
def mean_return(patient: int, horizon: int, dosing: Dosing) -> float:
    """Return the mean return of a way of dosing, over the same days whatever it is."""
    if patient == 0 and horizon == STEPS_OF_DAY:
        return ANCHORS[dosing]
    days = Days(patient, lambda units: units, [np.random.default_rng(0)], ANCHOR_EPISODES)
    return float(sum(step.reward.mean() for step in rollout(days, dosing, horizon)))
