"""OfflineDataset: an immutable view of stored transitions, and what a source of data must give.

A view is storage plus ordered indices plus, where a degradation altered them, other rewards.
Degradations make new views; storage is never copied, so runs that share a source share its memory.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from bench.data.storage import Storage, episode_sums
from bench.types import EnvSpec

# Bytes of a column that are looked at a time, so that a mapped one is never in memory as a whole.
CHUNK_BYTES = 2**26


@dataclass(frozen=True, eq=False)
class OfflineDataset:
    """An ordered selection of stored transitions, with where it came from.

    Attributes:
        storage: The transitions of the source.
        spec: The world they come from.
        indices: ``[n]``, ascending positions in `storage`.
        provenance: The source's recipe and every degradation applied, in order.
        altered_reward: ``[len(storage)]``, rewards in place of the storage's; None if untouched.
        reserve: Worse episodes of the same world, where the source can supply them.
    """

    storage: Storage
    spec: EnvSpec
    indices: np.ndarray
    provenance: dict[str, Any] = field(default_factory=dict)
    altered_reward: np.ndarray | None = None
    reserve: "Reserve | None" = None

    @classmethod
    def full(
        cls,
        storage: Storage,
        spec: EnvSpec,
        provenance: dict[str, Any],
        reserve: "Reserve | None" = None,
    ) -> Self:
        """Return the view of everything that was collected."""
        return cls(storage, spec, np.arange(len(storage)), provenance, reserve=reserve)

    def __len__(self) -> int:
        """Return the number of transitions."""
        return len(self.indices)

    def keep(self, mask: np.ndarray, degradation: str) -> Self:
        """Return the view of the transitions where the mask ``[n]`` is True."""
        return self._degraded(degradation, indices=self.indices[mask])

    def with_rewards(self, reward: np.ndarray, degradation: str) -> Self:
        """Return the view with other rewards ``[n]``."""
        column = self._reward_column.copy()
        column[self.indices] = reward
        return self._degraded(degradation, altered_reward=column)

    def with_storage(self, storage: Storage, indices: np.ndarray, degradation: str) -> Self:
        """Return the view of another storage that begins with this one."""
        altered = self.altered_reward
        if altered is not None:
            altered = np.concatenate([altered, storage.reward[len(self.storage) :]])
        return self._degraded(degradation, storage=storage, indices=indices, altered_reward=altered)

    def _degraded(self, degradation: str, **changes: Any) -> Self:
        applied = [*self.provenance.get("degradations", []), degradation]
        provenance = {**self.provenance, "degradations": applied}
        return replace(self, provenance=provenance, **changes)

    def __getattr__(self, name: str) -> np.ndarray:
        """Return a column of the storage at this view's indices; all of it is not copied."""
        if name not in Storage.__dataclass_fields__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return self._at_indices(
            self._reward_column if name == "reward" else getattr(self.storage, name)
        )

    def rows(self, name: str, positions: np.ndarray | slice) -> np.ndarray:
        """Return some rows of a column, which may be mapped; no others are read."""
        column = self._reward_column if name == "reward" else getattr(self.storage, name)
        whole = len(self.indices) == len(self.storage)
        found: np.ndarray = column[positions if whole else self.indices[positions]]
        return found

    def chunks(self, name: str) -> Iterator[np.ndarray]:
        """Yield a column in parts, none of which takes much memory."""
        column = getattr(self.storage, name)
        size = max(1, CHUNK_BYTES // (column.itemsize * int(np.prod(column.shape[1:], dtype=int))))
        for start in range(0, len(self), size):
            yield self.rows(name, slice(start, start + size))

    @property
    def episode_return(self) -> np.ndarray:
        """Undiscounted return of the transition's whole episode, ``[n]``, cut parts included."""
        return self._at_indices(
            self.storage.episode_return
            if self.altered_reward is None
            else episode_sums(self.storage.episode, self.altered_reward)
        )

    @property
    def _reward_column(self) -> np.ndarray:
        return self.storage.reward if self.altered_reward is None else self.altered_reward

    def _at_indices(self, column: np.ndarray) -> np.ndarray:
        if len(self.indices) < len(self.storage):
            return column[self.indices]
        # Not copied, it may be larger than memory; nobody shall write into it.
        whole = column.view()
        whole.flags.writeable = False
        return whole

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

    def discounted_returns(self, discount: float) -> np.ndarray:
        """Return what `episode_returns` does, discounted from each episode's start."""
        storage = self.storage
        weights = discount ** storage.step.astype(np.float64)
        _, first = np.unique(self.episode, return_index=True)
        sums = episode_sums(storage.episode, weights * self._reward_column)
        return self._at_indices(sums)[first]

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content: two views have one fingerprint exactly if they hold the same."""
        digest = hashlib.sha256()
        # The comparator's action is knowledge about the world, not a part of the data.
        for name, stored in self.storage.columns.items():
            if name != "comparator_action":
                column = self._reward_column if name == "reward" else stored
                shape = (len(self), *column.shape[1:])
                digest.update(f"{name}:{column.dtype}:{shape}".encode())
                for part in self.chunks(name):
                    digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()[:16]


class Reserve:
    """Episodes of a worse behavior policy, as many transitions as a storage holds.

    They are made when first asked for and shared by every view of the storage.
    """

    def __init__(self, make: Callable[[float, str | None, int], Storage]):
        """Take a function of epsilon, dataset id and number of transitions."""
        self._make = make
        self._extended: dict[Any, Storage] = {}

    def seen_through(self, sense: Callable[[Storage], Storage]) -> "Reserve":
        """Return a reserve whose episodes are sensed as the data beside them is."""
        make = self._make
        return Reserve(lambda epsilon, name, size: sense(make(epsilon, name, size)))

    def extended(self, storage: Storage, epsilon: float, dataset_id: str | None) -> Storage:
        """Return the storage followed by at least as many transitions of the worse policy.

        Raises:
            ValueError: If the source has no such policy.
        """
        key = (id(storage), epsilon, dataset_id)
        if key not in self._extended:
            worse = self._make(epsilon, dataset_id, len(storage))
            self._extended[key] = storage.followed_by(worse)
        return self._extended[key]
