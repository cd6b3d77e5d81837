"""Importance sampling and doubly robust estimates against every trajectory that there can be."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from bench.data.behavior import KnownBehavior
from bench.data.sources import Task
from bench.measures.value_estimates.doubly_robust import doubly_robust
from bench.measures.value_estimates.estimation import estimates_of, target_of
from bench.measures.value_estimates.fitted import Fitted
from bench.measures.value_estimates.importance import (
    effective_number,
    importance_sampling,
    interval,
    log_ratios,
    scaled,
    unseen_share,
)
from bench.measures.value_estimates.logged import logged
from bench.measures.value_estimates.trajectories import trajectories_of
from bench.worlds.tabular import TabularEnvironment
from tests.support.worlds import random_mdp, random_policy, tabular_dataset

STEPS, STATES, ACTIONS, DISCOUNT = 3, 5, 2, 0.9
# From every state an action leads to one of two others; the reward is the action's number.
LEADS = np.random.default_rng(4).integers(STATES, size=(STATES, ACTIONS))
UNIFORM = np.full((STATES, ACTIONS), 0.5)


def walk(actions):
    """Return the states that actions lead through from state 0."""
    states = [0]
    for action in actions:
        states.append(int(LEADS[states[-1], action]))
    return states


def every_trajectory(ends=True):
    """Return the data of all action sequences once: what uniform actions do on average."""
    episodes = [(walk(a), list(a), ends) for a in itertools.product(range(ACTIONS), repeat=STEPS)]
    return tabular_dataset(*episodes, num_states=STATES, num_actions=ACTIONS)


def told(data, behavior=UNIFORM, horizon=None):
    """Return what estimates are made from where the behavior policy is known."""
    environment = TabularEnvironment.from_mdp("toy", random_mdp(0, STATES), DISCOUNT, 50)
    mixture = behavior if behavior.ndim == 3 else behavior[None]
    shares = np.full(len(mixture), 1 / len(mixture))
    known = KnownBehavior(shares, lambda state: mixture[:, state])
    found = logged(Task(environment, data, 0.0, None, known), data)
    return found if horizon is None else replace(found, horizon=horizon, discount=1.0)


def value_of(policy, steps=STEPS, discount=DISCOUNT, rest=None):
    """Return the value of a policy over so many steps by every trajectory's probability."""
    total = 0.0
    for actions in itertools.product(range(ACTIONS), repeat=steps):
        states = walk(actions)
        likely = np.prod([policy[s, a] for s, a in zip(states[:-1], actions, strict=True)])
        gained = sum(discount**t * a for t, a in enumerate(actions))
        total += likely * (gained + (0 if rest is None else discount**steps * rest[states[-1]]))
    return total


def asked(data, policy):
    """Return a policy's target and the logarithms of its ratios on all rows."""
    target = target_of(data, lambda state: policy[state])
    taken = target.now[np.arange(len(data.dataset)), data.dataset.action]
    return target, log_ratios(data.trajectories, data.behavior, taken)


POLICIES = [random_policy(seed, STATES, ACTIONS) for seed in range(4)]
POLICIES.append(np.eye(ACTIONS)[[0, 1, 1, 0, 1]])


@pytest.mark.parametrize("policy", POLICIES)
def test_all_trajectories_give_the_exact_value(policy):
    data = told(every_trajectory())
    _, log_ratio = asked(data, policy)
    assert importance_sampling(data, log_ratio).value == pytest.approx(value_of(policy))
    undiscounted = told(every_trajectory(), horizon=STEPS)
    assert importance_sampling(undiscounted, log_ratio).value == pytest.approx(
        value_of(policy, discount=1.0)
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_the_ratios_are_products_of_those_of_the_steps(policy):
    data = told(every_trajectory())
    _, log_ratio = asked(data, policy)
    for begin in range(0, len(data.dataset), STEPS):
        likely = 1.0
        for row in range(begin, begin + STEPS):
            likely *= policy[data.dataset.observation[row], data.dataset.action[row]] / 0.5
            assert np.exp(log_ratio[row]) == pytest.approx(likely)


def test_of_a_mixture_of_episodes_the_mixture_counts():
    # Half of the episodes by each of two policies, of which one never takes some actions.
    components = np.stack([UNIFORM, np.eye(ACTIONS)[np.zeros(STATES, dtype=int)]])
    policy = POLICIES[0]
    data = told(every_trajectory(), components)
    _, log_ratio = asked(data, policy)
    for begin in range(0, len(data.dataset), STEPS):
        rows = slice(begin, begin + STEPS)
        pairs = data.dataset.observation[rows], data.dataset.action[rows]
        mixed = np.mean([np.prod(part[pairs]) for part in components])
        assert np.exp(log_ratio[begin + STEPS - 1]) == pytest.approx(np.prod(policy[pairs]) / mixed)


def test_the_policy_that_collected_has_its_mean_return_and_every_trajectory_counts():
    data = told(every_trajectory())
    _, log_ratio = asked(data, UNIFORM)
    returns = data.dataset.discounted_returns(DISCOUNT)
    found = importance_sampling(data, log_ratio)
    assert found.value == pytest.approx(returns.mean())
    assert found.low < found.value < found.high
    weight = scaled(log_ratio[data.trajectories.last])
    assert effective_number(weight) == pytest.approx(len(returns))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(2))
def test_doubly_robust_is_exact_by_all_trajectories_whatever_was_fitted(policy, seed):
    data = told(every_trajectory())
    target, log_ratio = asked(data, policy)
    wrong = Fitted([np.random.default_rng(seed).normal(size=(STATES, ACTIONS))], 0.0)
    found = doubly_robust(data, target, wrong, log_ratio)
    assert found.value == pytest.approx(value_of(policy))


@pytest.mark.parametrize("policy", POLICIES)
def test_doubly_robust_is_exact_by_one_trajectory_where_what_was_fitted_is(policy):
    states = walk((1, 0, 1))
    data = told(tabular_dataset((states, [1, 0, 1], True), num_states=STATES, num_actions=ACTIONS),
                horizon=STEPS)  # fmt: skip
    tables = [np.zeros((STATES, ACTIONS))]
    for _ in range(STEPS):
        value = (policy * tables[-1]).sum(-1)
        tables.append(np.arange(ACTIONS) + value[LEADS])
    target, log_ratio = asked(data, policy)
    found = doubly_robust(data, target, Fitted(tables, 0.0), log_ratio)
    assert found.value == pytest.approx(value_of(policy, discount=1.0))


@pytest.mark.parametrize("policy", POLICIES)
def test_where_trajectories_are_cut_the_fitted_value_stands_for_the_rest(policy):
    data = told(every_trajectory(ends=False))
    target, log_ratio = asked(data, policy)
    table = np.random.default_rng(0).normal(size=(STATES, ACTIONS))
    rest = (policy * table).sum(-1)
    found = doubly_robust(data, target, Fitted([table], 0.0), log_ratio)
    assert found.value == pytest.approx(value_of(policy, rest=rest))
    # Importance sampling counts nothing there, and says what that may be worth.
    assert importance_sampling(data, log_ratio).value == pytest.approx(value_of(policy))
    assert unseen_share(data, log_ratio) == pytest.approx(DISCOUNT**STEPS)
    assert unseen_share(told(every_trajectory()), log_ratio) == 0


def test_a_hole_cuts_a_trajectory_and_what_follows_it_is_none():
    full = every_trajectory()
    data = told(full.keep(np.arange(len(full)) != 4, "hole"))
    np.testing.assert_array_equal(data.trajectories.first, [0, 3, *range(5, 23, 3)])
    np.testing.assert_array_equal(data.trajectories.length, [3, 1, *[3] * 6])
    assert not data.trajectories.terminated[1]
    _, log_ratio = asked(data, UNIFORM)
    assert np.isnan(log_ratio).sum() == 1


def test_an_episode_beyond_the_horizon_counts_up_to_it():
    found = trajectories_of(every_trajectory(), 2)
    assert found.length.tolist() == [2] * 8
    assert not found.terminated.any()


def test_the_interval_is_over_patients():
    full = every_trajectory()
    number = np.arange(len(full)) // STEPS
    storage = replace(full.storage, patient=number % 2)
    data = told(replace(full, storage=storage))
    assert data.trajectories.num_patients == 2
    _, log_ratio = asked(data, UNIFORM)
    returns = full.discounted_returns(DISCOUNT)
    means = [returns[0::2].mean(), returns[1::2].mean()]
    found = importance_sampling(data, log_ratio)
    # Of two patients of as many trajectories a resample has one's mean, the other's, or half each.
    assert [found.low, found.high] == pytest.approx(sorted(means))


def test_one_patient_gives_no_interval():
    assert interval(1.0, np.array([1.0, 1.0, 1.0])) == (1.0, None, None)


@pytest.mark.parametrize("weights", [[1.0] * 7, [1.0, 0.0, 0.0], [2.0, 1.0]])
def test_the_effective_number_is_kishs(weights):
    made = np.array(weights)
    assert effective_number(made) == pytest.approx(sum(weights) ** 2 / sum(w * w for w in weights))
    assert effective_number(3 * made) == pytest.approx(effective_number(made))
    assert effective_number(0 * made) == 0


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng, policy = np.random.default_rng(0), 0.5 * UNIFORM + 0.5 * POLICIES[0]
    truth, held = value_of(policy), {"importance_sampling": 0, "doubly_robust": 0}
    for _ in range(200):
        drawn = rng.integers(ACTIONS, size=(300, STEPS)).tolist()
        data = told(tabular_dataset(*[(walk(a), a, True) for a in drawn],
                                    num_states=STATES, num_actions=ACTIONS))  # fmt: skip
        found = estimates_of(data, lambda state: policy[state])
        for name in held:
            held[name] += found[f"{name}_low"] <= truth <= found[f"{name}_high"]
    assert all(180 <= times <= 200 for times in held.values()), held
