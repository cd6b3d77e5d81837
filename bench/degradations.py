"""Ways of lowering coverage on purpose: ``(dataset, severity, rng, *, settings) -> dataset``.

For one seed the removed set grows with severity: each function draws the same order or region
from `rng` whatever the severity and removes a longer prefix or a larger part of it. Severity 0
removes nothing. Removing a transition ends the segment before it as a truncation.
"""

from typing import Literal

import numpy as np
from sklearn.cluster import KMeans

from bench.datasets import OfflineDataset
from bench.types import Count


def none(dataset: OfflineDataset, severity: float, rng: np.random.Generator) -> OfflineDataset:
    """Return the dataset as it is.

    Raises:
        ValueError: If the severity is above 0.
    """
    del rng
    if severity > 0:
        raise ValueError(f"coverage=none takes nothing away, so severity must be 0, not {severity}")
    return dataset


def thin(dataset: OfflineDataset, severity: float, rng: np.random.Generator) -> OfflineDataset:
    """Remove a share `severity` of the episodes in a random order; at least one stays."""
    episodes = np.unique(dataset.episode)
    removed = rng.permutation(episodes)[: min(_share(severity, len(episodes)), len(episodes) - 1)]
    return dataset.keep(~np.isin(dataset.episode, removed), f"thin({severity})")


def region(
    dataset: OfflineDataset,
    severity: float,
    rng: np.random.Generator,
    *,
    shape: Literal["slab", "ball"],
    dimension: str | None,
) -> OfflineDataset:
    """Remove transitions by their state; the transition that enters the region stays.

    Tabular: a share `severity` of the visited states that no episode starts in, in a random order.
    Elsewhere a share `severity` of the transitions: a ``slab`` between two quantiles of the named
    dimension (the first one if None), or a ``ball`` around a random observation in standardised
    coordinates.

    Raises:
        ValueError: If the dimension is not one of the observation's.
    """
    name = f"region({severity})"
    if dataset.spec.observation_kind == "discrete":
        candidates = np.setdiff1d(dataset.observation, dataset.observation[dataset.initial])
        removed = rng.permutation(candidates)[: _share(severity, len(candidates))]
        return dataset.keep(~np.isin(dataset.observation, removed), name)
    if shape == "slab":
        # The lower edge falls and the upper one rises with severity, so that slabs are nested.
        rank = _ranks(dataset.observation[:, _dimension(dataset, dimension)])
        lower = (1 - severity) * rng.random()
        return dataset.keep((rank < lower) | (rank >= lower + severity), name)
    standardized = _standardize(dataset.observation)
    distance = np.linalg.norm(standardized - standardized[rng.integers(len(dataset))], axis=1)
    return dataset.keep(_ranks(distance) >= severity, name)


def actions(
    dataset: OfflineDataset, severity: float, rng: np.random.Generator, *, num_cells: Count
) -> OfflineDataset:
    """Remove the comparator's action in a share `severity` of the cells, in a random order.

    Cells are the visited states of a tabular task, else `num_cells` k-means cells of the data.
    The comparator is the optimal policy, or the environment's reference policy.
    """
    if dataset.spec.observation_kind == "discrete":
        cell = dataset.observation
    else:
        clusters = KMeans(num_cells, n_init=1, random_state=int(rng.integers(2**31)))
        cell = clusters.fit_predict(_standardize(dataset.observation))
    cells = np.unique(cell)
    chosen = rng.permutation(cells)[: _share(severity, len(cells))]
    removed = np.isin(cell, chosen) & (dataset.action == dataset.comparator_action)
    return dataset.keep(~removed, f"actions({severity})")


def _share(severity: float, count: int) -> int:
    """Return `severity` times `count`, rounded half up (monotone in severity)."""
    return int(np.floor(severity * count + 0.5))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value divided by their number, in [0, 1)."""
    rank = np.empty(len(values))
    rank[np.argsort(values, kind="stable")] = np.arange(len(values))
    return rank / len(values)


def _standardize(observation: np.ndarray) -> np.ndarray:
    return (observation - observation.mean(0)) / (observation.std(0) + 1e-3)


def _dimension(dataset: OfflineDataset, dimension: str | None) -> int:
    names = dataset.spec.observation_names
    if dimension is None:
        return 0
    if dimension not in names:
        raise ValueError(
            f"coverage.dimension is {dimension!r}, but must be one of {', '.join(names)}"
        )
    return names.index(dimension)
