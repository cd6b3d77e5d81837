"""Comparator steps and transitions as points of one space: what estimates of coverage look at.

Nothing here needs to know the MDP. States of tabular tasks become the vectors that their
environment says (`Environment.coordinates`), so that estimates can be held against exact measures.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bench import seeding
from bench.data.datasets import OfflineDataset
from bench.data.encoding import ORDINARY_STD, STD_EPSILON, moments, standard_scale
from bench.data.sources import Task
from bench.worlds.base import Environment

REFERENCE, BEST_EPISODES = "reference policy", "best tenth of the episodes"
BEST_SHARE = 10
COMPARATOR_EPISODES = 8
COMPARATOR_STRIDE = 5
# Where values are discounted few steps of an episode count, so that more episodes are needed.
DISCOUNTED_EPISODES = 256
# Beyond these sizes a random part stands for the whole: cost and memory are bounded.
MOST_COMPARATOR_STEPS = 2_000
MOST_TRANSITIONS = 2_000
MOST_NEIGHBORS = 20_000


class SamplePoints(NamedTuple):
    """Pairs of observation and action.

    Attributes:
        vector: ``[n, dim]``, coordinates standardised on the full data; continuous actions are
            among them.
        action: ``[n]``, the discrete action, 0 for all points where actions are continuous.
        position: ``[n]``, points of adjacent positions follow each other in time; a transition's is
            its index in the storage.
    """

    vector: np.ndarray
    action: np.ndarray
    position: np.ndarray

    def at(self, selected: np.ndarray) -> "SamplePoints":
        """Return the points that an index or a mask selects."""
        return SamplePoints(*(column[selected] for column in self))

    def joined(self, num_actions: int) -> np.ndarray:
        """Return ``[n, dim + num_actions]``, the vector beside the one-hot action."""
        return np.concatenate([self.vector, np.eye(max(num_actions, 1))[self.action]], axis=1)


@dataclass(frozen=True)
class Samples:
    """What the estimates of one degraded view are made from.

    Attributes:
        comparator: Steps of the policy whose coverage is asked for, as its value weighs them.
        data: Random transitions of the view.
        neighbors: Random transitions of the full data, then those that replaced some of them.
        left: ``[neighbors]``, True where the view holds the transition.
        collected: ``[neighbors]``, True where the full data holds the transition.
        num_actions: Number of discrete actions, 0 where they are continuous.
    """

    comparator: SamplePoints
    data: SamplePoints
    neighbors: SamplePoints
    left: np.ndarray
    collected: np.ndarray
    num_actions: int


def comparator_name(task: Task) -> str:
    """Return whose coverage is measured."""
    known = task.data.storage.comparator_action is not None
    return REFERENCE if known else BEST_EPISODES


def draw(task: Task, dataset: OfflineDataset) -> Samples:
    """Return samples of the comparator, of the full data and of a view of it.

    For one seed they are the same whatever the view, as far as the view has them.
    """
    coordinates, full = frame(task), task.data
    seed = int(full.provenance["seed"])
    neighbors = _subset(full.indices, MOST_NEIGHBORS, seed, "neighbors")
    replaced = np.setdiff1d(dataset.indices, full.indices, assume_unique=True)
    # As sparse as the others are.
    share = len(neighbors) / len(full)
    added = _subset(replaced, round(share * len(replaced)), seed, "replaced")
    rows = np.concatenate([neighbors, added])
    data = _subset(dataset.indices, MOST_TRANSITIONS, seed, "data")
    return Samples(
        comparator=_comparator(task),
        data=coordinates.transitions(dataset, data),
        neighbors=coordinates.transitions(dataset, rows),
        left=np.isin(rows, dataset.indices),
        collected=np.arange(len(rows)) < len(neighbors),
        num_actions=full.spec.num_actions,
    )


@lru_cache(8)  # every view of the same data is looked at in it
def frame(task: Task) -> "Frame":
    """Return the coordinates of the full data."""
    return Frame(task)


@lru_cache(8)
def _comparator(task: Task) -> SamplePoints:
    """Return the comparator's steps."""
    return frame(task).points(*_comparator_steps(task))


class Frame:
    """The coordinates in which the full data has mean 0 and standard deviation 1."""

    def __init__(self, task: Task):
        """Measure the full data."""
        self.continuous = task.data.spec.action_kind == "continuous"
        self.table = _state_vectors(task)
        self.mean, std = moments(task.data)
        if self.table is not None:
            # Moments of states are shares of visits and their spread; of vectors are wanted.
            share, self.mean = self.mean, self.mean @ self.table
            std = np.sqrt(share @ (self.table - self.mean) ** 2)
        self.scale = _finite_scale(self.mean, std)
        if self.continuous:
            self.action_mean = task.data.action.mean(0, dtype=np.float64)
            action_std = task.data.action.std(0, dtype=np.float64)
            self.action_scale = _finite_scale(self.action_mean, action_std)

    def points(
        self, observation: np.ndarray, action: np.ndarray, position: np.ndarray
    ) -> SamplePoints:
        """Return the points of observations, actions and positions ``[n, ...]``."""
        raw = observation if self.table is None else self.table[observation]
        vector = (raw - self.mean) / self.scale
        if not self.continuous:
            return SamplePoints(vector, action, position)
        acted = (action - self.action_mean) / self.action_scale
        joined = np.concatenate([vector, acted], axis=1)
        return SamplePoints(joined, np.zeros(len(joined), dtype=np.int64), position)

    def transitions(self, dataset: OfflineDataset, rows: np.ndarray) -> SamplePoints:
        """Return the transitions at indices of the storage."""
        storage = dataset.storage
        return self.points(storage.observation[rows], storage.action[rows], rows)


def _finite_scale(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return what standardises columns; of a constant one, so little that all else is far from it.

    A comparator that leaves what never varies in the data is not covered. Where the constant is 0
    nothing tells its units: a policy that can differ from the data there is that of a world of this
    project's, whose units are ordinary.
    """
    scale = standard_scale(mean, std)
    size = np.where(mean == 0, ORDINARY_STD, np.minimum(np.abs(mean), ORDINARY_STD))
    return np.where(np.isfinite(scale), scale, STD_EPSILON * size / ORDINARY_STD)


def _state_vectors(task: Task) -> np.ndarray | None:
    """Return the vectors ``[states, dim]`` of discrete states, None where there are none."""
    if task.data.spec.observation_kind == "vector":
        return None
    coordinates = task.environment.coordinates
    return np.eye(task.data.spec.observation_size) if coordinates is None else coordinates


def _comparator_steps(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return observations, actions and positions of the comparator's steps."""
    if comparator_name(task) == BEST_EPISODES:
        rows = _evenly(best_episodes(task.data), MOST_COMPARATOR_STEPS)
        storage = task.data.storage
        return storage.observation[rows], storage.action[rows], rows
    seed = int(task.data.provenance["seed"])
    if not task.environment.discounted:
        return _undiscounted_steps(task.environment, seed)
    return _discounted_steps(task.environment, seed)


def best_episodes(dataset: OfflineDataset) -> np.ndarray:
    """Return the storage indices of the tenth of the episodes, at least one, that return most."""
    episodes, returns = np.unique(dataset.episode), dataset.episode_returns
    best = np.argsort(-returns, kind="stable")[: max(1, len(episodes) // BEST_SHARE)]
    return dataset.indices[np.isin(dataset.episode, episodes[best])]


def _undiscounted_steps(
    environment: Environment, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return steps along a few rollouts of the reference policy, all weighed alike."""
    rng = seeding.numpy_generator("coverage", seed)
    steps = list(environment.reference_rollout(rng, COMPARATOR_EPISODES))
    active = np.stack([step.active for step in steps])
    observation = np.stack([step.observation for step in steps])[active]
    action = np.stack([step.action for step in steps])[active]
    # [time, 1, episode]: a rollout's steps are that many apart, unlike those of the data.
    time, _, episode = np.nonzero(active)
    position = -1 - (episode * len(steps) + time)
    # Steps of one rollout are much alike; every few of them say as much and cost less.
    few = slice(None, None, COMPARATOR_STRIDE)
    return observation[few], action[few], position[few]


def _discounted_steps(
    environment: Environment, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return steps of the reference policy; each is kept with probability ``discount^t``.

    That makes them draws from its discounted occupancy, which exact measures are of, but for what
    lies beyond the step limit.
    """
    rng = seeding.numpy_generator("coverage", seed)
    columns: list[tuple[np.ndarray, ...]] = []
    horizon, discount = environment.spec.horizon, environment.spec.discount
    for time, step in enumerate(environment.reference_rollout(rng, DISCOUNTED_EPISODES)):
        kept = step.active[0] & (rng.random(DISCOUNTED_EPISODES) < discount**time)
        position = -1 - (np.flatnonzero(kept) * horizon + time)
        columns.append((step.observation[0, kept], step.action[0, kept], position))
    observation, action, position = map(np.concatenate, zip(*columns, strict=True))
    chosen = _subset(np.arange(len(position)), MOST_COMPARATOR_STEPS, seed, "comparator")
    return observation[chosen], action[chosen], position[chosen]


def _subset(rows: np.ndarray, most: int, seed: int, name: str) -> np.ndarray:
    """Return at most so many random rows in their order, all of them if they are no more."""
    if len(rows) <= most:
        return rows
    rng = seeding.numpy_generator("coverage", seed, name)
    return rows[np.sort(rng.permutation(len(rows))[:most])]


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many rows, evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
