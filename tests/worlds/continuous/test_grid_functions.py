"""Averages over uniform noise, interpolation and search on grids."""

import numpy as np
import pytest

from bench.worlds.continuous.grid import averages, interpolate
from bench.worlds.continuous.search import best_actions

NODES = np.linspace(0, 1, 11)
CENTERS = np.array([-0.3, -0.05, 0.0, 0.04, 0.31, 0.5, 0.77, 0.99, 1.02, 1.5])


def by_midpoints(center, half_width, values, within, count=200_000):
    """Return the average by many places where the noise ends."""
    place = center + half_width * ((2 * np.arange(count) + 1) / count - 1)
    place = np.clip(place, 0, 1)
    inside = (place >= within[0]) & (place <= within[1])
    return (np.interp(place, NODES, values) * inside).mean()


@pytest.mark.parametrize("half_width", [0.02, 0.1, 0.37])
@pytest.mark.parametrize(
    "within", [(-np.inf, np.inf), (0.25, 0.75), (0.33, np.inf), (-np.inf, 0.2)]
)
def test_averages_of_a_function_that_is_linear_between_nodes_are_exact(half_width, within):
    values = np.random.default_rng(0).normal(size=len(NODES))
    found = averages(NODES, CENTERS, half_width, within) @ values
    expected = [by_midpoints(center, half_width, values, within) for center in CENTERS]
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_averages_of_one_are_probabilities():
    everywhere = averages(NODES, CENTERS, 0.1)
    np.testing.assert_allclose(everywhere.sum(1), 1, atol=1e-14)
    assert everywhere.min() >= -1e-15
    halves = [averages(NODES, CENTERS, 0.1, part) for part in ((-np.inf, 0.43), (0.43, np.inf))]
    np.testing.assert_allclose(sum(halves), everywhere, atol=1e-14)


def test_interpolation_is_exact_at_nodes_and_bilinear_between():
    table = np.random.default_rng(0).normal(size=(4, 6))
    rows, columns = np.indices(table.shape)
    np.testing.assert_array_equal(interpolate(table, 1.0 * rows, 1.0 * columns), table)
    middle = interpolate(table, np.array(1.5), np.array(2.25))
    near = 0.75 * table[1, 2] + 0.25 * table[1, 3]
    far = 0.75 * table[2, 2] + 0.25 * table[2, 3]
    assert middle == pytest.approx((near + far) / 2)
    assert interpolate(table, np.array(-3.0), np.array(9.0)) == table[0, 5]


@pytest.mark.parametrize("size", [1, 2])
def test_the_search_finds_the_top_of_a_hill_or_the_nearest_edge(size):
    top = np.random.default_rng(0).uniform(-1.3, 1.3, (50, size))
    found = best_actions(lambda a: -((a - top[:, None]) ** 2).sum(-1), (50,), size)
    assert found.shape == (50, size)
    assert np.abs(found - np.clip(top, -1, 1)).max() <= 1 / 64
