"""Trajectories of a view of data: from the start of an episode to its end, or to a hole in it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.data.datasets import OfflineDataset


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Consecutive rows of a view, trajectory by trajectory.

    Attributes:
        first: ``[trajectories]``, the row that each begins with.
        length: ``[trajectories]``, transitions of each.
        terminated: ``[trajectories]``, whether the episode ended by itself.
        patient: ``[trajectories]``, whose each is, from 0; resampled together.
    """

    first: np.ndarray
    length: np.ndarray
    terminated: np.ndarray
    patient: np.ndarray

    def __len__(self) -> int:
        """Return their number."""
        return len(self.first)

    @property
    def num_patients(self) -> int:
        """How many patients they are of."""
        return len(np.unique(self.patient))

    @property
    def last(self) -> np.ndarray:
        """The row that each ends with ``[trajectories]``."""
        return self.first + self.length - 1

    def steps(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield, step by step, which trajectories have that step and their rows."""
        for time in range(int(self.length.max(initial=0))):
            present = np.flatnonzero(self.length > time)
            yield present, self.first[present] + time

    def sums(self, values: np.ndarray, discount: float) -> np.ndarray:
        """Return the discounted sum of values ``[rows]`` over each ``[trajectories]``."""
        found = np.zeros(len(self))
        for time, (present, rows) in enumerate(self.steps()):
            found[present] += discount**time * values[rows]
        return found


def trajectories_of(dataset: OfflineDataset, horizon: int | None) -> Trajectories:
    """Return what a view holds of episodes from their start on, no more than the horizon of each.

    What follows a hole began in no initial state, so that it is none.
    """
    missing, row = dataset.successor_missing, np.arange(len(dataset))
    begins = np.append(True, missing[:-1])
    first, last = row[begins], row[missing]
    initial = dataset.initial[first]
    first, length = first[initial], (last - first)[initial] + 1
    length = length if horizon is None else np.minimum(length, horizon)
    whose = dataset.episode if dataset.storage.patient is None else dataset.patient
    return Trajectories(
        first=first,
        length=length,
        terminated=dataset.terminated[first + length - 1],
        patient=np.unique(whose[first], return_inverse=True)[1],
    )
