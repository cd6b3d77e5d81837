"""From a D4RL file to flat columns, in parts, so that the file may be larger than memory.

Transitions are those of ``d4rl.qlearning_dataset``, bit for bit: the last step of an episode that
timed out is dropped, since what followed it was not recorded, and so is the file's last row.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import h5py
import numpy as np

from bench.files.flat import Card, Columns, UnusableFile

# Raise it when the same file would be read otherwise.
READER_VERSION = 1
# Bytes of a column in single precision that are in memory at a time.
BYTES_AT_ONCE = 2**24
# Whole numbers beyond are something else than numbered actions.
MOST_ACTIONS = 100_000
REQUIRED = ("observations", "actions", "rewards", "terminals")

Boundaries = Literal["d4rl", "corrected"]


class Raw(NamedTuple):
    """A file's columns ``[rows, ...]``; observations and actions are not yet read."""

    observations: h5py.Dataset
    actions: h5py.Dataset
    rewards: np.ndarray
    terminals: np.ndarray
    timeouts: np.ndarray | None


def convert(path: Path, limit: int, boundaries: Boundaries, folder: Path) -> Card:
    """Write a file's transitions as columns into a folder and return what is known of them.

    Raises:
        UnusableFile: If the file is no D4RL file, damaged, or holds no usable number somewhere.
    """
    # Opened plainly first: h5py's own errors do not tell a missing right from a damaged file.
    path.open("rb").close()
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UnusableFile(
            f"{path} is no readable HDF5 file, it may be truncated: remove it and fetch it again"
        ) from error
    with file:
        with _reading(path):
            raw = _columns(path, file)
        keep, ends, crossing = kept_rows(raw.terminals, raw.timeouts, limit, boundaries)
        return _write(path, raw, keep, ends, folder).model_copy(update={"crossing": crossing})


def kept_rows(
    terminals: np.ndarray, timeouts: np.ndarray | None, limit: int, boundaries: Boundaries
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return which rows become transitions, which end an episode, and how many of them cross over.

    `terminals` and `timeouts` are ``[rows]`` bool. Without timeouts an episode ends after `limit`
    steps. d4rl counts one step too many after every termination, so that a later episode that times
    out is cut one step early, and its last row, paired with the next episode's first, becomes a
    transition. ``d4rl`` keeps that, ``corrected`` counts right; the number is of such transitions.
    """
    crossing = 0
    if timeouts is None:
        right = _timed_out(terminals, limit, first_step=0)
        timeouts = _timed_out(terminals, limit, first_step=1) if boundaries == "d4rl" else right
        crossing = int((right & ~timeouts & ~terminals)[:-1].sum())
    keep = ~timeouts
    keep[-1] = False
    return keep, terminals | timeouts, crossing


def _timed_out(terminals: np.ndarray, limit: int, first_step: int) -> np.ndarray:
    """Return where a counter of steps reaches the limit; terminations set it to `first_step`."""
    timed_out = np.zeros(len(terminals), dtype=bool)
    step = 0
    for row, ended in enumerate(terminals.tolist()):
        if step == limit - 1:
            timed_out[row] = True
            step = 0
        else:
            step = first_step if ended else step + 1
    return timed_out


def _columns(path: Path, file: h5py.File) -> Raw:
    """Return the columns, checked for presence, type and number of rows."""
    missing = [name for name in REQUIRED if not _is_column(file, name)]
    if missing:
        raise UnusableFile(
            f"{path} has no {', '.join(missing)}: a D4RL file has {', '.join(REQUIRED)}, this one "
            f"has {', '.join(file) or 'nothing'}"
        )
    found = {name: file[name] for name in REQUIRED}
    if _is_column(file, "timeouts"):
        found["timeouts"] = file["timeouts"]
    for name, column in found.items():
        if column.dtype.kind not in "fiub":
            raise UnusableFile(f"{path}: {name} has type {column.dtype}, but should hold numbers")
    rows = {name: column.shape[0] for name, column in found.items()}
    if len(set(rows.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in rows.items())
        raise UnusableFile(f"{path} should have as many rows of each column, but has {told}")
    if rows["rewards"] == 0:
        raise UnusableFile(f"{path} is empty, it should have at least one transition")
    return Raw(
        found["observations"],
        found["actions"],
        _numbers(path, found["rewards"]),
        _flags(path, found["terminals"]),
        _flags(path, found["timeouts"]) if "timeouts" in found else None,
    )


def _is_column(file: h5py.File, name: str) -> bool:
    """Return whether there is such a dataset, and not a group, a single value or a null."""
    column = file.get(name)
    return isinstance(column, h5py.Dataset) and bool(column.shape)


def _numbers(path: Path, column: h5py.Dataset) -> np.ndarray:
    """Return a column of one number per row, which may be stored as ``(N, 1)``."""
    if column.size != column.shape[0]:
        name = column.name.lstrip("/")
        raise UnusableFile(f"{path}: {name} has shape {column.shape}, but should be (N,) or (N, 1)")
    values: np.ndarray = column[:].reshape(-1)
    return values


def _flags(path: Path, column: h5py.Dataset) -> np.ndarray:
    values = _numbers(path, column)
    if not np.isin(values, (0, 1)).all():
        name = column.name.lstrip("/")
        raise UnusableFile(f"{path}: {name} should be 0 or 1 in every row")
    return values.astype(bool)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what HDF5 raises where a file is damaged into one sentence."""
    try:
        yield
    except UnusableFile:
        raise
    except Exception as error:
        raise UnusableFile(
            f"{path} is damaged and cannot be read to its end: remove it and fetch it again"
        ) from error


def _write(path: Path, raw: Raw, keep: np.ndarray, ends: np.ndarray, folder: Path) -> Card:
    rows = np.flatnonzero(keep)
    if len(rows) == 0:
        raise UnusableFile(f"{path} holds no transition, every row of it ends an episode")
    started = np.concatenate([[0], np.flatnonzero(ends[:-1]) + 1])
    episode = np.searchsorted(started, rows, side="right") - 1
    step = rows - started[episode]
    recorded = _single_precision(path, "rewards", raw.rewards, 0).astype(np.float64)
    reward, terminated = recorded[rows], raw.terminals[rows]
    with Columns(folder, len(rows)) as columns:
        columns.append(reward=reward, terminated=terminated, episode=episode, step=step)
        for part, block in _blocks(path, raw.observations, rows):
            columns.append(observation=block[part], next_observation=block[part + 1])
        num_actions, bounds = _write_actions(path, raw.actions, rows, columns)
    return Card(
        observation_size=_width(path, raw.observations),
        num_actions=num_actions,
        action_bounds=bounds,
        reward_min=float(reward.min()),
        reward_max=float(reward.max()),
        reward_only_at_end=bool(np.all((reward == 0) | terminated)),
        num_transitions=len(rows),
        longest_episode=int(step.max()) + 1,
        mean_return=_mean_return(recorded, started, bool(ends[-1])),
        terminal_successors=False,
    )


def _write_actions(
    path: Path, actions: h5py.Dataset, rows: np.ndarray, columns: Columns
) -> tuple[int, tuple[tuple[float, ...], tuple[float, ...]] | None]:
    """Write the actions; return their number, or their bounds where they are continuous."""
    if actions.dtype.kind in "iu" and actions.size == actions.shape[0]:
        with _reading(path):
            chosen = actions[:].reshape(-1).astype(np.int64)
        if chosen.min() < 0:
            raise UnusableFile(f"{path}: actions should be numbered from 0, but one is below")
        if chosen.max() >= MOST_ACTIONS:
            raise UnusableFile(
                f"{path}: actions should be numbered below {MOST_ACTIONS:,}, but one is "
                f"{chosen.max():,}"
            )
        columns.append(action=chosen[rows])
        return int(chosen.max()) + 1, None
    width = _width(path, actions)
    # Every simulator of D4RL takes -1 to 1; recorded actions may go beyond.
    low, high = np.full(width, -1.0), np.full(width, 1.0)
    for part, block in _blocks(path, actions, rows):
        columns.append(action=block[part])
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
    return 0, (tuple(low.tolist()), tuple(high.tolist()))


def _blocks(
    path: Path, column: h5py.Dataset, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield parts of a column in order, float32 ``[block, width]``.

    Before each comes where in it those of the rows are that it serves; the row after each of them
    is in the block as well.
    """
    name, width = column.name.lstrip("/"), _width(path, column)
    at_once = max(1, BYTES_AT_ONCE // (4 * width))
    for start in range(0, column.shape[0], at_once):
        stop = start + at_once
        first, last = np.searchsorted(rows, (start, stop))
        with _reading(path):
            raw = column[start : stop + 1].reshape(-1, width)
        yield rows[first:last] - start, _single_precision(path, name, raw, start)


def _single_precision(path: Path, name: str, values: np.ndarray, first_row: int) -> np.ndarray:
    """Return the values as float32, as d4rl does; refuse what is no finite number then."""
    with np.errstate(over="ignore", invalid="ignore"):
        single = values.astype(np.float32)
    bad = ~np.isfinite(single)
    if bad.any():
        row = first_row + int(np.argwhere(bad)[0, 0])
        raise UnusableFile(
            f"{path}: {name} should be finite numbers in single precision, but row {row} holds "
            f"{values[bad][0]}"
        )
    return single


def _width(path: Path, column: h5py.Dataset) -> int:
    """Return the length of a column's vectors; images and the like are flattened."""
    width = int(np.prod(column.shape[1:], dtype=int))
    if width == 0:
        name = column.name.lstrip("/")
        raise UnusableFile(f"{path}: {name} has shape {column.shape}, its rows hold nothing")
    return width


def _mean_return(reward: np.ndarray, started: np.ndarray, last_ended: bool) -> float:
    """Return the mean return of the episodes that ended; of all if none did."""
    returns = np.add.reduceat(reward, started)
    ended = returns if last_ended or len(returns) == 1 else returns[:-1]
    return float(ended.mean())
