"""Where transitions lie: in which cell of states, and how near to what the comparator does."""

from functools import lru_cache

import numpy as np

from bench.data.datasets import OfflineDataset
from bench.data.encoding import standard_scale
from bench.worlds.spaces import to_unit

# Of continuous actions, the share that counts as the comparator's own: those nearest to it.
NEAREST_SHARE = 0.5
# Standard deviations whose squares float32 can hold with all their digits.
SQUARED_IN_FLOAT32 = (1e-15, 1e15)


@lru_cache(8)  # every severity asks for those of the same data
def cells(dataset: OfflineDataset, num_cells: int, seed: int) -> np.ndarray:
    """Return the number of the k-means cell of every transition."""
    # Importing it takes a worker as long as all else together, and most never need it.
    from sklearn.cluster import KMeans

    clusters = KMeans(num_cells, n_init=1, random_state=seed)
    cell: np.ndarray = clusters.fit_predict(standardize(dataset.observation))
    return cell


def as_comparator(dataset: OfflineDataset) -> np.ndarray:
    """Return whether actions are the comparator's, ``[n]``; continuous ones if they are near."""
    bounds = dataset.spec.action_bounds
    if bounds is None:
        same: np.ndarray = dataset.action == dataset.comparator_action
        return same
    apart = to_unit(dataset.action, bounds) - to_unit(dataset.comparator_action, bounds)
    distance = np.linalg.norm(apart, axis=1)
    return distance <= np.quantile(distance, NEAREST_SHARE)


def standardize(observation: np.ndarray) -> np.ndarray:
    """Return observations ``[n, dim]`` with mean 0 and standard deviation 1 (0 if constant)."""
    with np.errstate(over="ignore"):
        std = observation.std(0)
    if not np.all((std > SQUARED_IN_FLOAT32[0]) & (std < SQUARED_IN_FLOAT32[1])):
        observation = observation.astype(np.float64)
        std = observation.std(0)
    mean = observation.mean(0)
    standard: np.ndarray = (observation - mean) / standard_scale(mean, std)
    return standard
