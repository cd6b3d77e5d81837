"""What data covers of a world that is cut into cells, and what the best covered policy is worth.

A cell, a state of a grid with one of its actions, is covered if a transition lies within `RADIUS`
of it, in standard deviations of the full data, over observation and action together.
"""

from functools import lru_cache

import numpy as np
from scipy.spatial import KDTree

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.measures.comparator import frame

RADIUS = 0.4


@lru_cache(8)  # coverage and anchors of a view both ask
def covered_cells(task: Task, dataset: OfflineDataset) -> np.ndarray:
    """Return whether a view of the task's data covers the cells, ``[nodes, actions]``."""
    cells, coordinates = task.environment.cells, frame(task)
    assert cells is not None
    nodes, actions = cells.reward.shape
    points = coordinates.points(
        np.repeat(cells.observation, actions, axis=0),
        np.tile(cells.action, (nodes, 1)),
        np.arange(nodes * actions),
    )
    data = coordinates.transitions(dataset, dataset.indices)
    distance, _ = KDTree(data.vector).query(points.vector, distance_upper_bound=RADIUS)
    found: np.ndarray = np.isfinite(distance).reshape(nodes, actions)
    return found


def best_covered_value(task: Task, dataset: OfflineDataset) -> float:
    """Return the value of the best policy where a cell that is not covered is worth `v_min`.

    It is the optimum less what this costs on the grid, so that what the grid itself costs, some
    thousandths, is in no regret.
    """
    cells, optimum = task.environment.cells, task.environment.optimum
    assert cells is not None
    assert optimum is not None
    among_covered = cells.action_values(covered_cells(task, dataset), dataset.spec.v_min)
    return optimum - (cells.value(cells.optimal_values) - cells.value(among_covered))


def support_fraction(task: Task, dataset: OfflineDataset) -> float:
    """Return the share of the optimal policy's occupancy of cells that is on covered ones."""
    cells = task.environment.cells
    assert cells is not None
    return float(min(1.0, cells.optimal_occupancy[covered_cells(task, dataset)].sum()))
