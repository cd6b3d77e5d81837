"""Swamp and cliff: grids against simulation, quadrature and finer grids, and what they say."""

import numpy as np
import pytest

from bench.worlds.base import rollout
from bench.worlds.continuous import plane
from bench.worlds.continuous.cliff_2d import Cliff2D
from bench.worlds.continuous.swamp import GOAL, Swamp

HORIZON = 60
SWAMP, CLIFF = Swamp(behavior_noise=0.1, noise=0.02, depth=2.0), Cliff2D(0.05, 0.03)
DISCOUNTS = {SWAMP: 0.95, CLIFF: 0.97}

worlds = pytest.mark.parametrize("world", [SWAMP, CLIFF], ids=["swamp", "cliff_2d"])


def environment(world):
    return world.environment("plane", 0, DISCOUNTS[world], HORIZON)


def simulated(env, act, num_episodes):
    """Return mean and standard error of discounted returns."""
    simulator = env.simulator([env], [np.random.default_rng(3)], num_episodes)
    steps = rollout(simulator, act, HORIZON)
    discount = env.spec.discount
    value = sum(discount**t * (s.reward * s.active)[0] for t, s in enumerate(steps))
    return value.mean(), value.std() / np.sqrt(num_episodes)


def toward(place, target):
    """Return the action straight to a target, as long as it can be."""
    return np.clip((np.asarray(target) - place) / plane.MOVE, -1, 1)


@worlds
def test_the_reference_policy_attains_the_grids_optimum(world):
    env = environment(world)
    mean, error = simulated(env, env.reference_action, 5000)
    # What a table's policy loses to the optimum: nothing to be seen in the swamp, .4 % at a cliff.
    tolerance = {SWAMP: 0.0001, CLIFF: 0.004}[world] * abs(env.optimum)
    assert abs(mean - env.optimum) < tolerance + 4 * error


@worlds
def test_the_uniform_policys_value_is_that_of_rollouts(world):
    env, draw = environment(world), np.random.default_rng(1)
    mean, error = simulated(env, lambda o: draw.uniform(-1, 1, o.shape), 40_000)
    assert abs(mean - env.uniform) < 4 * error


def test_the_values_are_the_known_ones():
    # 9.614 and .7536 were measured of references with 11 x 11 actions, which this one may beat.
    swamp, cliff = environment(SWAMP), environment(CLIFF)
    assert 9.614 < swamp.optimum < 9.63
    assert swamp.uniform == pytest.approx(-3.327, abs=0.01)
    assert 0.758 < cliff.optimum < 0.760
    assert cliff.uniform == pytest.approx(-0.447, abs=0.001)
    assert (swamp.spec.v_min, swamp.spec.v_max) == pytest.approx((-40, 20))
    assert (cliff.spec.v_min, cliff.spec.v_max) == (-1, 1)


def test_straight_through_the_swamp_or_nowhere_is_worse():
    env = environment(SWAMP)
    goal = [hill.center for hill in GOAL]
    mean, error = simulated(env, lambda o: toward(o, goal), 5000)
    assert abs(mean - 7.0) < 0.01 + 4 * error
    mean, error = simulated(env, np.zeros_like, 5000)
    assert abs(mean + 0.34) < 0.01 + 4 * error


@worlds
def test_a_step_is_expected_to_lead_where_the_grid_says(world):
    # With no steps after it a move is worth its reward alone.
    nodes = np.linspace(0, 1, 101)
    means = np.array([[-0.02, 0.1], [0.24, 0.24], [0.5, 0.1], [0.77, 0.21], [0.9, 0.19], [1.07, 0]])
    table = world.expectation(nodes, np.sort(means.ravel())).reward
    rng, order = np.random.default_rng(0), np.sort(means.ravel())
    for mean in means:
        place = np.clip(mean + rng.uniform(-world.noise, world.noise, (200_000, 2)), 0, 1)
        reward = world.outcome(place)[0]
        found = table[tuple(np.searchsorted(order, mean))]
        assert abs(found - reward.mean()) < 5 * reward.std() / np.sqrt(200_000) + 1e-12


@worlds
def test_what_follows_a_step_is_expected_as_often_as_it_goes_on(world):
    nodes = np.linspace(0, 1, 101)
    means = np.array([0.0, 0.22, 0.3, 0.76, 0.81])
    expectation = world.expectation(nodes, means)
    value = np.random.default_rng(1).normal(size=(101, 101))
    following = expectation.backup(value, 0.9) - expectation.reward
    as_matrix = 0.9 * (expectation.leads() @ value.ravel()).reshape(5, 5)
    np.testing.assert_allclose(following, as_matrix, atol=1e-12)
    rng = np.random.default_rng(0)
    for i, j in np.ndindex(5, 5):
        drawn = rng.uniform(-world.noise, world.noise, (100_000, 2))
        place = np.clip(means[[i, j]] + drawn, 0, 1)
        _, ended = world.outcome(place)
        worth = 0.9 * plane.interpolate(value, 100 * place[:, 0], 100 * place[:, 1]) * ~ended
        error = worth.std() / np.sqrt(100_000)
        assert abs(following[i, j] - worth.mean()) < 5 * error + 1e-12


def test_the_way_around_the_cliff_keeps_off_its_edge():
    env = environment(CLIFF)
    simulator = env.simulator([env], [np.random.default_rng(0)], 500)
    steps = list(rollout(simulator, env.reference_action, HORIZON))
    fallen = sum((step.reward < 0)[step.active].sum() for step in steps)
    arrived = sum((step.reward > 0)[step.active].sum() for step in steps)
    assert arrived >= 498
    assert fallen <= 2
    assert all(
        np.all(step.terminated[0] == (step.reward[0] != 0) & step.active[0]) for step in steps
    )


def test_walls_hold_and_moves_are_as_long_as_they_can_be():
    # Far beyond the bounds an action is what it is at the bound.
    state, nothing = np.array([[0.02, 0.97], [0.5, 0.9]]), np.zeros((2, 2))
    outcome = SWAMP.step(state, np.array([[-9.0, 9.0], [9.0, 0.0]]), nothing)
    np.testing.assert_allclose(outcome.state, [[0.0, 1.0], [0.58, 0.9]])
    assert not outcome.terminated.any()


def test_where_cliff_and_goal_are():
    inside = {-1.0: [(0.3, 0.0), (0.74, 0.24)], 1.0: [(0.81, 0.19), (1.0, 0.0)]}
    outside = [(0.24, 0.1), (0.76, 0.1), (0.5, 0.26), (0.9, 0.21), (0.79, 0.19)]
    for reward, places in {**inside, 0.0: outside}.items():
        rewards, ended = CLIFF.outcome(np.array(places))
        np.testing.assert_array_equal(rewards, reward)
        np.testing.assert_array_equal(ended, reward != 0)


@worlds
def test_a_coarser_grid_says_nearly_the_same(world):
    fine = plane.solve(world, DISCOUNTS[world], HORIZON).anchors
    coarse = plane.solve(world, DISCOUNTS[world], HORIZON, 100, 8).anchors
    assert coarse.optimum == pytest.approx(fine.optimum, abs=0.003)
    assert coarse.uniform == pytest.approx(fine.uniform, abs=0.02)


@pytest.mark.slow
@worlds
def test_a_finer_grid_says_the_same(world):
    used = plane.solve(world, DISCOUNTS[world], HORIZON).anchors
    finer = plane.solve(world, DISCOUNTS[world], HORIZON, 400, 32).anchors
    span = used.optimum - used.uniform
    assert abs(finer.optimum - used.optimum) < 0.001 * span
    assert abs(finer.uniform - used.uniform) < 0.001 * span
