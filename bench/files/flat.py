"""Files made flat: one column per file, so that a set larger than memory can be mapped.

A file is converted once. What comes out lies in the user's cache folder under a name made of the
file's own hash, so it is found again from anywhere and can never belong to other content.
"""

import errno
import hashlib
import json
import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
from pydantic import BaseModel, ValidationError

from bench.atomic import atomic_folder, atomic_write
from bench.data.storage import Storage, seal
from bench.errors import MissingData

# Part of every flat folder's name: raise it when the same file would be converted otherwise.
FORMAT = 3
CARD = "card.json"
CACHE_VARIABLE = "STACKELBERG_BENCH_CACHE"
# Clocks of file systems tick slowly: of a file younger than this, a change could go unnoticed.
SETTLED_SECONDS = 1.0


class UnusableFile(ValueError):
    """A file that cannot serve as a dataset; the message is a sentence without its full stop."""


class MissingFile(MissingData, UnusableFile):
    """A file that is not here and cannot be fetched."""


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
        terminal_successors: Whether it was recorded where steps that end an episode lead.
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
    terminal_successors: bool = True
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


class Columns:
    """Columns on their way into a folder, a part at a time and in order.

    They are written, not mapped: what has been written takes no memory, and a full disk is an error
    (writing into a mapped file, it would end the process).
    """

    def __init__(self, folder: Path, num_rows: int):
        """Take where the columns go and how many rows each of them will have."""
        self.folder, self.num_rows = folder, num_rows
        self.files: dict[str, BinaryIO] = {}
        self.written: dict[str, int] = {}

    def append(self, **parts: np.ndarray) -> None:
        """Write the next rows of some columns, each by its name in `Storage`."""
        for name, part in parts.items():
            if name not in self.files:
                self.files[name] = (self.folder / f"{name}.npy").open("wb")
                self.written[name] = 0
                header = {
                    "descr": np.lib.format.dtype_to_descr(part.dtype),
                    "fortran_order": False,
                    "shape": (self.num_rows, *part.shape[1:]),
                }
                np.lib.format.write_array_header_1_0(self.files[name], header)
            self.files[name].write(np.ascontiguousarray(part).data)
            self.written[name] += len(part)

    def __enter__(self) -> Self:
        """Return the columns, to be closed at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Close the files; each must have all of its rows by now."""
        for file in self.files.values():
            file.close()
        if error is None and set(self.written.values()) != {self.num_rows}:
            raise ValueError(f"of {self.num_rows} rows, there are {self.written}")


# Whoever trains on a file shares its columns for as long as anybody holds them.
_open: weakref.WeakValueDictionary[str, Flat] = weakref.WeakValueDictionary()


def flattened(key: str, convert: Callable[[Path], Card]) -> Flat:
    """Return the flat data of that key, converted unless it has been before.

    `convert` writes into a folder, one file per column of `Storage`. Whatever it raises, nothing
    stays behind. Of two processes that convert the same, the one that is last to finish is kept.
    """
    flat = _open.get(key)
    if flat is None:
        folder = _folder(key)
        flat = _load(folder)
        if flat is None:
            with atomic_folder(folder) as temporary:
                card = convert(temporary)
                (temporary / CARD).write_text(card.model_dump_json(), "utf-8")
                seal(temporary)
            flat = _load(folder)
        if flat is None:
            raise UnusableFile(f"{folder} was written and cannot be read back")
        _open[key] = flat
    return flat


def card_of(key: str, convert: Callable[[Path], Card]) -> Card:
    """Return what is known of the data of that key, without opening the columns if they are there.

    Whether they are whole is checked when they are opened.
    """
    return _read_card(_folder(key)) or flattened(key, convert).card


@contextmanager
def accessible() -> Iterator[None]:
    """Turn what keeps files from being read or written into one sentence."""
    try:
        yield
    except PermissionError as error:
        raise UnusableFile(f"{error.filename} may not be read or written here") from None
    except (IsADirectoryError, NotADirectoryError) as error:
        raise UnusableFile(f"{error.filename} should be a file in a folder") from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UnusableFile(
            f"There is no space left in {cache_folder()}: set {CACHE_VARIABLE} to a folder that "
            "has more"
        ) from None


def cache_folder() -> Path:
    """Return the folder for what is made of files, as the environment names it."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stackelberg-bench"


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, remembered for as long as its size and times of change stay.

    Raises:
        UnusableFile: If somebody writes to the file meanwhile.
    """
    state = _state(path)
    name = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]
    note = cache_folder() / "hashes" / name
    try:
        return note.read_text("utf-8")
    except FileNotFoundError:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    if _state(path) != state:
        raise UnusableFile(f"{path} is being written to: try again when it is complete")
    if time.time() - path.stat().st_ctime > SETTLED_SECONDS:
        with atomic_write(note) as out:
            out.write(digest.encode())
    return digest


def _state(path: Path) -> list[str | int]:
    found = path.stat()
    return [str(path.resolve()), found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _folder(key: str) -> Path:
    return cache_folder() / "flat" / f"{key}-{FORMAT}"


def _load(folder: Path) -> Flat | None:
    card = _read_card(folder)
    storage = None if card is None else Storage.load(folder)
    return None if card is None or storage is None else Flat(storage, card)


def _read_card(folder: Path) -> Card | None:
    try:
        return Card.model_validate_json((folder / CARD).read_text("utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
