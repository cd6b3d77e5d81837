"""Files made flat: one column per file, so that a set larger than memory can be mapped.

A file is converted once. What comes out lies in the user's cache folder under a name made of the
file's own hash, so it is found again from anywhere and can never belong to other content.
"""

import hashlib
import json
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from bench.atomic import atomic_folder, atomic_write
from bench.storage import Storage, seal

# Part of every flat folder's name: raise it when the same file would be converted otherwise.
FORMAT = 1
CARD = "card.json"
CACHE_VARIABLE = "STACKELBERG_BENCH_CACHE"

NewColumn = Callable[[str, tuple[int, ...], type], np.ndarray]


class UnusableFile(ValueError):
    """A file that cannot serve as a dataset; the message is a sentence without its full stop."""


class Card(BaseModel):
    """What is known of a file's transitions as a whole.

    Attributes:
        discrete_observations: Whether observations are numbered states.
        observation_size: Number of states, or length of the observation vector.
        num_actions: Number of discrete actions; 0 where actions are continuous.
        action_bounds: Lowest and highest continuous action; None where actions are discrete.
        reward_min: Smallest reward.
        reward_max: Largest reward.
        reward_only_at_end: Whether every reward but 0 comes with a termination.
        num_transitions: Transitions that were formed.
        longest_episode: Steps of the longest episode.
        mean_return: Mean undiscounted return of the episodes that ended, as recorded.
        crossing: Transitions that lead from one episode into the next, as d4rl forms them.
        metadata: What the file says of where it came from.
    """

    discrete_observations: bool = False
    observation_size: int
    num_actions: int = 0
    action_bounds: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    reward_min: float
    reward_max: float
    reward_only_at_end: bool
    num_transitions: int
    longest_episode: int
    mean_return: float
    crossing: int = 0
    metadata: dict[str, object] = {}

    @property
    def shape(self) -> tuple[object, ...]:
        """What two files must share for their transitions to stand in one storage."""
        action_size = 0 if self.action_bounds is None else len(self.action_bounds[0])
        return self.discrete_observations, self.observation_size, self.num_actions, action_size


@dataclass(frozen=True, eq=False)
class Flat:
    """A file's transitions as columns, and what is known of them."""

    storage: Storage
    card: Card


# Whoever trains on a file shares its columns for as long as anybody holds them.
_open: weakref.WeakValueDictionary[str, Flat] = weakref.WeakValueDictionary()


def flattened(key: str, convert: Callable[[NewColumn], Card]) -> Flat:
    """Return the flat data of that key, converted unless it has been before.

    `convert` fills the columns that it asks for, one per field of `Storage`. Whatever it raises,
    nothing stays behind.
    """
    flat = _open.get(key)
    if flat is None:
        folder = cache_folder() / "flat" / f"{key}-{FORMAT}"
        flat = _load(folder)
        if flat is None:
            with atomic_folder(folder) as temporary:
                card = convert(partial(_new_column, temporary))
                (temporary / CARD).write_text(card.model_dump_json())
                seal(temporary)
            flat = _load(folder)
        if flat is None:
            raise UnusableFile(f"{folder} was written and cannot be read back")
        _open[key] = flat
    return flat


def cache_folder() -> Path:
    """Return the folder for what is made of files, as the environment names it."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stackelberg-bench"


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, remembered for as long as its size and time of change stay."""
    status = path.stat()
    state = [str(path.resolve()), status.st_size, status.st_mtime_ns]
    name = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]
    note = cache_folder() / "hashes" / name
    try:
        return note.read_text()
    except OSError:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    with atomic_write(note) as out:
        out.write(digest.encode())
    return digest


def _new_column(folder: Path, name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)


def _load(folder: Path) -> Flat | None:
    storage = Storage.load(folder)
    if storage is None:
        return None
    try:
        return Flat(storage, Card.model_validate_json((folder / CARD).read_text()))
    except (OSError, ValidationError):
        return None
