"""From a patient's events to the steps of a decision process: an hour each."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.files.flat import Card, Columns, UnusableFile
from bench.files.readers.ohio_xml import Patient, read_patient

# Raise it when the same files would be read otherwise.
READER_VERSION = 1
HOUR = 3600.0
DAY = 86400.0
# Upper ends of the bins of units but the last; 0 has a bin of its own.
DOSE_BINS = (0.0, 4.0, 8.0, 12.0)
NAMES = (
    "glucose", "glucose_first", "glucose_mean", "glucose_min", "glucose_max", "glucose_std",
    "basal", "bolus", "bolus_before", "carbohydrates", "carbohydrates_before",
    "exercise", "finger_sticks", "time_sin", "time_cos",
)  # fmt: skip


class Segment(NamedTuple):
    """Consecutive hours: observations ``[n + 1, 15]``, dose bins ``[n]``, rewards ``[n]``."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray


def glycaemic_reward(glucose: np.ndarray, exponent: float) -> np.ndarray:
    """Return the reward of glucose in mg/dL: 0 from 80 to 140, below 0 elsewhere."""
    low = np.maximum(80 - glucose, 0) ** 2
    high = np.maximum(glucose - 140, 0) ** exponent
    return np.asarray(-(low + high) / 30)


def segments(patient: Patient, least_readings: int, exponent: float) -> list[Segment]:
    """Return a patient's segments: an hour with fewer glucose readings cuts, and none is filled in.

    What is observed is of the hour that has passed; the action is the bolus of the next hour, the
    reward that of the glucose with which it ends. Hours before the first basal rate do not count.
    """
    events = patient.events
    readings, basal = events["glucose_level"], events["basal"]
    if len(readings) == 0 or len(basal) == 0:
        return []
    first = np.floor(readings[0, 0] / HOUR) * HOUR
    edges = np.arange(first, readings[-1, 0] + 2 * HOUR, HOUR)
    bounds = np.searchsorted(readings[:, 0], edges)
    whole = (np.diff(bounds) >= least_readings) & (edges[:-1] >= basal[0, 0])
    bolus = np.diff(infused(events["bolus"], np.append(first - HOUR, edges)))
    carbs = _sums(events["meal"], np.append(first - HOUR, edges))
    phase = 2 * np.pi * (edges[1:] % DAY) / DAY
    rest = np.stack(
        [
            np.diff(basal_units(basal, events["temp_basal"], edges)),
            bolus[1:], bolus[:-1], carbs[1:], carbs[:-1],
            np.diff(exercised(events["exercise"], edges)),
            np.diff(np.searchsorted(events["finger_stick"][:, 0], edges)),
            np.sin(phase), np.cos(phase),
        ],
        axis=1,
    )  # fmt: skip
    found = []
    starts = np.flatnonzero(np.diff(np.concatenate([[0], whole, [0]]))).reshape(-1, 2)
    for begin, end in starts:
        if end - begin < 2:
            continue
        hours = range(begin, end)
        glucose = np.array([_shape(readings[bounds[h] : bounds[h + 1], 1]) for h in hours])
        observation = np.concatenate([glucose, rest[begin:end]], axis=1)
        # Rounded, since a dose that was spread and summed should not change its bin.
        dose = np.round(bolus[1:][begin + 1 : end], 6)
        reward = glycaemic_reward(glucose[1:, 0], exponent)
        found.append(Segment(observation, np.searchsorted(DOSE_BINS, dose), reward))
    return found


def basal_units(basal: np.ndarray, temporary: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the basal units given until each time, from the first time on.

    A rate holds until the next event; a temporary one overrides it between its begin and end, and
    of two that overlap the later to begin.
    """
    points = np.unique(np.concatenate([times, basal[:, 0], temporary[:, :2].ravel()]))
    middle = (points[1:] + points[:-1]) / 2
    latest = np.searchsorted(basal[:, 0], middle) - 1
    rate = np.where(latest < 0, 0.0, basal[np.maximum(latest, 0), 1])
    for begin, end, value in temporary:
        rate[(middle > begin) & (middle < end)] = value
    total = np.append(0, np.cumsum(rate * np.diff(points) / HOUR))
    return np.asarray(np.interp(times, points, total) - np.interp(times[0], points, total))


def infused(bolus: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the bolus units given before each time, each spread evenly over its interval."""
    total = np.zeros(len(times))
    for begin, end, dose in bolus:
        given = (times - begin) / (end - begin) if end > begin else times > begin
        total += dose * np.clip(given, 0, 1)
    return total


def exercised(exercise: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return the minutes of exercise before each time."""
    return np.asarray(sum(np.clip((times - at) / 60, 0, m) for at, m in exercise) + 0 * times)


def _sums(events: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.histogram(events[:, 0], edges, weights=events[:, 1])[0]


def _shape(glucose: np.ndarray) -> list[float]:
    return [
        glucose[-1],
        glucose[0],
        *(float(f(glucose)) for f in (np.mean, np.min, np.max, np.std)),
    ]


def convert(paths: list[Path], least_readings: int, exponent: float, folder: Path) -> Card:
    """Write the transitions of patients' files as columns; an episode is a segment.

    Raises:
        UnusableFile: If a file cannot be read, or there is no transition in any.
    """
    patients = [read_patient(path) for path in paths]
    ids = sorted({patient.id for patient in patients})
    found = [
        (ids.index(patient.id), segment)
        for patient in patients
        for segment in segments(patient, least_readings, exponent)
    ]
    if not found:
        raise UnusableFile(
            f"{paths[0].parent} holds no two hours on end with {least_readings} readings each"
        )
    reward = np.concatenate([s.reward for _, s in found])
    length = [len(s.reward) for _, s in found]
    with Columns(folder, len(reward)) as columns:
        for episode, (whose, s) in enumerate(found):
            count = len(s.reward)
            columns.append(
                observation=s.observation[:-1].astype(np.float32),
                next_observation=s.observation[1:].astype(np.float32),
                action=s.action.astype(np.int64),
                reward=s.reward,
                terminated=np.zeros(count, dtype=bool),
                episode=np.full(count, episode),
                step=np.arange(count),
                patient=np.full(count, whose),
            )
    return Card(
        observation_size=len(NAMES),
        num_actions=len(DOSE_BINS) + 1,
        reward_min=float(reward.min()),
        reward_max=float(reward.max()),
        reward_only_at_end=False,
        num_transitions=len(reward),
        longest_episode=max(length),
        mean_return=float(reward.sum() / len(found)),
        metadata={"patients": len(ids)},
    )
