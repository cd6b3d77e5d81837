"""Functions on a grid: interpolated between its nodes, averaged over uniform noise without error.

A function that is linear between nodes is a sum of hat functions, one per node, whose integrals are
known. So an average over uniform noise is a matrix, and in the plane one matrix per axis.
"""

import numpy as np


def averages(
    nodes: np.ndarray,
    centers: np.ndarray,
    half_width: float,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> np.ndarray:
    """Return the matrix ``[centers, nodes]`` that averages a function over uniform noise.

    Row i times the function's values at the evenly spaced nodes is ``E[f(x) 1(x in within)]`` for
    ``x = clip(centers[i] + noise)``: noise is uniform within `half_width` of 0, and what it carries
    beyond an end of the grid stops there. With `f = 1` that is the probability of `within`.
    """
    spacing = nodes[1] - nodes[0]
    low, high = centers - half_width, centers + half_width
    first, last = np.clip([low, high], *np.clip(within, nodes[0], nodes[-1]))
    # The integral of each hat function up to where the noise ends, less that to where it begins.
    mass = spacing * (
        _hat_integral((last[:, None] - nodes) / spacing)
        - _hat_integral((first[:, None] - nodes) / spacing)
    )
    if within[0] <= nodes[0]:
        mass[:, 0] += np.clip(nodes[0] - low, 0, 2 * half_width)
    if within[1] >= nodes[-1]:
        mass[:, -1] += np.clip(high - nodes[-1], 0, 2 * half_width)
    return mass / (2 * half_width)


def _hat_integral(x: np.ndarray) -> np.ndarray:
    """Return the integral of ``max(0, 1 - |t|)`` up to x."""
    x = np.clip(x, -1, 1)
    return 0.5 + x - np.sign(x) * x**2 / 2


def interpolate(table: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return a table's values at places in units of its nodes, bilinear between them.

    Places beyond an edge are taken at the edge.
    """
    rows, columns = table.shape
    row, column = np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)
    i = np.minimum(row.astype(np.int64), rows - 2)
    j = np.minimum(column.astype(np.int64), columns - 2)
    down, right = row - i, column - j
    flat, at = table.reshape(-1), i * columns + j
    near = flat[at] * (1 - right) + flat[at + 1] * right
    far = flat[at + columns] * (1 - right) + flat[at + columns + 1] * right
    found: np.ndarray = near * (1 - down) + far * down
    return found
