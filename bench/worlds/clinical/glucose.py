"""Dosing insulin in type 1 diabetes: a day of half hours, meals announced with errors.

Bodies are those of `bench/worlds/clinical/physiology.py`; a basal rate keeps each steady without
meals, and the decision is a bolus. A benchmark, no medical device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Self

import numpy as np
import torch
from annotated_types import Ge, Le

from bench.types import EnvSpec
from bench.worlds.base import Act, Environment, Simulator, World, rollout
from bench.worlds.clinical.physiology import Bodies, virtual_patients
from bench.worlds.tabular import return_bounds

DOSES = np.array([0.0, 1.0, 2.0, 4.0, 8.0])
"""Units of insulin, given in the first minute of a step."""
MINUTES = 30
STEPS_OF_DAY = 48
LOWEST, HIGHEST = 40.0, 400.0
"""What glucose is clamped to in mg/dL, as sensors do; bodies go on as they are."""
NAMES = (
    "glucose", "glucose_hour_ago", "insulin_on_board", "carbohydrates_on_board", "meal",
    "time_sine", "time_cosine", "weight", "carbohydrate_ratio", "correction_factor", "basal",
)  # fmt: skip
# Probability, hour and its deviation, grams and their deviation: breakfast, lunch and dinner with
# snacks between, as the public simulator's random scenario has them.
MEALS = (
    (0.95, 7.0, 1.0, 45.0, 10.0), (0.3, 9.5, 0.5, 10.0, 5.0), (0.95, 12.0, 1.0, 70.0, 10.0),
    (0.3, 15.0, 0.5, 10.0, 5.0), (0.95, 18.0, 1.0, 80.0, 10.0), (0.3, 21.5, 0.5, 10.0, 5.0),
)  # fmt: skip
ANNOUNCING_ERROR = 0.2
"""Standard deviation of what is announced of a meal, as a share of it."""
INSULIN_LASTS, CARBOHYDRATES_LAST = 120.0, 60.0
"""Minutes after which an e-th of a dose or a meal counts as on board."""
TARGET, CORRECTED_ABOVE = 140.0, 150.0
NOISE, SKIPPED = 0.4, 0.1
"""Of clinicians: how often a dose is one level up or down, and a meal's is left out."""
# Mean returns of a day over 4,000 days of all adults, the bolus calculator's (standard error 1.2)
# and without bolus (5.9).
ANCHORS = {True: -87.3, False: -870.3}
ANCHOR_EPISODES = 1000


def index_of_control(glucose: np.ndarray) -> np.ndarray:
    """Return the index of glycaemic control with exponent 1.35: 0 within 80 to 140 mg/dL."""
    low, high = np.maximum(80 - glucose, 0), np.maximum(glucose - 140, 0)
    return np.asarray(low**2 / 30 + high**1.35 / 30)


@dataclass(frozen=True)
class Glucose(World):
    """Bolus insulin for adults with type 1 diabetes.

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
        worst = -float(index_of_control(np.array([LOWEST, HIGHEST])).max())
        v_min, v_max = return_bounds(worst, 0.0, discount, only_at_end=False)
        spec = EnvSpec(
            name=name,
            observation_kind="vector",
            observation_size=len(NAMES),
            num_actions=len(DOSES),
            discount=discount,
            horizon=horizon,
            reward_min=worst,
            reward_max=0.0,
            v_min=v_min,
            v_max=v_max,
            observation_names=NAMES,
        )
        return GlucoseEnvironment(spec, self)


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
        return _mean_return(self.world.patient, self.spec.horizon, True)

    @property
    def uniform(self) -> float:
        """Mean return without any bolus."""
        return _mean_return(self.world.patient, self.spec.horizon, False)

    def reference_action(self, observation: np.ndarray) -> np.ndarray:
        """Return the bolus calculator's dose at observations ``[..., 11]``, the nearest there is.

        Carbohydrates over what a unit covers, and at a meal a correction of high glucose less what
        is on board. Doses are given at meals alone.
        """
        glucose, board, meal = (observation[..., i] for i in (0, 2, 4))
        ratio, factor = observation[..., 8], observation[..., 9]
        high = np.where(glucose > CORRECTED_ABOVE, (glucose - TARGET) / factor, 0.0)
        units = np.where(meal > 0, meal / ratio + np.maximum(high - board, 0), 0.0)
        nearest: np.ndarray = np.abs(units[..., None] - DOSES).argmin(-1)
        return nearest

    def clinician_action(self, observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the same with slips of the dose and left out meals."""
        shape = observation.shape[:-1]
        dose, chance = self.reference_action(observation), rng.random(shape)
        moved = np.where(rng.random(shape) < 0.5, dose - 1, dose + 1).clip(0, len(DOSES) - 1)
        slips = (chance < self.world.noise) & (observation[..., 4] > 0)
        left_out = rng.random(shape) < self.world.skipped
        return np.where(left_out, 0, np.where(slips, moved, dose))

    def clinician_chances(self, observation: np.ndarray) -> np.ndarray:
        """Return how likely each dose is by that ``[n, 5]`` at observations ``[n, 11]``."""
        dose, meal = self.reference_action(observation), observation[..., 4] > 0
        doses, slips = np.eye(len(DOSES)), np.where(meal, self.world.noise, 0.0)[:, None]
        lower, upper = (doses[(dose + by).clip(0, len(DOSES) - 1)] for by in (-1, 1))
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
        return GlucoseSimulator(environments[0].world.patient, generators, num_episodes)


class GlucoseSimulator(Simulator):
    """Days of patients ``[run, episode]``."""

    def __init__(self, patient: int, generators: Sequence[np.random.Generator], num_episodes: int):
        """Draw patients and meals of every run by its own generator."""
        self.shape = (len(generators), num_episodes)
        drawn = [_day(patient, generator, num_episodes) for generator in generators]
        number, self.meals, self.announced = map(np.concatenate, zip(*drawn, strict=True))
        self.number, table = number, virtual_patients("adult")
        self.about = np.stack([table[k][number] for k in ("BW", "CR", "CF", "basal")], axis=1)

    def reset(self) -> np.ndarray:
        """Start every day at midnight, steady."""
        self.bodies = Bodies("adult", self.number, 1, torch.float32)
        self.time = 0
        self.board = np.zeros((2, len(self.number)))
        self.readings = [self._reading()] * 3
        return self._observed()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give doses by their number and go on by half an hour."""
        units, meal = DOSES[action.reshape(-1)], self.meals[:, self.time % STEPS_OF_DAY]
        told = self.announced[:, self.time % STEPS_OF_DAY]
        for minute in range(MINUTES):
            served, given = (meal, units) if minute == 0 else (0.0, 0.0)
            self.bodies.minute(
                torch.as_tensor(served, dtype=torch.float32),
                torch.as_tensor(given, dtype=torch.float32),
            )
        fade = np.exp(-MINUTES / np.array([[INSULIN_LASTS], [CARBOHYDRATES_LAST]]))
        self.board = (self.board + np.stack([units, told])) * fade
        self.time += 1
        self.readings = [*self.readings[1:], self._reading()]
        now = self.readings[-1]
        reward = -index_of_control(now).reshape(self.shape)
        return self._observed(), reward, np.zeros(self.shape, dtype=bool)

    def _reading(self) -> np.ndarray:
        return self.bodies.glucose.double().numpy().clip(LOWEST, HIGHEST)

    def _observed(self) -> np.ndarray:
        clock = 2 * np.pi * self.time / STEPS_OF_DAY
        told = self.announced[:, self.time % STEPS_OF_DAY]
        turn = np.broadcast_to([[np.sin(clock), np.cos(clock)]], (len(told), 2))
        columns = [self.readings[-1], self.readings[0], *self.board, told]
        seen = np.concatenate([np.stack(columns, axis=1), turn, self.about], axis=1)
        return seen.astype(np.float32).reshape(*self.shape, len(NAMES))


def _day(
    patient: int, rng: np.random.Generator, num_episodes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return who they are ``[episode]``, what they eat and what they say ``[episode, 48]``."""
    number = rng.integers(10, size=num_episodes) if patient == 0 else np.full(num_episodes, patient)
    meals = np.zeros((num_episodes, STEPS_OF_DAY))
    for chance, hour, deviation, grams, spread in MEALS:
        happens = rng.random(num_episodes) < chance
        when = np.clip(rng.normal(hour, deviation, num_episodes), hour - 2, hour + 2)
        much = np.maximum(rng.normal(grams, spread, num_episodes), 0).round()
        step = np.floor(when * 60 / MINUTES).astype(int).clip(0, STEPS_OF_DAY - 1)
        meals[np.arange(num_episodes), step] += happens * much
    error = 1 + ANNOUNCING_ERROR * rng.normal(size=meals.shape)
    return number - (patient > 0), meals, np.maximum(meals * error, 0).round()


@lru_cache
def _mean_return(patient: int, horizon: int, treated: bool) -> float:
    """Return the mean return of the bolus calculator, or of no bolus, over the same days."""
    if patient == 0 and horizon == STEPS_OF_DAY:
        return ANCHORS[treated]
    environment = Glucose(patient, 0.0, 0.0).environment("", 0, 0.99, horizon)
    simulator = GlucoseSimulator(patient, [np.random.default_rng(0)], ANCHOR_EPISODES)

    def nothing(observation: np.ndarray) -> np.ndarray:
        return np.zeros(observation.shape[:-1], dtype=np.int64)

    act: Act = environment.reference_action if treated else nothing
    return float(sum(step.reward.mean() for step in rollout(simulator, act, horizon)))
