"""Degradations that records of people call for: missing patients, rare decisions, missing events.

As all in `bench/data/degradations.py`: what is removed grows with severity.
"""

from typing import Literal

import numpy as np

from bench.data import places
from bench.data.datasets import OfflineDataset
from bench.data.degradations import share_of
from bench.types import Count

TERMINATION, REWARD = "termination", "reward"
"""Events that every world has."""


def patients(
    dataset: OfflineDataset, severity: float, rng: np.random.Generator, *, by: str | None
) -> OfflineDataset:
    """Remove a share `severity` of the patients, in a random order; at least one stays.

    A patient is whom the data names; where it names nobody, an episode. With `by`, it is all
    episodes that begin at the same value of that dimension of the observation (a weight, an age).
    """
    episodes, first, inverse = np.unique(dataset.episode, return_index=True, return_inverse=True)
    whose = episodes
    if by is None and dataset.storage.patient is not None:
        whose = dataset.rows("patient", first)
    if by is not None:
        column = dataset.rows("observation", first)[:, dataset.spec.observation_names.index(by)]
        whose = np.unique(column, return_inverse=True)[1]
    everyone = np.unique(whose)
    number = min(share_of(severity, len(everyone)), len(everyone) - 1)
    removed = rng.permutation(everyone)[:number]
    return dataset.keep(~np.isin(whose, removed)[inverse], f"patients({severity})")


def propensity(
    dataset: OfflineDataset, severity: float, rng: np.random.Generator, *, num_cells: Count
) -> OfflineDataset:
    """Remove the share `severity` of the transitions whose action is the rarest where it was taken.

    How rare is counted in the data: an action's share of a state's visits, or of those of one of
    `num_cells` k-means cells. Of continuous actions those go first that are farthest from the mean
    of their cell. Equal ones go in a random order.
    """
    if dataset.spec.observation_kind == "discrete":
        cell = dataset.observation
    else:
        cell = places.cells(dataset, num_cells, int(rng.integers(2**31)))
    cell = np.unique(cell, return_inverse=True)[1]
    if dataset.spec.action_kind == "continuous":
        likely = -_distance(cell, np.asarray(dataset.action, dtype=np.float64))
    else:
        pair = cell * dataset.spec.num_actions + dataset.action
        likely = np.bincount(pair)[pair] / np.bincount(cell)[cell]
    shuffled = rng.permutation(len(dataset))
    order = shuffled[np.argsort(likely[shuffled], kind="stable")]
    kept = np.ones(len(dataset), dtype=bool)
    kept[order[: share_of(severity, len(dataset))]] = False
    return dataset.keep(kept, f"propensity({severity})")


def events(
    dataset: OfflineDataset,
    severity: float,
    rng: np.random.Generator,
    *,
    event: str,
    above: float,
    unit: Literal["steps", "episodes"],
) -> OfflineDataset:
    """Remove a share `severity` of the steps, or episodes, in which an event happens.

    In a random order. An event is the `termination` of an episode, a `reward` that is not 0, or
    the named dimension of an observation `above` a number: a meal above 0.
    """
    happens = _happens(dataset, event, above)
    what = np.arange(len(dataset)) if unit == "steps" else dataset.episode
    candidates = np.unique(what[happens])
    removed = rng.permutation(candidates)[: share_of(severity, len(candidates))]
    return dataset.keep(~np.isin(what, removed), f"events({event}, {severity})")


def _happens(dataset: OfflineDataset, event: str, above: float) -> np.ndarray:
    """Return whether the event happens, ``[n]``."""
    if event == TERMINATION:
        return dataset.terminated
    if event == REWARD:
        return np.asarray(dataset.reward != 0)
    return np.asarray(dataset.observation[:, dataset.spec.observation_names.index(event)] > above)


def _distance(cell: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Return how far actions ``[n, size]`` are from the mean of their cell, in its deviations."""
    count = np.bincount(cell)[:, None]
    mean = np.stack([np.bincount(cell, column) for column in action.T], axis=1) / count
    apart = (action - mean[cell]) ** 2
    spread = np.stack([np.bincount(cell, column) for column in apart.T], axis=1) / count
    return np.asarray((apart / np.maximum(spread[cell], 1e-12)).sum(-1))
