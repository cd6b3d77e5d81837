"""Estimates of coverage, against closed forms, exact measures of tables and slow loops."""

from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bench import seeding
from bench.data.collected import Collected
from bench.data.degradations import actions, quality, region, thin
from bench.measures import comparator as samples
from bench.measures import coverage, estimates
from bench.measures.comparator import SamplePoints, Samples
from bench.measures.estimates import (
    effective_sample_size,
    folds,
    inverse_mean_ratio,
    inverse_relative_condition_number,
    max_ratio_inverse,
    nearest_neighbor_support,
)
from bench.worlds.base import rollout
from bench.worlds.mdps import Garnet
from tests.support.worlds import cartpole_task, cliff_task, continuous_task, slow_occupancy

SEVERITIES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


def rng(seed=0):
    return np.random.default_rng(seed)


def points(vector, action=None, start=0):
    """Return points in time order, of one action unless said otherwise."""
    n = len(vector)
    action = np.zeros(n, dtype=int) if action is None else action
    return SamplePoints(np.asarray(vector, dtype=float), action, start + np.arange(n))


def between(comparator, data, num_actions=0):
    """Return samples of nothing but two sets of points, all data being left."""
    everything = np.ones(len(data.action), dtype=bool)
    return Samples(comparator, data, data, everything, everything, num_actions)


# Effective sample size


def ess(comparator, data):
    return inverse_mean_ratio(
        comparator, data, *folds(-1 - np.arange(len(comparator)), np.arange(len(data)))
    )


@pytest.mark.parametrize("shift", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("dim", [1, 3])
def test_effective_sample_size_of_shifted_gaussians(shift, dim):
    # E_mu[(d / mu)^2] = exp(shift^2) for unit variances.
    found = []
    for seed in range(3):
        data = rng(seed).normal(size=(2000, dim))
        comparator = rng(seed + 9).normal(size=(2000, dim)) + shift * np.eye(dim)[0]
        found.append(ess(comparator, data))
    assert np.median(np.log(found)) == pytest.approx(-(shift**2), abs=0.35)


@pytest.mark.parametrize("sizes", [(2000, 2000), (300, 2000), (2000, 300)])
def test_effective_sample_size_of_one_distribution_is_one(sizes):
    comparator, data = (rng(n).normal(size=(n, 2)) for n in (sizes[0], sizes[1] + 1))
    assert ess(comparator, data) == pytest.approx(1, abs=0.1)


def test_effective_sample_size_sees_comparator_mass_where_there_is_no_data():
    # Half of the comparator lies on the data: Kish's formula over the data alone would give 1.
    data = rng(0).normal(size=(2000, 2))
    comparator = rng(1).normal(size=(2000, 2))
    comparator[::2, 0] += 30
    assert 0 < ess(comparator, data) < 0.05


def test_effective_sample_size_of_apart_distributions_is_near_zero_and_never_an_infinity():
    apart = rng(1).normal(size=(1000, 2)) + 50
    found = ess(apart, rng(0).normal(size=(1000, 2)))
    assert 1 / 1000 <= found < 0.01


def test_effective_sample_size_of_a_share_of_the_data_is_that_share():
    # All of the comparator lies in a quarter of the data: E_d[d / mu] = 4.
    data, comparator = rng(0).random((2000, 2)), rng(1).random((2000, 2))
    comparator[:, 0] /= 4
    assert ess(comparator, data) == pytest.approx(0.25, rel=0.1)


def test_effective_sample_size_of_pairs_of_state_and_action():
    # Uniform over two states and four actions, of which the comparator takes the first.
    state, action = rng(0).integers(2, size=2000), rng(1).integers(4, size=2000)
    data = points(state[:, None], action)
    comparator = points(rng(2).integers(2, size=(1000, 1)), start=-1000)
    found = effective_sample_size(between(comparator, data, 4))
    assert found == pytest.approx(0.25, rel=0.1)


def test_too_few_points_have_no_density_ratio():
    many, few = points(rng().normal(size=(300, 2))), points(rng().normal(size=(49, 2)))
    assert effective_sample_size(between(many, few)) is None
    assert effective_sample_size(between(few, many)) is None
    assert effective_sample_size(between(many, points(rng().normal(size=(50, 2))))) is not None


@pytest.mark.parametrize("sizes", [(50, 50), (50, 2000), (2000, 50), (777, 1234)])
def test_every_fold_has_points_of_both_sides_and_a_transition_is_in_one_fold(sizes):
    data = np.arange(sizes[1])
    inside = np.sort(rng().permutation(max(sizes))[: sizes[0]])
    for comparator in (-1 - np.arange(sizes[0]), inside):
        left, right = folds(comparator, data)
        assert (np.bincount(left, minlength=4) > 0).all()
        assert (np.bincount(right, minlength=4) > 0).all()
        of_row = dict(zip(data.tolist(), right.tolist(), strict=True))
        for row, fold in zip(comparator.tolist(), left.tolist(), strict=True):
            assert of_row.get(row, fold) == fold
    long = folds(-1 - np.arange(2000), np.arange(2000))[1]
    assert (np.diff(long) != 0).mean() < 0.03


# Relative condition number


def test_with_one_hot_features_the_condition_number_is_the_concentrability():
    for seed in range(10):
        d, mu = rng(seed).dirichlet(np.ones(12), size=2)
        blocks = [[np.diag(part) for part in share.reshape(3, 4)] for share in (d, mu)]
        assert max_ratio_inverse(*blocks, ridge=0.0) == pytest.approx((mu / d).min())


def test_the_condition_number_is_the_largest_ratio_over_directions():
    features = [rng(seed).normal(size=(200, 5)) * np.arange(1, 6) for seed in (0, 1)]
    d, mu = ([x.T @ x / len(x)] for x in features)
    direction = rng(2).normal(size=(200_000, 5))
    ratio = np.einsum("ni,ij,nj->n", direction, d[0], direction) / np.einsum(
        "ni,ij,nj->n", direction, mu[0], direction
    )
    found = max_ratio_inverse(d, mu, ridge=0.0)
    assert found <= 1 / ratio.max()
    assert found == pytest.approx(1 / ratio.max(), rel=0.05)


def test_a_direction_without_data_costs_what_the_ridge_says():
    d, mu = [np.diag([0.5, 0.5])], [np.diag([1.0, 0.0])]
    assert max_ratio_inverse(d, mu, ridge=0.01) == pytest.approx(0.02)


def test_fourier_features_approximate_a_gaussian_kernel():
    vector = rng(0).normal(size=(30, 3))
    features = estimates.fourier_features(vector, rng(1).normal(size=(3, 20_000)))
    distance = ((vector[:, None] - vector) ** 2).sum(-1)
    np.testing.assert_allclose(features @ features.T, np.exp(-distance / 2), atol=0.03)


def test_condition_number_falls_as_the_comparator_leaves_the_data():
    data = points(rng(0).normal(size=(2000, 2)))
    found = [
        inverse_relative_condition_number(
            between(points(rng(1).normal(size=(2000, 2)) + shift, start=-2000), data)
        )
        for shift in (0.0, 1.0, 3.0, 10.0)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.5
    assert 0 < found[-1] < 0.02


def test_an_action_without_data_has_a_condition_number_near_zero():
    vector, action = rng(0).normal(size=(2000, 2)), np.zeros(2000, dtype=int)
    comparator = points(vector[:500], action[:500] + 1, start=-2000)
    assert inverse_relative_condition_number(between(comparator, points(vector, action), 2)) < 0.02


# Against exact measures


def test_estimates_of_a_table_are_near_the_exact_measures():
    source = Collected(Garnet(8, 3, 2, 0.5), ({"epsilon": 0.7, "share": 1.0},), 6000, 60)
    task = source.load("garnet", 0, 0.9, None)
    report = coverage.measure(task, task.data, "everywhere")
    assert report.nearest_neighbor_support == pytest.approx(report.support_fraction, abs=0.02)
    exact = report.inverse_l2_concentrability
    assert report.effective_sample_size == pytest.approx(exact, rel=0.2)
    exact = report.inverse_concentrability
    assert report.inverse_relative_condition_number == pytest.approx(exact, rel=0.5)


def test_comparator_steps_of_a_table_follow_the_discounted_occupancy():
    task = cliff_task()
    drawn = samples.draw(task, task.data).comparator
    table = task.environment.coordinates
    mean = table[task.data.observation].mean(0)
    scale = table[task.data.observation].std(0) + 1e-3
    states = np.abs((table - mean) / scale - drawn.vector[:, None]).sum(-1).argmin(1)
    found = np.bincount(states * 4 + drawn.action, minlength=48) / len(states)
    optimal = np.eye(4)[task.environment.optimal_actions]
    expected = slow_occupancy(task.environment.mdp, optimal, 0.9).ravel()
    np.testing.assert_allclose(found, expected / expected.sum(), atol=0.04)


# Any data


def numbers(task, view):
    return coverage.estimate(samples.draw(task, view))


def test_what_degradations_take_estimates_miss():
    task = cartpole_task(num_transitions=3000)
    whole = numbers(task, task.data)
    slab = numbers(task, region(task.data, 0.7, rng(), shape="slab", dimension="angle"))
    without = numbers(task, actions(task.data, 1.0, rng(), num_cells=8))
    for name in coverage.ESTIMATES:
        assert slab[name] < whole[name]
        assert without[name] < whole[name]


def test_without_a_reference_policy_the_best_tenth_is_compared():
    task = continuous_task()
    rows = samples.best_episodes(task.data)
    best = np.argsort(task.data.episode_returns)[-6:]
    assert set(task.data.episode[rows]) == set(best)
    assert len(rows) == 6 * 20
    few = continuous_task(num_episodes=4)
    assert set(few.data.episode[samples.best_episodes(few.data)]) == {
        int(few.data.episode_returns.argmax())
    }


def test_estimates_of_continuous_actions_fall_with_the_comparators_actions():
    task = continuous_task()
    whole = numbers(task, task.data)
    assert whole["nearest_neighbor_support"] == 1.0
    # The best episodes act to the right.
    left = task.data.keep(task.data.action[:, 0] < 0, "left")
    without = numbers(task, left)
    for name in coverage.ESTIMATES:
        assert without[name] < 0.6 * whole[name]


def test_a_tenth_of_the_data_is_worth_a_tenth_where_it_is_apart():
    # Nothing but the action tells the best episodes apart: d / mu = 10 on all of them.
    task = continuous_task(num_episodes=100)
    action = np.where(task.data.storage.reward > 0.79, 9.0, -9.0)[:, None] * np.ones(3)
    storage = replace(task.data.storage, action=action.astype(np.float32))
    apart = replace(task, data=replace(task.data, storage=storage))
    # Ten of a hundred, up to the noise of returns.
    share = (action[:, 0] > 0).mean()
    assert share == pytest.approx(0.1, abs=0.02)
    assert numbers(apart, apart.data)["effective_sample_size"] == pytest.approx(share, rel=0.25)


def test_large_data_is_sampled_and_removals_stay_nested(monkeypatch):
    monkeypatch.setattr(samples, "MOST_NEIGHBORS", 200)
    task = cartpole_task()
    views = [thin(task.data, severity, rng()) for severity in (0.0, 0.4, 0.8)]
    drawn = [samples.draw(task, view) for view in views]
    for view, sample in zip(views, drawn, strict=True):
        assert len(sample.neighbors.action) == 200
        np.testing.assert_array_equal(sample.neighbors.position, drawn[0].neighbors.position)
        expected = np.isin(sample.neighbors.position, view.indices)
        np.testing.assert_array_equal(sample.left, expected)
    supports = [nearest_neighbor_support(sample) for sample in drawn]
    assert supports == sorted(supports, reverse=True)
    assert supports[0] > supports[-1]


def test_what_replaces_episodes_covers_too():
    task = cartpole_task(num_transitions=2000)
    replaced = quality(task.data, 0.9, rng(), worse_epsilon=1.0, worse_id=None)
    own = len(task.data.storage)
    drawn = samples.draw(task, replaced)
    extra = drawn.neighbors.position >= own
    np.testing.assert_array_equal(extra, ~drawn.collected)
    assert extra.sum() == (replaced.indices >= own).sum()
    without = replaced.keep(replaced.indices < own, "the rest")
    assert support(task, replaced) > support(task, without)


# Nearest neighbors


def support(task, view):
    return nearest_neighbor_support(samples.draw(task, view))


def reference_steps(task):
    """Return (observation, action) of every fifth step of eight reference rollouts."""
    environment = task.environment
    simulator = environment.simulator([environment], [seeding.numpy_generator("coverage", 0)], 8)
    horizon = environment.spec.horizon
    steps = [
        (step.observation[0, copy], int(step.action[0, copy]))
        for step in rollout(simulator, environment.reference_action, horizon)
        for copy in range(8)
        if step.active[0, copy]
    ]
    return steps[::5]


def slow_nearest_neighbor_support(task, view):
    """Return the share of reference steps inside the ball of a transition, one distance at a time.

    Balls reach to the fifth neighbor in the full data; those of the view's transitions count.
    """
    scaled = task.data.observation / (task.data.observation.astype(float).std(0) + 1e-3)
    action = task.data.action
    balls = []
    for index in np.flatnonzero(np.isin(task.data.indices, view.indices)):
        others = (action == action[index]) & (np.arange(len(action)) != index)
        distances = np.linalg.norm(scaled[others] - scaled[index], axis=1)
        balls.append((scaled[index], action[index], np.sort(distances)[4]))
    scale = task.data.observation.astype(float).std(0) + 1e-3
    steps = reference_steps(task)
    covered = [
        any(a == chosen and np.linalg.norm(x / scale - center) <= r for center, a, r in balls)
        for x, chosen in steps
    ]
    return sum(covered) / len(covered)


@pytest.mark.parametrize("severity", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("dimension", ["position", "velocity", "angle"])
def test_nearest_neighbor_support_equals_that_of_all_distances(severity, dimension):
    task = cartpole_task(num_transitions=150, max_steps=30)
    view = region(task.data, severity, rng(), shape="slab", dimension=dimension)
    expected = slow_nearest_neighbor_support(task, view)
    assert support(task, view) == pytest.approx(expected)
    assert 0 < expected < 1


def test_nearest_neighbor_support_falls_with_thinning():
    task = cartpole_task()
    supports = [support(task, thin(task.data, severity, rng())) for severity in SEVERITIES]
    assert supports == sorted(supports, reverse=True)
    assert 1 >= supports[0] > 0.5 > supports[-1] >= 0


def test_an_action_of_which_nothing_is_left_is_not_covered():
    task = cartpole_task()
    share = np.mean([action == 1 for _, action in reference_steps(task)])
    only_right = task.data.keep(task.data.action == 1, "right")
    assert 0.5 * share < support(task, only_right) <= share


def test_five_transitions_of_an_action_have_no_fifth_neighbor_and_cover_nothing():
    task = cartpole_task()
    first_five = np.concatenate([np.flatnonzero(task.data.action == a)[:5] for a in (0, 1)])
    few = task.data.keep(np.isin(np.arange(len(task.data)), first_five), "few")
    assert support(replace(task, data=few), few) == 0.0


def test_without_the_comparators_action_support_is_lost():
    task = cartpole_task(num_transitions=2000)
    before = support(task, task.data)
    without = actions(task.data, 1.0, rng(), num_cells=8)
    assert support(task, without) < 0.7 * before
