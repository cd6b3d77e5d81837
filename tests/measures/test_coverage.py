"""Measures of coverage, against direct loops over states, cells and distances."""

from collections import Counter

import numpy as np
import pytest

from bench.data.collected import Collected
from bench.data.degradations import actions, best_returns, quality, region, thin, truncate
from bench.measures import coverage
from bench.measures.exact import best_covered_policy, data_distribution, occupancy_coverage
from bench.measures.schweighofer import num_distinct, saco, trajectory_quality
from bench.worlds.mdps import CombinationLock, Garnet
from tests.support.worlds import (
    cartpole_task,
    cliff_task,
    continuous_task,
    random_policy,
    random_tabular_dataset,
    slow_occupancy,
    tabular_dataset,
)

SEVERITIES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
EXACT = ("support_fraction", "inverse_concentrability", "inverse_l2_concentrability")
ESTIMATES = (
    "nearest_neighbor_support",
    "effective_sample_size",
    "inverse_relative_condition_number",
)


def rng(seed=0):
    return np.random.default_rng(seed)


def pairs(*counted):
    """Return a dataset that holds each (state, action) as often as said, and nothing else."""
    return tabular_dataset(*[([s, s], [a], True) for s, a, count in counted for _ in range(count)])


def occupancy_of(*weighted):
    occupancy = np.zeros((6, 3))
    for state, action, weight in weighted:
        occupancy[state, action] = weight
    return occupancy


def slow_measures(occupancy, data):
    """Return the three exact measures by a loop over states and actions."""
    counts = Counter(zip(data.observation.tolist(), data.action.tolist(), strict=True))
    support, ratios, second_moment, total = 0.0, [], 0.0, occupancy.sum()
    for pair, weight in np.ndenumerate(occupancy):
        if weight > 0:
            d, mu = weight / total, counts[pair] / len(data)
            support += d * (mu > 0)
            ratios.append(mu / d)
            second_moment += mu * (d / mu) ** 2 if mu > 0 else np.inf
    return dict(zip(EXACT, (support, min(ratios), 1 / second_moment), strict=True))


# Exact measures


@pytest.mark.parametrize("seed", range(20))
def test_exact_measures_equal_a_loop_over_states_and_actions(seed):
    data = random_tabular_dataset(seed)
    occupancy = rng(seed).random((6, 3)) * (rng(seed + 99).random((6, 3)) < 0.3)
    occupancy[data.observation[0], data.action[0]] = 0.1
    assert occupancy_coverage(occupancy, data) == pytest.approx(slow_measures(occupancy, data))


def test_a_policy_whose_occupancy_is_the_datas_is_covered_perfectly():
    data = pairs((0, 0, 2), (1, 1, 5), (3, 2, 1))
    measures = occupancy_coverage(occupancy_of((0, 0, 2), (1, 1, 5), (3, 2, 1)), data)
    assert measures == pytest.approx(dict.fromkeys(EXACT, 1.0))


def test_uniform_data_covers_a_deterministic_policy_with_one_over_the_actions():
    data = pairs(*[(s, a, 4) for s in range(6) for a in range(3)])
    policy = occupancy_of(*[(s, s % 3, 1.0) for s in range(6)])
    expected = dict(zip(EXACT, (1.0, 1 / 3, 1 / 3), strict=True))
    assert occupancy_coverage(policy, data) == pytest.approx(expected)


def test_something_uncovered_is_zero_and_never_an_infinity():
    measures = occupancy_coverage(occupancy_of((0, 0, 3.0), (1, 2, 1.0)), pairs((0, 0, 1)))
    assert measures == {EXACT[0]: 0.75, EXACT[1]: 0.0, EXACT[2]: 0.0}


def test_nothing_covered_is_zero():
    measures = occupancy_coverage(occupancy_of((0, 0, 1.0)), pairs((0, 1, 1)))
    assert measures == dict.fromkeys(EXACT, 0.0)


def test_an_occupancy_that_terminations_shrink_is_measured_as_a_distribution():
    data = pairs((0, 0, 2), (1, 1, 1))
    whole = occupancy_of((0, 0, 0.5), (1, 1, 0.5))
    assert occupancy_coverage(0.01 * whole, data) == pytest.approx(occupancy_coverage(whole, data))


def test_data_elsewhere_lowers_concentrability_and_not_support():
    few, more = pairs((0, 0, 1)), pairs((0, 0, 1), (5, 2, 3))
    occupancy = occupancy_of((0, 0, 1.0))
    assert occupancy_coverage(occupancy, few) == pytest.approx(dict.fromkeys(EXACT, 1.0))
    expected = dict(zip(EXACT, (1.0, 0.25, 0.25), strict=True))
    assert occupancy_coverage(occupancy, more) == pytest.approx(expected)


def random_measures(seed):
    """Return the measures of a policy whose occupancy is nearly that of the data."""
    counts = rng(seed).integers(1, 12, size=(6, 3))
    data = pairs(*[(s, a, int(counts[s, a])) for s, a in np.ndindex(6, 3)])
    return occupancy_coverage(counts * 0.3, data)


def test_exact_measures_are_never_far_outside_the_unit_interval():
    for seed in range(30):
        for data in (thin(random_tabular_dataset(seed), s, rng()) for s in (0.0, 0.5, 0.9)):
            measures = occupancy_coverage(rng(seed).random((6, 3)), data)
            assert all(0 <= value <= 1 for value in measures.values())


def test_rounding_lifts_no_exact_measure_above_one():
    assert all(value <= 1 for seed in range(50) for value in random_measures(seed).values())


def test_the_data_distribution_is_the_share_of_transitions():
    data = pairs((0, 0, 2), (5, 2, 6))
    expected = occupancy_of((0, 0, 0.25), (5, 2, 0.75))
    np.testing.assert_array_equal(data_distribution(data), expected)


# The report of a tabular task


def test_the_reports_measures_are_those_of_the_optimal_policy():
    task = cliff_task(num_transitions=300)
    view = actions(task.data, 0.3, rng(), num_cells=1)
    optimal = np.eye(4)[task.environment.optimal_actions]
    for data in (task.data, view):
        expected = slow_measures(slow_occupancy(task.environment.mdp, optimal, 0.9), data)
        report = coverage.measure(task, data)
        measured = {name: getattr(report, name) for name in EXACT}
        assert measured == pytest.approx(expected, abs=1e-9)
        assert report.by_policy["optimal"] == measured


def test_the_behavior_policy_is_measured_on_its_exact_occupancy():
    task = cliff_task(num_transitions=300)
    view = thin(task.data, 0.5, rng())
    expected = slow_measures(task.behavior_occupancy, view)
    measured = coverage.measure(task, view).by_policy["behavior"]
    assert measured == pytest.approx(expected, abs=1e-9)


def test_a_measure_that_cannot_be_computed_has_a_reason():
    few = np.arange(2000) < 30
    tasks = (cliff_task(), cartpole_task(), continuous_task())
    views = [(task, task.data) for task in tasks]
    views += [(task, task.data.keep(few[: len(task.data)], "few")) for task in tasks]
    for task, view in views:
        for estimated in ("outside_tables", "everywhere"):
            report = coverage.measure(task, view, estimated)
            for name in (*EXACT, *ESTIMATES, "saco", "tq"):
                assert (getattr(report, name) is None) == (name in report.reasons)


def test_tables_are_estimated_only_where_that_is_asked_for():
    task = cliff_task()
    plain, full = (coverage.measure(task, task.data, e) for e in ("outside_tables", "everywhere"))
    assert [getattr(plain, name) for name in ESTIMATES] == [None] * 3
    assert all(0 < getattr(full, name) <= 1 for name in ESTIMATES)
    for name in (*EXACT, "saco", "tq", "by_policy", "comparator"):
        assert getattr(plain, name) == getattr(full, name)
    outside = cartpole_task()
    assert coverage.measure(outside, outside.data) == coverage.measure(
        outside, outside.data, "everywhere"
    )


def test_the_report_says_whose_coverage_it_is():
    task, without = cartpole_task(), continuous_task()
    assert coverage.measure(task, task.data).comparator == "reference policy"
    assert coverage.measure(without, without.data).comparator == "best tenth of the episodes"


def test_support_falls_as_the_optimal_action_is_removed_from_more_states():
    task = cliff_task()
    views = [actions(task.data, severity, rng(1), num_cells=1) for severity in SEVERITIES]
    supports = [coverage.measure(task, view).support_fraction for view in views]
    assert supports[0] > 0.99
    assert supports == sorted(supports, reverse=True)
    assert supports[-1] == 0.0


def test_support_falls_as_more_states_are_removed():
    task = cliff_task()
    views = [
        region(task.data, severity, rng(1), shape="slab", dimension=None) for severity in SEVERITIES
    ]
    supports = [coverage.measure(task, view).support_fraction for view in views]
    assert supports == sorted(supports, reverse=True)
    assert supports[-1] < 0.5


def test_the_learned_policys_coverage_joins_the_others():
    task = cliff_task()
    report = coverage.measure(task, task.data)
    learned = occupancy_coverage(
        slow_occupancy(task.environment.mdp, random_policy(0, 12, 4), 0.9), task.data
    )
    record = coverage.as_dict(report, learned)
    assert record["by_policy"]["learned"] == learned
    assert record["by_policy"]["optimal"] == report.by_policy["optimal"]
    assert record["support_fraction"] == report.support_fraction
    assert "learned" not in coverage.as_dict(report, None)["by_policy"]
    assert "learned" not in report.by_policy


def test_the_best_covered_policy_stays_where_there_is_data():
    # Every reward is positive and every state keeps an action, so that leaving never pays.
    source = Collected(Garnet(10, 3, 2, 1.0), ({"epsilon": 1.0, "share": 1.0},), 2000, 40)
    task = source.load("garnet", 0, 0.9, None)
    view = actions(task.data, 0.7, rng(), num_cells=1)
    chosen, _ = best_covered_policy(task.environment, view)
    visited = slow_occupancy(task.environment.mdp, np.eye(3)[chosen], 0.9)
    assert np.all(data_distribution(view)[visited > 1e-12] > 0)
    report = coverage.measure(task, view)
    assert report.by_policy["best_covered"]["support_fraction"] == pytest.approx(1.0)
    assert report.support_fraction < 0.9


def test_the_best_covered_policy_prefers_data_where_both_are_worth_v_min():
    # In a lock without slips a wrong action is worth -1, exactly as much as one without data.
    environment = CombinationLock(2, 3, 0.0).environment("lock", 0, 0.9, 10)
    wrong = (environment.optimal_actions[0] + np.array([1, 2])) % 3
    data = tabular_dataset(([0, 0], [int(wrong.max())], True), num_states=2)
    chosen, value = best_covered_policy(environment, data)
    assert value == -1.0
    assert chosen[0] == wrong.max()


# Unique cells (SACo)


def test_saco_of_states_is_the_share_of_distinct_pairs():
    for seed in range(10):
        full = random_tabular_dataset(seed)
        view = thin(full, 0.6, rng(seed))
        unique = [len(set(zip(d.observation, d.action, strict=True))) for d in (view, full)]
        assert saco(view, full) == unique[0] / unique[1]


def test_saco_of_vectors_counts_bins_that_the_full_data_fixes():
    full = cartpole_task().data
    view = full.keep(full.observation[:, 2] > 0.02, "right")
    # Edges at every eighth of each dimension's sorted values; a value on an edge lies below it.
    edges = np.array([np.quantile(column, np.arange(1, 8) / 8) for column in full.observation.T])

    def cells(data):
        return {
            (*(int(np.sum(edge < x)) for edge, x in zip(edges, row, strict=True)), int(action))
            for row, action in zip(data.observation, data.action, strict=True)
        }

    assert cells(view) < cells(full)
    assert saco(view, full) == len(cells(view)) / len(cells(full))


def test_saco_of_the_full_data_is_one_and_falls_with_thinning():
    for full in (cliff_task().data, cartpole_task().data):
        values = [saco(thin(full, severity, rng()), full) for severity in SEVERITIES]
        assert values[0] == 1.0
        assert values == sorted(values, reverse=True)
        assert 0 < values[-1] < 0.5


def test_saco_of_continuous_actions_bins_them_too():
    full = continuous_task().data
    view = full.keep(full.action[:, 0] > 0, "right")
    edges = np.array(
        [np.quantile(x, np.arange(1, 8) / 8) for x in (*full.observation.T, *full.action.T)]
    )

    def cells(data):
        rows = np.concatenate([data.observation, data.action], axis=1)
        return {
            tuple(int(np.sum(edge < x)) for edge, x in zip(edges, row, strict=True)) for row in rows
        }

    assert saco(view, full) == len(cells(view)) / len(cells(full))
    assert saco(full, full) == 1.0


def test_rows_of_any_number_of_columns_are_counted():
    # Thirty columns of eight bins do not fit 64 bits.
    table = rng().integers(8, size=(500, 30))
    table[250:] = table[:250]
    assert num_distinct(list(table.T)) == len(set(map(tuple, table.tolist()))) == 250
    table[0, 0] = (table[0, 0] + 1) % 8
    assert num_distinct(list(table.T)) == 251


# Trajectory quality (TQ)


def slow_quality(task, view, discount):
    """Return the mean episode value on the scale of uniform policy and optimum, row by row."""
    returns = {}
    storage = view.storage
    for row in range(len(storage)):
        weighted = discount ** int(storage.step[row]) * storage.reward[row]
        episode = int(storage.episode[row])
        returns[episode] = returns.get(episode, 0.0) + weighted
    mean = np.mean([returns[episode] for episode in sorted(set(view.episode.tolist()))])
    low, high = task.environment.uniform, task.environment.optimum
    return (mean - low) / (high - low)


@pytest.mark.parametrize(("make", "discount"), [(cliff_task, 0.9), (cartpole_task, 1.0)])
def test_trajectory_quality_is_a_mean_over_episodes_in_units_of_value(make, discount):
    task = make()
    views = [thin(task.data, severity, rng()) for severity in (0.0, 0.7)]
    views.append(quality(task.data, 0.5, rng(), worse_epsilon=1.0, worse_id=None))
    for view in views:
        found, why = trajectory_quality(task, view)
        assert found == pytest.approx(slow_quality(task, view, discount))
        assert why == ""


def test_trajectory_quality_estimates_the_behavior_policys_value():
    for epsilon in (0.0, 0.5, 1.0):
        task = cliff_task(num_transitions=20_000, epsilon=epsilon)
        low, high = task.environment.uniform, task.environment.optimum
        expected = (task.behavior_value - low) / (high - low)
        assert trajectory_quality(task, task.data)[0] == pytest.approx(expected, abs=0.05)


def test_what_is_cut_from_episodes_leaves_their_quality_and_worse_episodes_lower_it():
    task = cliff_task()
    before = trajectory_quality(task, task.data)[0]
    assert trajectory_quality(task, truncate(task.data, 0.8, rng()))[0] == before
    assert trajectory_quality(task, best_returns(task.data, 0.5, rng()))[0] < before
    worse = quality(task.data, 0.8, rng(), worse_epsilon=1.0, worse_id=None)
    assert trajectory_quality(task, worse)[0] < before


def test_trajectory_quality_is_never_clipped():
    task = cliff_task(epsilon=0.0)
    returns = task.data.episode_return
    lucky, unlucky = (task.data.keep(returns == end, "") for end in (returns.max(), returns.min()))
    assert trajectory_quality(task, lucky)[0] > 1
    assert trajectory_quality(task, unlucky)[0] < 0


def test_without_anchors_there_is_no_trajectory_quality():
    task = continuous_task()
    found, why = trajectory_quality(task, task.data)
    assert found is None
    assert "not both known" in why


# All of them


@pytest.mark.parametrize("make", [cliff_task, cartpole_task, continuous_task])
def test_every_measure_lies_in_the_unit_interval_at_every_severity(make):
    task = make()
    for severity in SEVERITIES[:-1]:
        views = [
            thin(task.data, severity, rng()),
            region(task.data, severity, rng(), shape="ball", dimension=None),
        ]
        if task.data.storage.comparator_action is not None:
            views.append(actions(task.data, severity, rng(), num_cells=8))
        for view in views:
            report = coverage.measure(task, view)
            numbers = [getattr(report, name) for name in (*EXACT, *ESTIMATES)]
            numbers += [report.saco, *(v for m in report.by_policy.values() for v in m.values())]
            assert all(0 <= number <= 1 for number in numbers if number is not None)


def test_measuring_twice_gives_the_same_report():
    for task in (cliff_task(), cartpole_task(), continuous_task()):
        first = coverage.measure(task, task.data, "everywhere")
        # Nothing may come from a global generator, or go there.
        np.random.seed(7)  # noqa: NPY002
        state = np.random.get_state()[1].copy()  # noqa: NPY002
        assert coverage.measure(task, task.data, "everywhere") == first
        np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
