"""From a Minari dataset to flat columns, episode by episode.

Minari stores one observation more than actions per episode, so nothing is dropped: the last
transition of an episode has its successor.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from minari import MinariDataset
from minari.dataset.minari_storage import MinariStorage

from bench.files.flat import Card, Columns, UnusableFile
from bench.files.trusted import trusted_spec
from bench.worlds.spaces import bounds, flat_space, flatten

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


def convert(dataset_id: str, source: Path, folder: Path) -> Card:
    """Write a dataset's transitions as columns into a folder and return what is known of them.

    Raises:
        UnusableFile: If it is no Minari dataset in HDF5, damaged, or holds other than numbers.
    """
    dataset = _opened(dataset_id, source)
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
    if total <= 0:
        raise UnusableFile(f"{dataset_id} is empty, it should have at least one transition")
    said = dataset.storage.metadata
    seen = Seen(dataset_id, total, exported="stackelberg_bench" in said)
    with Columns(folder, total) as columns:
        for episode in _episodes(dataset_id, dataset):
            seen.write(episode, columns)
        if seen.steps != total:
            raise UnusableFile(f"{dataset_id} should have {total} steps, but holds {seen.steps}")
    limits = None
    if chosen.num_values == 0:
        low, high = bounds(dataset.action_space)
        # Where the space is open, the data says how far actions go.
        limits = _finite(low, seen.action_min), _finite(high, seen.action_max)
    return Card(
        discrete_observations=observed.num_values > 0,
        observation_size=observed.num_values or observed.size,
        num_actions=chosen.num_values,
        action_bounds=limits,
        reward_min=seen.reward_min,
        reward_max=seen.reward_max,
        reward_only_at_end=seen.reward_only_at_end,
        num_transitions=total,
        longest_episode=seen.longest,
        mean_return=float(np.mean(seen.returns)),
        metadata={name: said[name] for name in METADATA if name in said},
    )


def _opened(dataset_id: str, folder: Path) -> MinariDataset:
    try:
        said = MinariStorage.read_raw_metadata(folder)
        spaces_known = {"observation_space", "action_space"} <= set(said)
        # Minari would make the environment that the file names to learn of its spaces.
        if not spaces_known and trusted_spec(said.get("env_spec")) is None:
            raise ValueError("its metadata has no spaces")
        stored = said.get("data_format")
        if stored != "hdf5":
            raise UnusableFile(f"{dataset_id} is stored as {stored}, but should be as hdf5")
        return MinariDataset(folder)
    except (PermissionError, UnusableFile):
        raise
    except Exception as error:
        raise UnusableFile(f"{folder} is no readable Minari dataset ({_cause(error)})") from error


@dataclass
class Seen:
    """What has been written so far of a dataset.

    Attributes:
        name: The dataset's id.
        total: Steps that there should be.
        exported: Whether this project wrote it, and said which segment belongs to which episode.
        of_patients: Whether episodes say whose they are; None before the first.
        steps: Steps written.
        episode: Number of the last episode.
        step: Number of its last step.
        longest: Steps of the longest episode.
        returns: Return of every episode.
    """

    name: str
    total: int
    exported: bool
    of_patients: bool | None = None
    steps: int = 0
    episode: int = -1
    step: int = -1
    longest: int = 0
    returns: list[float] = field(default_factory=list)
    reward_min: float = np.inf
    reward_max: float = -np.inf
    reward_only_at_end: bool = True
    action_min: np.ndarray | float = np.inf
    action_max: np.ndarray | float = -np.inf

    def write(self, episode: Episode, columns: Columns) -> None:
        """Write one more episode; what goes on after a termination in it is another one."""
        length = len(episode.reward)
        self.steps += length
        if self.steps > self.total:
            raise UnusableFile(f"{self.name} should have {self.total} steps, but holds more")
        if length == 0:
            return
        number, first_step = self._place(episode.attributes)
        patient = self._patient(episode.attributes)
        ended = np.concatenate([[0], np.cumsum(episode.terminated[:-1])])
        _, first = np.unique(ended, return_index=True)
        step = np.arange(length) - first[ended] + np.where(ended == 0, first_step, 0)
        columns.append(
            observation=episode.observation[:-1],
            next_observation=episode.observation[1:],
            action=episode.action,
            reward=episode.reward,
            terminated=episode.terminated,
            episode=number + ended,
            step=step,
            **({} if patient is None else {"patient": np.full(length, patient)}),
        )
        returns = np.add.reduceat(episode.reward, first).tolist()
        if number == self.episode:
            self.returns[-1] += returns.pop(0)
        self.returns += returns
        self.episode, self.step = number + int(ended[-1]), int(step[-1])
        self.longest = max(self.longest, int(step.max()) + 1)
        self.reward_min = min(self.reward_min, float(episode.reward.min()))
        self.reward_max = max(self.reward_max, float(episode.reward.max()))
        self.reward_only_at_end &= bool(np.all((episode.reward == 0) | episode.terminated))
        self.action_min = np.minimum(self.action_min, episode.action.min(0))
        self.action_max = np.maximum(self.action_max, episode.action.max(0))

    def _place(self, attributes: dict[str, Any]) -> tuple[int, int]:
        """Return the number of an episode and of its first step."""
        if not self.exported:
            return self.episode + 1, 0
        try:
            place = int(attributes["episode"]), int(attributes["first_step"])
        except (KeyError, TypeError, ValueError) as error:
            raise UnusableFile(f"{self.name} does not say where its segments belong") from error
        if place <= (self.episode, self.step) or place[1] < 0:
            raise UnusableFile(f"{self.name} has segments that are not in order")
        return place

    def _patient(self, attributes: dict[str, Any]) -> int | None:
        """Return the number of who an episode is of, None where nobody is named."""
        if not self.exported:
            return None
        named = "patient" in attributes
        if self.of_patients not in (None, named):
            raise UnusableFile(f"{self.name} names the patients of some of its episodes alone")
        self.of_patients = named
        try:
            return int(attributes["patient"]) if named else None
        except (TypeError, ValueError) as error:
            raise UnusableFile(f"{self.name} names patients other than by numbers") from error


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
    # Learners get rewards in single precision too, where large ones are infinite.
    with np.errstate(over="ignore"):
        single = {"reward": episode.reward.astype(np.float32)}
    single |= {"observation": episode.observation, "action": episode.action}
    for name, values in single.items():
        if not np.isfinite(values).all():
            raise UnusableFile(
                f"{where}: each {name} should be finite numbers in single precision, one is not"
            )
    return episode


def _readable(dataset_id: str, stored: Any) -> Iterator[Any]:
    """Yield what Minari reads, its errors turned into one sentence."""
    try:
        yield from stored
    except Exception as error:
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


def _finite(bound: tuple[float, ...], seen: np.ndarray | float) -> tuple[float, ...]:
    return tuple(np.where(np.isfinite(bound), bound, seen).tolist())


def _cause(error: Exception) -> str:
    return (" ".join(str(error).split())[:200] or type(error).__name__).rstrip(".")
