"""From a table of one's own to flat columns: whose names say what, and where episodes end."""

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.files.flat import Card, Columns, UnusableFile
from bench.files.tables import Table, read_table

# Raise it when the same file would be read otherwise.
READER_VERSION = 1

# What each column is called by D4RL, by Gymnasium and by Minari.
KNOWN = {
    "observations": ("observations", "observation", "obs"),
    "actions": ("actions", "action"),
    "rewards": ("rewards", "reward"),
    "terminals": ("terminals", "terminal", "terminations", "terminated"),
    "timeouts": ("timeouts", "timeout", "truncations", "truncated"),
    "next_observations": ("next_observations", "next_observation", "next_obs"),
    "episodes": ("episodes", "episode", "episode_id"),
}
REQUIRED = ("observations", "actions", "rewards", "terminals")
VECTORS = ("observations", "actions", "next_observations")

Name = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Names:
    """What a file calls its columns; null is a usual name, several are a vector's dimensions.

    Attributes:
        observations: Where the action was taken; whole numbers in one column are states.
        actions: Whole numbers in one column are numbered actions, all else is continuous.
        rewards: Of the step.
        terminals: Whether the episode ended by itself.
        timeouts: Whether it was cut.
        next_observations: Where the step led; without them the next row of the episode tells.
        episodes: A number per episode, beside or in place of timeouts.
    """

    observations: Name = None
    actions: Name = None
    rewards: Name = None
    terminals: Name = None
    timeouts: Name = None
    next_observations: Name = None
    episodes: Name = None


class Rows(NamedTuple):
    """A file's columns ``[rows, ...]`` as they are stored here."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    cut: np.ndarray
    next_observation: np.ndarray | None


def convert(path: Path, names: Names, folder: Path) -> Card:
    """Write a file's transitions as columns into a folder and return what is known of them.

    Raises:
        UnusableFile: If a column is missing, of another length or no finite numbers.
    """
    rows = _rows(path, _found(path, read_table(path), names))
    count = len(rows.reward)
    ends = rows.terminated | rows.cut
    ends[-1] = True
    started = np.concatenate([[0], np.flatnonzero(ends[:-1]) + 1])
    length = np.diff(np.append(started, count))
    episode = np.repeat(np.arange(len(started)), length)
    step = np.arange(count) - started[episode]
    # A step whose successor was not recorded is no transition, unless it has none.
    kept = np.flatnonzero(~ends | rows.terminated | (rows.next_observation is not None))
    if len(kept) == 0:
        raise UnusableFile(f"{path} holds no transition, every row of it ends an episode")
    following = rows.next_observation
    if following is None:
        following = np.where(_as(ends, rows.observation), rows.observation, _next(rows.observation))
    action, reward = rows.action[kept], rows.reward[kept]
    with Columns(folder, len(kept)) as columns:
        columns.append(
            observation=rows.observation[kept],
            next_observation=following[kept],
            action=action,
            reward=reward,
            terminated=rows.terminated[kept],
            episode=episode[kept],
            step=step[kept],
        )
    returns = np.add.reduceat(rows.reward, started)
    numbered = rows.action.ndim == 1
    states = rows.observation.ndim == 1
    seen = (
        rows.observation
        if rows.next_observation is None
        else np.append(rows.observation, rows.next_observation)
    )
    low, high = (tuple(np.atleast_1d(f(rows.action, 0)).tolist()) for f in (np.min, np.max))
    return Card(
        discrete_observations=states,
        observation_size=int(seen.max()) + 1 if states else rows.observation.shape[1],
        num_actions=int(rows.action.max()) + 1 if numbered else 0,
        action_bounds=None if numbered else (low, high),
        reward_min=float(reward.min()),
        reward_max=float(reward.max()),
        reward_only_at_end=bool(np.all((reward == 0) | rows.terminated[kept])),
        num_transitions=len(kept),
        longest_episode=int(length.max()),
        mean_return=float(returns.mean()),
        terminal_successors=rows.next_observation is not None,
    )


def _next(column: np.ndarray) -> np.ndarray:
    return np.concatenate([column[1:], column[-1:]])


def _as(flags: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return flags ``[rows]`` with the axes of a column."""
    return flags.reshape(-1, *(1,) * (column.ndim - 1))


def _found(path: Path, table: Table, names: Names) -> Table:
    """Return the columns by what they are, those of a vector's dimensions put together."""
    found = {}
    for field in fields(Names):
        given = getattr(names, field.name)
        column = _column(path, table, given, field.name)
        if column is not None:
            found[field.name] = column
    missing = [name for name in REQUIRED if name not in found]
    if missing:
        raise UnusableFile(
            f"{path} has no {', '.join(missing)}, but {', '.join(table) or 'nothing'}: "
            f"dataset.columns.{missing[0]} can name another column"
        )
    lengths = {name: len(column) for name, column in found.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{count} of {name}" for name, count in lengths.items())
        raise UnusableFile(f"{path} should have as many rows of each column, but has {told}")
    if lengths["rewards"] == 0:
        raise UnusableFile(f"{path} is empty, it should have at least one transition")
    return found


def _column(path: Path, table: Table, given: Name, role: str) -> np.ndarray | None:
    """Return what a file has for a role, None if nothing; what is named must be there."""
    wanted = (given,) if isinstance(given, str) else given
    if wanted:
        missing = [name for name in wanted if name not in table]
        if missing:
            raise UnusableFile(
                f"{path} has no column {', '.join(missing)} for dataset.columns.{role}, but "
                f"{', '.join(table)}"
            )
        return _together(path, [table[name] for name in wanted], role)
    for name in KNOWN[role]:
        if name in table:
            return table[name]
        if role in VECTORS:
            numbered = sorted(
                (int(key[len(name) + 1 :]), key)
                for key in table
                if re.fullmatch(rf"{name}_\d+", key)
            )
            if numbered:
                return _together(path, [table[key] for _, key in numbered], role)
    return None


def _together(path: Path, columns: list[np.ndarray], role: str) -> np.ndarray:
    """Return one column as it is, several of numbers as the dimensions of vectors."""
    if len(columns) == 1:
        return columns[0]
    if len({column.shape for column in columns}) > 1 or columns[0].ndim > 1:
        raise UnusableFile(f"{path}: the columns of {role} should have one number per row each")
    return np.stack(columns, axis=1).astype(np.float64)


def _rows(path: Path, found: Table) -> Rows:
    observation = _values(path, "observations", found["observations"])
    following = found.get("next_observations")
    if following is not None:
        following = _values(path, "next_observations", following)
        if following.shape != observation.shape or following.dtype != observation.dtype:
            raise UnusableFile(f"{path}: next_observations should be shaped like observations")
    reward = _single(path, "rewards", found["rewards"])
    cut = np.zeros(len(reward), dtype=bool)
    if "timeouts" in found:
        cut |= _flags(path, "timeouts", found["timeouts"])
    if "episodes" in found:
        episode = _single(path, "episodes", found["episodes"])
        cut[:-1] |= episode[1:] != episode[:-1]
    return Rows(
        observation,
        _values(path, "actions", found["actions"]),
        reward,
        _flags(path, "terminals", found["terminals"]),
        cut,
        following,
    )


def _values(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    """Return numbers from 0 where whole ones stand alone, else vectors in single precision."""
    if column.size == len(column) and column.dtype.kind in "iub":  # which may be (N, 1)
        if column.min() < 0:
            raise UnusableFile(f"{path}: {name} should be numbered from 0, but one is below")
        return column.reshape(-1).astype(np.int64)
    if column.size == 0:
        raise UnusableFile(f"{path}: {name} has shape {column.shape}, its rows hold nothing")
    with np.errstate(over="ignore", invalid="ignore"):
        single = column.reshape(len(column), -1).astype(np.float32)
    _refuse_infinite(path, name, column.reshape(len(column), -1), single)
    return single


def _single(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    """Return a column of one number per row, which may be stored as ``(N, 1)``."""
    if column.size != len(column):
        raise UnusableFile(f"{path}: {name} has shape {column.shape}, but should be (N,) or (N, 1)")
    values = column.reshape(-1).astype(np.float64)
    _refuse_infinite(path, name, values, values)
    return values


def _flags(path: Path, name: str, column: np.ndarray) -> np.ndarray:
    values = _single(path, name, column)
    if not np.isin(values, (0, 1)).all():
        raise UnusableFile(f"{path}: {name} should be 0 or 1 in every row")
    return values.astype(bool)


def _refuse_infinite(path: Path, name: str, values: np.ndarray, stored: np.ndarray) -> None:
    bad = ~np.isfinite(stored)
    if bad.any():
        row = int(np.argwhere(bad)[0, 0])
        raise UnusableFile(
            f"{path}: {name} should be finite numbers in single precision, but row {row} holds "
            f"{values[bad][0]}"
        )
