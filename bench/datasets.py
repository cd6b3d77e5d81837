"""OfflineDataset: an immutable view of stored transitions, and what a source of data must give.

A view is storage plus ordered indices. Degradations make new views; storage is never copied, so
runs that share a source share its memory.
"""

import hashlib
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from bench.atomic import atomic_write
from bench.environments import Environment
from bench.types import EnvSpec


@dataclass(frozen=True, eq=False)
class Storage:
    """Transitions as collected, episode by episode, in order of time.

    Attributes:
        observation: ``[n]`` states (int64) or ``[n, dim]`` vectors (float32).
        action: ``[n]``, int64.
        reward: ``[n]``, float64.
        next_observation: Like `observation`.
        terminated: ``[n]`` bool, True where the bootstrap stops.
        episode: ``[n]``, which episode, ascending.
        step: ``[n]``, position in the episode as collected, 0 at its start.
        comparator_action: ``[n]``, what the comparator would have done at `observation`.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray
    terminated: np.ndarray
    episode: np.ndarray
    step: np.ndarray
    comparator_action: np.ndarray

    def __len__(self) -> int:
        """Return the number of transitions."""
        return len(self.action)

    @cached_property
    def episode_return(self) -> np.ndarray:
        """Undiscounted return of the transition's episode as collected, ``[n]``."""
        _, inverse = np.unique(self.episode, return_inverse=True)
        return np.bincount(inverse, weights=self.reward)[inverse]

    def save(self, path: Path) -> None:
        """Write a flat ``.npz`` under a temporary name and rename it."""
        with atomic_write(path) as file:
            np.savez(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Return the storage that `save` wrote, or None where there is none to be read."""
        try:
            with np.load(path) as arrays:
                return cls(**{f.name: arrays[f.name] for f in fields(cls)})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


@dataclass(frozen=True, eq=False)
class OfflineDataset:
    """An ordered selection of stored transitions, with where it came from.

    Attributes:
        storage: The transitions of the source.
        spec: The world they come from.
        indices: ``[n]``, ascending positions in `storage`.
        provenance: The source's recipe and every degradation applied, in order.
    """

    storage: Storage
    spec: EnvSpec
    indices: np.ndarray
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def full(cls, storage: Storage, spec: EnvSpec, provenance: dict[str, Any]) -> Self:
        """Return the view of everything that was collected."""
        return cls(storage, spec, np.arange(len(storage)), provenance)

    def __len__(self) -> int:
        """Return the number of transitions."""
        return len(self.indices)

    def keep(self, mask: np.ndarray, degradation: str) -> Self:
        """Return the view of the transitions where the mask ``[n]`` is True."""
        applied = [*self.provenance.get("degradations", []), degradation]
        provenance = {**self.provenance, "degradations": applied}
        return replace(self, indices=self.indices[mask], provenance=provenance)

    def __getattr__(self, name: str) -> np.ndarray:
        """Return a column of the storage at this view's indices."""
        if name in Storage.__dataclass_fields__ or name == "episode_return":
            return getattr(self.storage, name)[self.indices]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    @property
    def successor_missing(self) -> np.ndarray:
        """True where the view does not hold the next step of the same episode, ``[n]``."""
        follows = np.zeros(len(self), dtype=bool)
        episode, step = self.episode, self.step
        follows[:-1] = (episode[1:] == episode[:-1]) & (step[1:] == step[:-1] + 1)
        return ~follows

    @property
    def truncated(self) -> np.ndarray:
        """True where a segment ends without termination: a time limit, a cut or a hole."""
        return self.successor_missing & ~self.terminated

    @property
    def initial(self) -> np.ndarray:
        """True at the first step of an episode; what follows a hole is not initial, ``[n]``."""
        return self.step == 0

    @property
    def num_episodes(self) -> int:
        """Number of episodes of which at least one transition is left."""
        return len(np.unique(self.episode))

    @property
    def episode_returns(self) -> np.ndarray:
        """Returns, as collected, of the episodes still present, ``[num_episodes]``."""
        _, first = np.unique(self.episode, return_index=True)
        return self.episode_return[first]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content: two views have one fingerprint exactly if they hold the same."""
        digest = hashlib.sha256()
        # The comparator's action is knowledge about the world, not a part of the data.
        for name in Storage.__dataclass_fields__:
            if name != "comparator_action":
                column = np.ascontiguousarray(getattr(self, name))
                digest.update(f"{name}:{column.dtype}:{column.shape}".encode())
                digest.update(column.tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Task:
    """A dataset together with the world it came from, before anything is taken away.

    Attributes:
        environment: Where policies are evaluated.
        data: The full dataset.
        behavior_value: Value of the behavior policy in the environment's units of value.
        behavior_occupancy: ``[states, actions]`` where the MDP is known, else None.
    """

    environment: Environment
    data: OfflineDataset
    behavior_value: float
    behavior_occupancy: np.ndarray | None


class DataSource(ABC):
    """Settings from which a dataset is made or read."""

    @abstractmethod
    def load(self, name: str, seed: int, discount: float, cache: Path | None) -> Task:
        """Return the task that the seed names, using or filling the cache folder if given."""

    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """Return what, beside the configuration, decides the content: a version or a file hash."""
