"""The sepsis simulator of Oberst and Sontag 2019 (arXiv 1905.05824) as an exact table.

Written from the rules that they publish. A patient is a heart rate, a blood pressure, an oxygen
level and a glucose level, each in a few steps, three treatments that are on or off, and diabetic
or not. Antibiotics, ventilation and vasopressors act in this order, then what no treatment moves
fluctuates. An episode ends with -1 at three abnormal vital signs or more, with +1 at none and no
treatment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from bench.types import Fraction
from bench.worlds.base import Environment
from bench.worlds.exact import TabularMDP
from bench.worlds.mdps import TabularWorld
from bench.worlds.tabular import TabularEnvironment

NUM_ACTIONS = 8
"""4 of antibiotics, 2 of ventilation, 1 of vasopressors, added."""


class Patient(NamedTuple):
    """A state; a larger level is a higher value of the vital sign."""

    diabetic: int
    heart_rate: int
    pressure: int
    oxygen: int
    glucose: int
    antibiotics: int
    vasopressors: int
    ventilation: int


SIZES = Patient(2, 3, 3, 2, 5, 2, 2, 2)
NORMAL = {"heart_rate": 1, "pressure": 1, "oxygen": 1, "glucose": 2}
VITALS_AT_START = {
    "heart_rate": (0.25, 0.5, 0.25),
    "pressure": (0.25, 0.5, 0.25),
    "oxygen": (0.2, 0.8),
}
GLUCOSE_AT_START = ((0.05, 0.15, 0.6, 0.15, 0.05), (0.01, 0.05, 0.15, 0.6, 0.19))

# Patients and how likely they are.
Outcomes = dict[Patient, float]


def abnormal(patient: Patient) -> int:
    """Return the number of abnormal vital signs."""
    return sum(getattr(patient, sign) != level for sign, level in NORMAL.items())


def end_of(patient: Patient) -> float | None:
    """Return the reward with which an episode ends at a patient, None where it goes on."""
    if abnormal(patient) >= 3:
        return -1.0
    treated = patient.antibiotics or patient.vasopressors or patient.ventilation
    return 1.0 if abnormal(patient) == 0 and not treated else None


def moved(outcomes: Outcomes, by: Callable[[Patient], dict[int, float]], sign: str) -> Outcomes:
    """Return the outcomes after a vital sign takes levels with the probabilities of `by`."""
    found: Outcomes = {}
    for patient, likely in outcomes.items():
        chances = by(patient)
        stays = 1 - sum(chances.values())
        for level, chance in ((getattr(patient, sign), stays), *chances.items()):
            if chance > 0:
                after = patient._replace(**{sign: level})
                found[after] = found.get(after, 0.0) + likely * chance
    return found


def fluctuating(
    outcomes: Outcomes, sign: str, chance: float, highest: int | None = None
) -> Outcomes:
    """Return the outcomes after a vital sign falls or rises by one, each with a chance.

    It rises to no more than `highest`, by default the sign's highest level; from above that it
    falls there, as in a program that takes the smaller of both.
    """
    top = getattr(SIZES, sign) - 1 if highest is None else highest

    def by(patient: Patient) -> dict[int, float]:
        level = getattr(patient, sign)
        chances: dict[int, float] = {}
        for to in (max(0, level - 1), min(top, level + 1)):
            chances[to] = chances.get(to, 0.0) + chance
        chances.pop(level, None)
        return chances

    return moved(outcomes, by, sign)


def following(patient: Patient, action: int, highest: int) -> Outcomes:
    """Return where an action leads; a non-diabetic's glucose rises to no more than `highest`."""
    gives, ventilates, presses = action >> 2 & 1, action >> 1 & 1, action & 1
    after: Outcomes = {patient: 1.0}
    if gives:
        for sign in ("heart_rate", "pressure"):
            after = moved(after, _from_to(sign, {2: {1: 0.5}}), sign)
    elif patient.antibiotics:
        for sign in ("heart_rate", "pressure"):
            after = moved(after, _from_to(sign, {1: {2: 0.1}}), sign)
    if ventilates:
        after = moved(after, _from_to("oxygen", {0: {1: 0.7}}), "oxygen")
    elif patient.ventilation:
        after = moved(after, _from_to("oxygen", {1: {0: 0.1}}), "oxygen")
    if presses and patient.diabetic:
        rises = {1: {2: 0.9}, 0: {1: 0.5, 2: 0.4}}
        after = moved(after, _from_to("pressure", rises), "pressure")
        sweeter = {level: {level + 1: 0.5} for level in range(4)}
        after = moved(after, _from_to("glucose", sweeter), "glucose")
    elif presses:
        after = moved(after, _from_to("pressure", {0: {1: 0.7}, 1: {2: 0.7}}), "pressure")
    elif patient.vasopressors:
        chance = 0.05 if patient.diabetic else 0.1
        falls = {level: {level - 1: chance} for level in (1, 2)}
        after = moved(after, _from_to("pressure", falls), "pressure")
    if not (gives or patient.antibiotics):
        after = fluctuating(after, "heart_rate", 0.1)
        if not (presses or patient.vasopressors):
            after = fluctuating(after, "pressure", 0.1)
    if not (ventilates or patient.ventilation):
        after = fluctuating(after, "oxygen", 0.1)
    if not presses and patient.diabetic:
        after = fluctuating(after, "glucose", 0.3)
    elif not presses:
        after = fluctuating(after, "glucose", 0.1, highest)
    treated = {"antibiotics": gives, "ventilation": ventilates, "vasopressors": presses}
    return {found._replace(**treated): likely for found, likely in after.items()}


def _from_to(sign: str, chances: dict[int, dict[int, float]]) -> Callable[..., dict[int, float]]:
    """Return the chances of levels that a sign takes from its own."""
    return lambda patient: chances.get(getattr(patient, sign), {})


@cache
def patients() -> tuple[Patient, ...]:
    """Return every patient at whom an episode goes on, the last part changing fastest."""
    everyone = (Patient(*levels) for levels in product(*map(range, SIZES)))
    return tuple(patient for patient in everyone if end_of(patient) is None)


def initial(diabetic: float) -> Outcomes:
    """Return the untreated patients that episodes start at, `diabetic` the share of diabetics.

    Who would be at an end is drawn again.
    """
    found: Outcomes = {}
    for patient in patients():
        if patient.antibiotics or patient.vasopressors or patient.ventilation:
            continue
        likely = diabetic if patient.diabetic else 1 - diabetic
        likely *= GLUCOSE_AT_START[patient.diabetic][patient.glucose]
        for sign, levels in VITALS_AT_START.items():
            likely *= levels[getattr(patient, sign)]
        found[patient] = likely
    total = sum(found.values())
    return {patient: likely / total for patient, likely in found.items()}


@dataclass(frozen=True)
class SepsisSimulator(TabularWorld):
    """Treating sepsis; all vital signs and the diabetes are seen.

    Attributes:
        diabetic: Share of diabetics among patients, before those at an end are drawn again.
        glucose_clamp: What a non-diabetic's rising glucose stops at: ``published`` is the level
            below normal, as the published program has it, ``corrected`` the highest.
    """

    diabetic: Fraction
    glucose_clamp: Literal["published", "corrected"]

    @property
    def table_shape(self) -> tuple[int, int]:
        """Numbers of states and of actions."""
        return len(patients()), NUM_ACTIONS

    def environment(self, name: str, seed: int, discount: float, horizon: int) -> Environment:
        """Return the environment; every instance is the same, and made once."""
        del seed
        return _environment(self, name, discount, horizon)

    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return the table; every instance is the same, and made once."""
        del rng
        return _table(self)

    def coordinates(self) -> np.ndarray:
        """Return the levels of a patient, ``[states, 8]``."""
        return np.array(patients(), dtype=float)


@lru_cache(4)
def _environment(
    world: SepsisSimulator, name: str, discount: float, horizon: int
) -> TabularEnvironment:
    mdp = world.mdp(np.random.default_rng(0))
    return TabularEnvironment.from_mdp(name, mdp, discount, horizon, world.coordinates())


@lru_cache(4)
def _table(world: SepsisSimulator) -> TabularMDP:
    highest = 1 if world.glucose_clamp == "published" else SIZES.glucose - 1
    states = patients()
    number = {patient: index for index, patient in enumerate(states)}
    rows = [[list(following(p, a, highest).items()) for a in range(NUM_ACTIONS)] for p in states]
    most = max(len(outcomes) for row in rows for outcomes in row)
    shape = (len(states), NUM_ACTIONS, most)
    probability, reward = np.zeros(shape), np.zeros(shape)
    next_state, terminated = np.zeros(shape, dtype=int), np.zeros(shape, dtype=bool)
    for at in np.ndindex(shape[:2]):
        for k, (after, likely) in enumerate(rows[at[0]][at[1]]):
            end = end_of(after)
            place = (*at, k)
            probability[place], terminated[place] = likely, end is not None
            reward[place], next_state[place] = end or 0.0, number.get(after, 0)
    start = np.zeros(len(states))
    for patient, likely in initial(world.diabetic).items():
        start[number[patient]] = likely
    return TabularMDP(probability, next_state, reward, terminated, start)
