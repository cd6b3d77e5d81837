"""Storage: transitions as collected, in memory or in memory-mapped files."""

import json
import zlib
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from bench.atomic import atomic_folder

# A larger column is mapped into memory instead of read; smaller ones would waste file handles.
MAPPED_BYTES = 2**26
CHECKSUMS = "checksums.json"


@dataclass(frozen=True, eq=False)
class Storage:
    """Transitions as collected, episode by episode, in order of time.

    Attributes:
        observation: ``[n]`` states (int64) or ``[n, dim]`` vectors (float32).
        action: ``[n]`` int64, or ``[n, action_size]`` float32 where actions are continuous.
        reward: ``[n]``, float64.
        next_observation: Like `observation`.
        terminated: ``[n]`` bool, True where the bootstrap stops.
        episode: ``[n]``, which episode, ascending.
        step: ``[n]``, position in the episode as collected, 0 at its start.
        comparator_action: Like `action`, what the comparator would have done at `observation`;
            None where no comparator is known.
        patient: ``[n]``, whose episode it is; None where each episode is of another one.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray
    terminated: np.ndarray
    episode: np.ndarray
    step: np.ndarray
    comparator_action: np.ndarray | None
    patient: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of transitions."""
        return len(self.action)

    @cached_property
    def episode_return(self) -> np.ndarray:
        """Undiscounted return of the transition's episode as collected, ``[n]``."""
        return episode_sums(self.episode, self.reward)

    def save(self, folder: Path) -> None:
        """Write one ``.npy`` file per column into a folder that appears as a whole."""
        with atomic_folder(folder) as temporary:
            for name, column in self.columns.items():
                np.save(temporary / f"{name}.npy", column)
            seal(temporary)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Return the storage in a folder, or None where there is none that can be read whole."""
        try:
            checksums = json.loads((folder / CHECKSUMS).read_text("utf-8"))
            if checksums != _checksums(folder):
                return None
            columns = {name: _read(folder / f"{name}.npy") for name in checksums}
            comparator = columns.pop("comparator_action", None)
            return cls(**columns, comparator_action=comparator)
        except (OSError, ValueError, TypeError):
            return None

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name, without the comparator's where none is known."""
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: column for name, column in named.items() if column is not None}

    def followed_by(self, other: Self) -> Self:
        """Return a storage that holds the other's episodes after its own."""
        joined = {
            name: np.concatenate([column, getattr(other, name)])
            for name, column in self.columns.items()
            if getattr(other, name) is not None
        }
        joined["episode"][len(self) :] += self.episode[-1] + 1 - other.episode[0]
        comparator = joined.pop("comparator_action", None)
        return type(self)(**joined, comparator_action=comparator)


def episode_sums(episode: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """Return per transition the sum of the rewards of its episode, ``[n]``."""
    _, inverse = np.unique(episode, return_inverse=True)
    return np.bincount(inverse, weights=reward)[inverse]


def seal(folder: Path) -> None:
    """Write the checksums of the columns in a folder, without which they are not loaded."""
    (folder / CHECKSUMS).write_text(json.dumps(_checksums(folder)), "utf-8")


def _checksums(folder: Path) -> dict[str, int]:
    """Return the CRC-32 of every column's file by name."""
    found = {}
    for path in sorted(folder.glob("*.npy")):
        checksum = 0
        with path.open("rb") as file:
            while part := file.read(2**20):
                checksum = zlib.crc32(part, checksum)
        found[path.stem] = checksum
    return found


def _read(path: Path) -> np.ndarray:
    mapped = path.stat().st_size > MAPPED_BYTES
    # Copy on write: arrays look writable, which torch asks for, and the file stays as it is.
    return np.asarray(np.load(path, mmap_mode="c" if mapped else None))
