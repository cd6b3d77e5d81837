"""SACo and TQ: how much of a space data visits, how good its episodes are (Schweighofer 2021)."""

from collections.abc import Sequence

import numpy as np

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.measures.regret import apart

BINS_PER_DIMENSION = 8


def saco(dataset: OfflineDataset, reference: OfflineDataset) -> float:
    """Return unique (state, action) cells relative to `reference`, whose quantiles fix the bins.

    Every dimension of a vector, observation or action, has `BINS_PER_DIMENSION` bins.
    """
    observation = _bin_edges(reference.observation)
    action = _bin_edges(reference.action)

    def num_cells(view: OfflineDataset) -> int:
        return num_distinct(
            [*_columns(view.observation, observation), *_columns(view.action, action)]
        )

    return num_cells(dataset) / num_cells(reference)


def _bin_edges(column: np.ndarray) -> np.ndarray | None:
    """Return the inner edges ``[dim, bins - 1]`` of vectors ``[n, dim]``, None for numbers."""
    if column.ndim == 1:
        return None
    levels = np.linspace(0, 1, BINS_PER_DIMENSION + 1)[1:-1]
    return np.quantile(column, levels, axis=0).T


def _columns(column: np.ndarray, edges: np.ndarray | None) -> list[np.ndarray]:
    if edges is None:
        return [column]
    return [np.searchsorted(edge, x) for edge, x in zip(edges, column.T, strict=True)]


def num_distinct(columns: Sequence[np.ndarray]) -> int:
    """Return how many different rows columns of integers ``[n]``, none negative, make up."""
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        size = int(column.max()) + 1
        if (int(key.max()) + 1) * size > np.iinfo(np.int64).max:
            # Numbered anew from 0, which rows go together stays as it is.
            key = np.unique(key, return_inverse=True)[1]
        key = key * size + column
    return len(np.unique(key))


def trajectory_quality(task: Task, dataset: OfflineDataset) -> tuple[float | None, str]:
    """Return the mean value of the data's episodes, 0 the uniform policy's, 1 the optimum's.

    TQ of Schweighofer et al. 2021, in the environment's units of value: discounted returns or
    undiscounted ones. An episode of which anything is left counts once
    and in full, as collected: what a hole has taken says nothing about who collected the rest.
    A step limit cuts what would have followed: where every step costs, that lifts the value.
    Rewards are the view's, altered ones included. Never clipped: chance or a better behavior policy
    than the reference leads above 1, a worse one than the uniform policy below 0.

    The second entry says why there is none.
    """
    best, uniform = task.environment.optimum, task.environment.uniform
    if best is None or uniform is None:
        return None, "the values of a reference and of the uniform policy are not both known"
    if not apart(best, uniform):
        return None, "the uniform policy is optimal"
    discount = task.environment.spec.discount if task.environment.discounted else 1.0
    return float((dataset.discounted_returns(discount).mean() - uniform) / (best - uniform)), ""
