"""Days of patients: what they eat, what they say of it, and what doses do, by half hours."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from bench.worlds.base import Simulator
from bench.worlds.clinical.physiology import Bodies, virtual_patients

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

# Units of insulin ``[...]`` of actions as data stores them.
Units = Callable[[np.ndarray], np.ndarray]


def index_of_control(glucose: np.ndarray) -> np.ndarray:
    """Return the index of glycaemic control with exponent 1.35: 0 within 80 to 140 mg/dL."""
    low, high = np.maximum(80 - glucose, 0), np.maximum(glucose - 140, 0)
    return np.asarray(low**2 / 30 + high**1.35 / 30)


def time_in_ranges(glucose: np.ndarray) -> dict[str, np.ndarray]:
    """Return whether readings are in those ranges whose share of a day clinicians speak of."""
    return {
        "time_in_range": (glucose >= 70) & (glucose <= 180),
        "time_below_70": glucose < 70,
        "time_above_250": glucose > 250,
    }


class Days(Simulator):
    """Days of patients ``[run, episode]``.

    `patient` is which of the ten virtual adults, from 1; 0 draws one per day.
    """

    def __init__(
        self,
        patient: int,
        units: Units,
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ):
        """Draw patients and meals of every run by its own generator."""
        self.units, self.shape = units, (len(generators), num_episodes)
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
        """Give doses and go on by half an hour."""
        units, meal = self.units(action).reshape(-1), self.meals[:, self.time % STEPS_OF_DAY]
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
        now = self.readings[-1].reshape(self.shape)
        self.measured = time_in_ranges(now)
        reward = -index_of_control(now)
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
