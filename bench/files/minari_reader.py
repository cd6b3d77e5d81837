"""From a Minari dataset to flat columns, episode by episode.

Minari stores one observation more than actions per episode, so nothing is dropped: the last
transition of an episode has its successor.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from minari import MinariDataset

from bench.files.flat import Card, NewColumn, UnusableFile
from bench.files.spaces import FlatSpace, bounds, flat_space, flatten

# Raise it when the same files would be read otherwise.
READER_VERSION = 1
# What is kept of a dataset's metadata.
METADATA = ("ref_min_score", "ref_max_score", "env_spec", "eval_env_spec", "stackelberg_bench")


class Episode(NamedTuple):
    """One episode of ``length`` steps; `observation` has one row more."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    attributes: dict[str, Any]


def convert(dataset_id: str, folder: Path, new_column: NewColumn) -> Card:
    """Write a dataset's transitions as columns and return what is known of them.

    Raises:
        UnusableFile: If it is no Minari dataset in HDF5, damaged, or holds other than numbers.
    """
    try:
        dataset = MinariDataset(folder)
    except PermissionError:
        raise
    except Exception as error:
        raise UnusableFile(f"{folder} is no readable Minari dataset ({_cause(error)})") from error
    stored = dataset.storage.FORMAT
    if stored != "hdf5":
        raise UnusableFile(f"{dataset_id} is stored as {stored}, but should be as hdf5")
    try:
        observed, chosen = (
            flat_space(space) for space in (dataset.observation_space, dataset.action_space)
        )
    except ValueError as error:
        raise UnusableFile(f"{dataset_id} has {error}") from error
    if chosen.num_values == 0 and not isinstance(dataset.action_space, spaces.Box):
        kind = type(dataset.action_space).__name__
        raise UnusableFile(f"{dataset_id} has {kind} actions, but should have Discrete or Box")
    total = int(dataset.total_steps)
    if total == 0:
        raise UnusableFile(f"{dataset_id} is empty, it should have at least one transition")
    columns = _columns(total, observed, chosen, new_column)
    filled, returns = _fill(dataset_id, columns, _episodes(dataset_id, dataset), total)
    if filled != total:
        raise UnusableFile(f"{dataset_id} should have {total} steps, but holds {filled}")
    return _card(columns, observed, chosen, dataset, returns)


def _columns(
    total: int, observed: FlatSpace, chosen: FlatSpace, new_column: NewColumn
) -> dict[str, np.ndarray]:
    def column(name: str, kind: FlatSpace) -> np.ndarray:
        if kind.num_values:
            return new_column(name, (total,), np.int64)
        return new_column(name, (total, kind.size), np.float32)

    return {
        "observation": column("observation", observed),
        "next_observation": column("next_observation", observed),
        "action": column("action", chosen),
        "reward": new_column("reward", (total,), np.float64),
        "terminated": new_column("terminated", (total,), np.bool_),
        "episode": new_column("episode", (total,), np.int64),
        "step": new_column("step", (total,), np.int64),
    }


def _fill(
    dataset_id: str, columns: dict[str, np.ndarray], episodes: Iterator[Episode], total: int
) -> tuple[int, list[float]]:
    """Write the episodes one after the other; return the number of steps and each one's return."""
    at, number, returns = 0, 0, []
    for episode in episodes:
        length = len(episode.reward)
        stop = at + length
        if stop > total:
            raise UnusableFile(f"{dataset_id} should have {total} steps, but holds more")
        if length == 0:
            continue
        columns["observation"][at:stop] = episode.observation[:-1]
        columns["next_observation"][at:stop] = episode.observation[1:]
        columns["action"][at:stop] = episode.action
        columns["reward"][at:stop] = episode.reward
        columns["terminated"][at:stop] = episode.terminated
        # What goes on after a termination is another episode, whatever the file calls it.
        ended = np.concatenate([[0], np.cumsum(episode.terminated[:-1])])
        _, first = np.unique(ended, return_index=True)
        columns["episode"][at:stop] = int(episode.attributes.get("episode", number)) + ended
        columns["step"][at:stop] = np.arange(length) - first[ended]
        columns["step"][at:stop] += int(episode.attributes.get("first_step", 0))
        number = int(columns["episode"][stop - 1]) + 1
        returns.append(float(episode.reward.sum()))
        at = stop
    return at, returns


def _episodes(dataset_id: str, dataset: MinariDataset) -> Iterator[Episode]:
    storage, indices = dataset.storage, range(dataset.total_episodes)
    stored = zip(
        _readable(dataset_id, storage.get_episodes(indices)),
        _readable(dataset_id, storage.get_episode_metadata(indices)),
        strict=True,
    )
    for index, (episode, attributes) in enumerate(stored):
        yield _checked(f"{dataset_id}, episode {index}", dataset, episode, attributes)


def _checked(
    where: str, dataset: MinariDataset, stored: dict[str, Any], attributes: dict[str, Any]
) -> Episode:
    """Return an episode whose columns are as long and as finite as they should be."""
    reward, ended = (np.atleast_1d(np.squeeze(stored[k])) for k in ("rewards", "terminations"))
    if reward.ndim != 1 or reward.dtype.kind not in "fiub":
        raise UnusableFile(f"{where}: rewards should be one number per step")
    length = len(reward)
    if ended.shape != (length,):
        raise UnusableFile(f"{where} has {length} rewards, but {ended.size} terminations")
    observed, chosen = dataset.observation_space, dataset.action_space
    episode = Episode(
        observation=_flat(where, observed, stored, "observations", length + 1),
        action=_flat(where, chosen, stored, "actions", length),
        reward=reward.astype(np.float64),
        terminated=ended.astype(bool),
        attributes=attributes,
    )
    for name in ("observation", "action", "reward"):
        if not np.isfinite(getattr(episode, name)).all():
            raise UnusableFile(f"{where}: each {name} should be finite, but one is not")
    return episode


def _readable(dataset_id: str, stored: Any) -> Iterator[Any]:
    """Yield what Minari reads, its errors turned into one sentence."""
    try:
        yield from stored
    except (OSError, KeyError, ValueError, AssertionError, RuntimeError, TypeError) as error:
        raise UnusableFile(
            f"{dataset_id} cannot be read to its end ({_cause(error)}): fetch or export it again"
        ) from error


def _flat(where: str, space: Any, episode: dict[str, Any], name: str, length: int) -> np.ndarray:
    try:
        return flatten(space, episode[name], length)
    except (ValueError, KeyError) as error:
        raise UnusableFile(
            f"{where}: there should be {length} {name} of the space {space}, but there are {error}"
        ) from error


def _card(
    columns: dict[str, np.ndarray],
    observed: FlatSpace,
    chosen: FlatSpace,
    dataset: MinariDataset,
    returns: list[float],
) -> Card:
    reward, terminated = columns["reward"], columns["terminated"]
    limits = None
    if chosen.num_values == 0:
        action = columns["action"]
        low, high = bounds(dataset.action_space)
        # Where the space is open, the data says how far actions go.
        limits = (_finite(low, action.min(0)), _finite(high, action.max(0)))
    metadata = dataset.storage.metadata
    return Card(
        discrete_observations=observed.num_values > 0,
        observation_size=observed.num_values or observed.size,
        num_actions=chosen.num_values,
        action_bounds=limits,
        reward_min=float(reward.min()),
        reward_max=float(reward.max()),
        reward_only_at_end=bool(np.all((reward == 0) | terminated)),
        num_transitions=len(reward),
        longest_episode=int(columns["step"].max()) + 1,
        mean_return=float(np.mean(returns)),
        metadata={name: metadata[name] for name in METADATA if name in metadata},
    )


def _finite(bound: tuple[float, ...], seen: np.ndarray) -> tuple[float, ...]:
    return tuple(np.where(np.isfinite(bound), bound, seen).tolist())


def _cause(error: Exception) -> str:
    return (" ".join(str(error).split())[:200] or type(error).__name__).rstrip(".")
