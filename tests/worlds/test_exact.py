"""Exact answers on finite MDPs, against enumeration of policies and sums over time."""

from dataclasses import replace

import numpy as np
import pytest

from bench.worlds import exact
from bench.worlds.exact import TabularMDP
from tests.support.worlds import (
    all_policies,
    random_mdp,
    random_policy,
    slow_chain,
    slow_occupancy,
    slow_values,
)

DISCOUNT = 0.8
SEEDS = range(6)


def action_values(mdp, policy, discount):
    """Return Q of a policy, outcome by outcome."""
    value = slow_values(mdp, policy, discount)
    q = np.zeros((mdp.num_states, mdp.num_actions))
    for s, a, k in np.ndindex(mdp.probability.shape):
        following = 0.0 if mdp.terminated[s, a, k] else value[mdp.next_state[s, a, k]]
        q[s, a] += mdp.probability[s, a, k] * (mdp.reward[s, a, k] + discount * following)
    return q


def with_absorbing_state(mdp, covered, v_min, discount):
    """Return the MDP in which uncovered pairs pay what is worth `v_min` for ever."""
    rest = mdp.num_states
    shape = (rest + 1, *mdp.probability.shape[1:])
    pay = v_min * (1 - discount)
    probability, reward = np.zeros(shape), np.full(shape, pay)
    next_state, terminated = np.full(shape, rest), np.zeros(shape, dtype=bool)
    probability[..., 0] = 1.0
    for s, a in np.argwhere(covered):
        probability[s, a], reward[s, a] = mdp.probability[s, a], mdp.reward[s, a]
        next_state[s, a], terminated[s, a] = mdp.next_state[s, a], mdp.terminated[s, a]
    return TabularMDP(probability, next_state, reward, terminated, np.append(mdp.initial, 0.0))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("discount", [0.0, 0.8, 0.95])
def test_policy_iteration_is_the_best_of_all_policies(seed, discount):
    mdp = random_mdp(seed)
    by_policy = [action_values(mdp, policy, discount) for policy in all_policies(3, 2)]
    best = np.max(by_policy, axis=0)
    np.testing.assert_allclose(exact.optimal_values(mdp, discount), best, atol=1e-10)


def test_policy_iteration_is_exact_for_a_discount_near_one():
    # One state that pays 1 for ever, or 0.5 once.
    mdp = TabularMDP(
        probability=np.ones((1, 2, 1)),
        next_state=np.zeros((1, 2, 1), dtype=int),
        reward=np.array([[[1.0], [0.5]]]),
        terminated=np.array([[[False], [True]]]),
        initial=np.ones(1),
    )
    q = exact.optimal_values(mdp, 0.999)
    np.testing.assert_allclose(q, [[1000.0, 0.5]], rtol=1e-11)


@pytest.mark.parametrize("seed", SEEDS)
def test_policy_evaluation_is_the_discounted_sum_of_rewards(seed):
    mdp, policy = random_mdp(seed), random_policy(seed, 3, 2)
    expected = slow_values(mdp, policy, DISCOUNT)
    np.testing.assert_allclose(exact.policy_evaluation(mdp, policy, DISCOUNT), expected)
    value = exact.policy_value(mdp, policy, DISCOUNT)
    assert value == pytest.approx(sum(p * v for p, v in zip(mdp.initial, expected, strict=True)))


def test_policy_value_is_the_mean_of_sampled_returns():
    mdp, policy, rng = random_mdp(1), random_policy(1, 3, 2), np.random.default_rng(0)
    returns = []
    for _ in range(3000):
        state, total, weight = rng.choice(3, p=mdp.initial), 0.0, 1.0
        while weight > 1e-4:
            action = rng.choice(2, p=policy[state])
            k = rng.choice(3, p=mdp.probability[state, action])
            total += weight * mdp.reward[state, action, k]
            if mdp.terminated[state, action, k]:
                break
            state, weight = mdp.next_state[state, action, k], weight * DISCOUNT
        returns.append(total)
    error = np.std(returns) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - exact.policy_value(mdp, policy, DISCOUNT)) < 4 * error


@pytest.mark.parametrize("seed", SEEDS)
def test_occupancy_is_the_discounted_distribution_summed_over_time(seed):
    mdp, policy = random_mdp(seed), random_policy(seed, 3, 2)
    expected = slow_occupancy(mdp, policy, DISCOUNT)
    np.testing.assert_allclose(exact.occupancy(mdp, policy, DISCOUNT), expected, atol=1e-13)


def test_value_is_occupancy_times_reward():
    mdp, policy = random_mdp(2), random_policy(2, 3, 2)
    occupancy = exact.occupancy(mdp, policy, DISCOUNT)
    mean_reward = (mdp.probability * mdp.reward).sum(-1)
    value = (occupancy * mean_reward).sum() / (1 - DISCOUNT)
    assert value == pytest.approx(exact.policy_value(mdp, policy, DISCOUNT))


def test_occupancy_sums_to_one_only_without_terminations():
    policy = random_policy(0, 3, 2)
    endless = random_mdp(0, end_probability=0.0)
    assert exact.occupancy(endless, policy, DISCOUNT).sum() == pytest.approx(1)
    ending = random_mdp(0, end_probability=0.5)
    assert exact.occupancy(ending, policy, DISCOUNT).sum() < 0.9


def test_occupancy_is_exactly_zero_where_nothing_leads():
    # Random states 0..9 and 10..19 that never meet; episodes start among the first.
    mdp = random_mdp(0, num_states=20)
    half = np.arange(20)[:, None, None] // 10 * 10
    initial = np.repeat([0.1, 0.0], 10)
    mdp = TabularMDP(
        mdp.probability, mdp.next_state % 10 + half, mdp.reward, mdp.terminated, initial
    )
    occupancy = exact.occupancy(mdp, random_policy(0, 20, 2), 0.99)
    assert np.all(occupancy[:10] > 0)
    assert np.all(occupancy[10:] == 0)


def test_several_policies_at_once_are_evaluated_as_if_alone():
    mdp = random_mdp(3)
    policies = np.stack([random_policy(seed, 3, 2) for seed in range(4)]).reshape(2, 2, 3, 2)
    values = exact.policy_value(mdp, policies, DISCOUNT)
    occupancies = exact.occupancy(mdp, policies, DISCOUNT)
    for index in np.ndindex(2, 2):
        alone = policies[index]
        assert values[index] == pytest.approx(exact.policy_value(mdp, alone, DISCOUNT))
        np.testing.assert_allclose(occupancies[index], exact.occupancy(mdp, alone, DISCOUNT))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("v_min", [-4.0, 0.0, 1.5])
def test_the_covered_optimum_is_that_of_an_mdp_with_an_absorbing_state(seed, v_min):
    mdp = random_mdp(seed)
    covered = np.random.default_rng(seed).random((3, 2)) < 0.6
    augmented = with_absorbing_state(mdp, covered, v_min, DISCOUNT)
    best = np.max([action_values(augmented, p, DISCOUNT) for p in all_policies(4, 2)], axis=0)
    q = exact.optimal_values(mdp, DISCOUNT, covered, v_min)
    np.testing.assert_allclose(q, best[:3], atol=1e-10)
    assert np.all(q[~covered] == v_min)


def test_full_coverage_is_the_optimum_and_no_coverage_is_v_min():
    mdp = random_mdp(4)
    everything, nothing = np.ones((3, 2), dtype=bool), np.zeros((3, 2), dtype=bool)
    optimum = exact.optimal_values(mdp, DISCOUNT)
    np.testing.assert_array_equal(exact.optimal_values(mdp, DISCOUNT, everything, -9.0), optimum)
    assert np.all(exact.optimal_values(mdp, DISCOUNT, nothing, -9.0) == -9.0)


def test_greedy_takes_the_first_of_tied_actions():
    ties = np.array([[0.0, 1.0, 1.0], [2.0, 2.0, 0.0], [0.0, 1.0, 1.0 + 1e-12]])
    np.testing.assert_array_equal(exact.greedy(ties), [1, 0, 1])


def test_greedy_tells_actions_apart_that_differ_by_more_than_rounding():
    assert exact.greedy(np.array([[1.0, 1.0 + 1e-6]])) == 1
    # What counts as rounding grows with the largest value.
    assert exact.greedy(np.array([[1e6, 1e6 + 1e-4]])) == 0
    assert exact.greedy(np.array([[-1e6, -1e6 + 1e-4]])) == 0


def test_the_greedy_policy_of_the_optimum_attains_it():
    mdp = random_mdp(5)
    q = exact.optimal_values(mdp, DISCOUNT)
    policy = exact.deterministic(exact.greedy(q), 2)
    np.testing.assert_allclose(slow_values(mdp, policy, DISCOUNT), q.max(-1), atol=1e-10)


def test_epsilon_greedy_explores_over_all_actions():
    policy = exact.epsilon_greedy(np.array([2, 0]), 4, 0.2)
    np.testing.assert_allclose(policy, [[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]])


def test_continuation_adds_up_outcomes_with_the_same_successor():
    mdp, policy = random_mdp(0, num_states=2, num_outcomes=6), np.array([[1.0, 0], [0, 1.0]])
    transition, _ = slow_chain(mdp, policy)
    np.testing.assert_allclose(mdp.continuation[[0, 1], [0, 1]], transition)


@pytest.mark.parametrize("broken", ["probability", "initial"])
def test_a_distribution_that_does_not_sum_to_one_is_refused(broken):
    mdp = random_mdp(0)
    with pytest.raises(ValueError, match="must sum to 1"):
        replace(mdp, **{broken: getattr(mdp, broken) * 0.99})
