"""Worlds cut into cells: against a small table by hand, finer grids and simulation."""

from functools import cache

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from bench.worlds.cells import Cells
from bench.worlds.continuous.cliff_2d import Cliff2D
from bench.worlds.continuous.lqr import LQR
from bench.worlds.continuous.pendulum import Pendulum
from bench.worlds.continuous.swamp import Swamp

WORLDS = {
    "swamp": (Swamp(0.1, 0.02, 2.0), 0.95, 60),
    "cliff_2d": (Cliff2D(0.1, 0.03), 0.97, 60),
    "pendulum": (Pendulum(0.1), 0.99, 200),
}


@cache
def environment_of(name):
    """Return the environment of a world, solved once."""
    world, discount, horizon = WORLDS[name]
    return world.environment(name, 0, discount, horizon)


worlds = pytest.mark.parametrize("name", WORLDS)


def by_hand():
    """Return two nodes: to stay is worth 1 and 0 there, to go leads across, and may end at 1."""
    return Cells(
        observation=np.array([[0.0], [1.0]]),
        action=np.array([[0.0], [1.0]]),
        reward=np.array([[1.0, 0.0], [0.0, 4.0]]),
        leads=csr_matrix(np.array([[1, 0], [0, 1], [0, 1], [0.5, 0]])),
        initial=np.array([1.0, 0.0]),
        discount=0.5,
        horizon=3,
    )


def test_values_and_occupancy_are_those_by_hand():
    cells = by_hand()
    # To go: 4 once, 4 + .5 .5 1 = 4.25 with a step after it; then from node 0 .5 * 4.25.
    expected = [[1 + 0.5 * 2, 0.5 * 4.25], [0.5 * 4.25, 4 + 0.25 * 2]]
    np.testing.assert_allclose(cells.optimal_values, expected)
    assert cells.value(cells.optimal_values) == 2.125
    # 0, then 1, then half of it is 0 again.
    visits = np.array([[0, 1 + 0.125], [0, 0.5]])
    np.testing.assert_allclose(cells.optimal_occupancy, visits / visits.sum())


def test_cells_without_data_are_worth_v_min():
    covered = np.array([[True, True], [True, False]])
    np.testing.assert_allclose(by_hand().action_values(covered, -10.0), [[1.75, 0.0], [0.0, -10.0]])
    nowhere = np.zeros((2, 2), dtype=bool)
    assert by_hand().value(by_hand().action_values(nowhere, -10.0)) == -10.0


@worlds
def test_a_coarse_grid_costs_less_than_half_a_hundredth(name):
    environment = environment_of(name)
    cells = environment.cells
    span = environment.optimum - environment.uniform
    assert abs(cells.value(cells.optimal_values) - environment.optimum) < 0.005 * span
    rows = np.asarray(cells.leads.sum(1))
    assert rows.min() > -1e-12
    assert rows.max() < 1 + 1e-12
    assert cells.initial.sum() == pytest.approx(1)


@worlds
def test_the_optimal_policy_visits_what_rollouts_of_the_reference_visit(name):
    environment = environment_of(name)
    steps = list(environment.reference_rollout(np.random.default_rng(0), 2000))
    weight = np.stack([environment.spec.discount**t * s.active[0] for t, s in enumerate(steps)])
    seen = np.stack([step.observation[0] for step in steps])
    mean = (weight[..., None] * seen).sum((0, 1)) / weight.sum()
    cells = environment.cells
    expected = cells.optimal_occupancy.sum(1) @ cells.observation
    # In units of a standard deviation of what is visited.
    spread = np.sqrt((weight[..., None] * (seen - mean) ** 2).sum((0, 1)) / weight.sum())
    assert np.all(np.abs(mean - expected) < 0.06 * spread)


def test_the_linear_world_has_no_grid():
    assert LQR(0.1, 1).environment("lqr", 0, 0.95, 100).cells is None
