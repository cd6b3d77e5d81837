"""The four regrets and the values they are measured against."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bench.data.degradations import actions, region
from bench.data.sources import Task
from bench.measures import regret
from bench.measures.evaluation import PolicyEvaluation
from bench.measures.exact import best_covered_policy, best_supported_value, data_distribution
from bench.measures.regret import Anchors, anchors, scores
from bench.worlds.tabular import TabularEnvironment
from tests.support.worlds import (
    all_policies,
    cartpole_task,
    cliff_task,
    random_mdp,
    random_policy,
    slow_values,
    tabular_dataset,
)

ANCHORS = Anchors(10.0, uniform=2.0, behavior=4.0, best_covered=7.0, best_supported=6.5)


def evaluated(value=None, returns=(0.0,), sampled=None):
    return PolicyEvaluation(100, list(returns), value, sampled, None)


def covered_task(seed, discount=0.8):
    """Return a random MDP with data on some of its pairs, always on one of each state."""
    mdp = random_mdp(seed)
    environment = TabularEnvironment.from_mdp("toy", mdp, discount, 50)
    covered = np.random.default_rng(seed).random((3, 2)) < 0.4
    covered[np.arange(3), np.random.default_rng(seed).integers(2, size=3)] = True
    steps = [([int(s), int(s)], [int(a)], True) for s, a in np.argwhere(covered)]
    data = tabular_dataset(*steps, num_states=3, num_actions=2)
    uniform = np.full((3, 2), 0.5)
    return Task(environment, data, environment.uniform, uniform / 6), covered


# Definitions


def test_regrets_by_hand():
    result = scores(evaluated(6.0), ANCHORS)
    assert result["value"] == 6.0
    assert result["regret"] == 4.0
    assert result["normalized_regret"] == 0.5
    assert result["normalized_score"] == 50.0
    assert result["regret_to_covered"] == 1.0
    assert result["regret_to_support"] == 0.5
    assert result["improvement"] == 2.0


def test_the_optimum_has_regret_zero_and_the_uniform_policy_one():
    for value, expected in ((10.0, (0.0, 100.0)), (2.0, (1.0, 0.0))):
        result = scores(evaluated(value), ANCHORS)
        assert (result["normalized_regret"], result["normalized_score"]) == expected


def test_no_regret_is_clipped():
    lucky = scores(evaluated(12.0), ANCHORS)
    assert (lucky["regret"], lucky["normalized_regret"]) == (-2.0, -0.25)
    assert (lucky["regret_to_covered"], lucky["normalized_score"]) == (-5.0, 125.0)
    unlucky = scores(evaluated(-6.0), ANCHORS)
    assert (unlucky["normalized_regret"], unlucky["normalized_score"]) == (2.0, -100.0)
    assert unlucky["improvement"] == -10.0


def test_an_exact_value_counts_where_there_is_one_and_the_mean_return_elsewhere():
    exact = scores(evaluated(6.0, returns=(1.0, 2.0)), ANCHORS)
    assert (exact["value"], exact["return_mean"]) == (6.0, 1.5)
    rolled_out = scores(evaluated(None, returns=(1.0, 2.0)), ANCHORS)
    assert (rolled_out["value"], rolled_out["regret"]) == (1.5, 8.5)


def test_the_value_of_sampling_is_reported_and_used_for_nothing():
    with_sampling = scores(evaluated(6.0, sampled=3.0), ANCHORS)
    without = scores(evaluated(6.0), ANCHORS)
    assert with_sampling.pop("sampled_value") == 3.0
    assert without.pop("sampled_value") is None
    assert with_sampling == without


def test_without_a_best_covered_policy_there_is_no_regret_to_it():
    unknown = replace(ANCHORS, best_covered=None)
    assert scores(evaluated(6.0), unknown)["regret_to_covered"] is None


def test_a_world_in_which_all_policies_are_equal_has_no_normalized_regret():
    flat = replace(ANCHORS, uniform=10.0)
    result = scores(evaluated(9.0), flat)
    assert result["normalized_regret"] is result["normalized_score"] is None
    assert result["regret"] == 1.0


# Anchors


def test_anchors_of_a_known_mdp():
    task = cliff_task()
    view = region(task.data, 0.5, np.random.default_rng(0), shape="slab", dimension=None)
    found, mdp = anchors(task, view), task.environment.mdp
    uniform = mdp.initial @ slow_values(mdp, np.full((12, 4), 0.25), 0.9)
    assert found.optimum == task.environment.optimum
    assert found.uniform == pytest.approx(uniform)
    assert found.behavior == task.behavior_value
    assert found.best_covered == best_covered_policy(task.environment, view)[1]


def test_without_a_known_mdp_there_is_no_best_covered_value():
    task = cartpole_task()
    found = anchors(task, task.data)
    assert found == Anchors(60.0, task.environment.uniform, task.behavior_value, None)


@pytest.mark.parametrize("seed", range(8))
def test_best_covered_is_the_best_of_all_policies_that_stay_on_the_data(seed):
    task, covered = covered_task(seed)
    mdp = task.environment.mdp
    # Every state has data for one action, and v_min bounds every value: leaving never pays.
    staying = [policy for policy in all_policies(3, 2) if np.all(covered[policy == 1])]
    best = max(mdp.initial @ slow_values(mdp, policy, 0.8) for policy in staying)
    assert anchors(task, task.data).best_covered == pytest.approx(best)


@pytest.mark.parametrize("seed", range(8))
def test_no_stochastic_policy_on_the_data_beats_best_covered(seed):
    task, covered = covered_task(seed)
    mdp, best = task.environment.mdp, anchors(task, task.data).best_covered
    for draw in range(20):
        policy = random_policy(draw, 3, 2) * covered
        policy /= policy.sum(1, keepdims=True)
        assert mdp.initial @ slow_values(mdp, policy, 0.8) <= best + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_a_best_covered_policy_that_stays_on_the_data_has_no_regret_to_covered(seed):
    task, covered = covered_task(seed)
    mdp = task.environment.mdp
    chosen, best = best_covered_policy(task.environment, task.data)
    assert np.all(covered[np.arange(3), chosen])
    value = float(mdp.initial @ slow_values(mdp, np.eye(2)[chosen], 0.8))
    assert value == pytest.approx(best)
    result = scores(evaluated(value), anchors(task, task.data))
    assert result["regret_to_covered"] == pytest.approx(0, abs=1e-9)


def test_where_the_data_leads_out_of_itself_the_outside_is_worth_v_min():
    # Only one pair has data: what it leads to has none and counts as v_min.
    mdp = random_mdp(3, num_states=2)
    mdp = replace(mdp, initial=np.array([1.0, 0.0]), next_state=np.ones_like(mdp.next_state))
    environment = TabularEnvironment.from_mdp("toy", mdp, 0.8, 50)
    data = tabular_dataset(([0, 1], [1], False), num_states=2, num_actions=2)
    outside = np.where(mdp.terminated[0, 1], 0.0, environment.spec.v_min)
    by_hand = (mdp.probability[0, 1] * (mdp.reward[0, 1] + 0.8 * outside)).sum()
    chosen, best = best_covered_policy(environment, data)
    assert best == pytest.approx(by_hand)
    assert chosen[0] == 1


def test_leaving_the_data_can_beat_best_covered():
    task = cliff_task()
    view = actions(task.data, 1.0, np.random.default_rng(0), num_cells=1)
    result = scores(evaluated(task.environment.optimum), anchors(task, view))
    assert result["regret_to_covered"] < -0.1
    assert result["regret"] == 0


def test_best_covered_falls_with_severity_from_the_optimum_and_never_below_v_min():
    task, values = cliff_task(), []
    for severity in (0.0, 0.25, 0.5, 0.75, 1.0):
        view = region(task.data, severity, np.random.default_rng(0), shape="slab", dimension=None)
        values.append(anchors(task, view).best_covered)
    assert values[0] == pytest.approx(task.environment.optimum)
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(values))
    assert values[0] > values[-1] >= task.environment.spec.v_min


def test_full_data_has_the_optimum_as_best_covered():
    task = cliff_task(num_transitions=20_000, epsilon=1.0)
    optimal = np.eye(4)[task.environment.optimal_actions][:9]
    assert np.all(data_distribution(task.data)[:9][optimal == 1] > 0)
    found = regret.anchors(task, task.data)
    assert found.best_covered == pytest.approx(found.optimum)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_supported_value_is_that_of_the_best_of_all_policies_on_seen_actions(seed):
    """By brute force; one state has no data, there everybody is uniform."""
    mdp = random_mdp(seed)
    environment = TabularEnvironment.from_mdp("toy", mdp, 0.8, 50)
    seen = np.random.default_rng(seed).random((3, 2)) < 0.6
    seen[0] |= ~seen[0].any()
    seen[2] = False
    steps = [([int(s), int(s)], [int(a)], True) for s, a in np.argwhere(seen)]
    data = tabular_dataset(*steps, num_states=3, num_actions=2)
    values = []
    for policy in all_policies(3, 2):
        if all(seen[s, policy[s].argmax()] or not seen[s].any() for s in range(3)):
            mixed = np.where(seen.any(-1, keepdims=True), policy, 0.5)
            values.append(mdp.initial @ slow_values(mdp, mixed, 0.8))
    assert best_supported_value(environment, data) == pytest.approx(max(values))


def test_with_all_actions_seen_the_best_supported_is_the_optimum():
    task = cliff_task()
    assert best_supported_value(task.environment, task.data) <= task.environment.optimum + 1e-9
    everything = [([s, s], [a], True) for s in range(3) for a in range(2)]
    environment = TabularEnvironment.from_mdp("toy", random_mdp(0), 0.8, 50)
    data = tabular_dataset(*everything, num_states=3, num_actions=2)
    assert best_supported_value(environment, data) == pytest.approx(environment.optimum)
