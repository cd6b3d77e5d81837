"""Fitted Q evaluation is exact evaluation of what the rows say, and bounds of one row more."""

from dataclasses import replace

import numpy as np
import pytest

from bench.data.sources import Task
from bench.measures.value_estimates.estimation import target_of
from bench.measures.value_estimates.fitted import (
    Model,
    bounding_values,
    filled,
    fitted_values,
    start_value,
)
from bench.measures.value_estimates.logged import logged
from bench.worlds import exact
from bench.worlds.exact import TabularMDP
from bench.worlds.tabular import TabularEnvironment
from tests.support.builders import from_columns, make_spec
from tests.support.worlds import all_policies, random_mdp, random_policy

STATES, ACTIONS, DISCOUNT = 3, 2, 0.9
SPEC = make_spec(size=STATES, num_actions=ACTIONS, discount=DISCOUNT, v_min=-40.0, v_max=40.0,
                 reward_min=-4.0, reward_max=4.0, horizon=6)  # fmt: skip


def data_of(rows, spec=SPEC):
    """Return rows of (state, action, reward, next state, terminated), an episode of each."""
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    number = np.arange(len(rows))
    return from_columns(spec, *columns, number, 0 * number)


def rows_of(seed=0, number=60, without=()):
    """Return random rows, each pair among them but those left out."""
    rng = np.random.default_rng(seed)
    pairs = [*np.ndindex(STATES, ACTIONS), *rng.integers((STATES, ACTIONS), size=(number, 2))]
    return [
        (int(s), int(a), rng.uniform(-4, 4), int(rng.integers(STATES)), bool(rng.random() < 0.2))
        for s, a in pairs
        if (s, a) not in without
    ]


def told(rows, spec=SPEC, discounted=True):
    """Return what estimates are made from, with discounted or undiscounted values."""
    environment = TabularEnvironment.from_mdp("toy", random_mdp(0), DISCOUNT, spec.horizon)
    data = data_of(rows, spec)
    found = logged(Task(environment, data, 0.0, None), data)
    return found if discounted else replace(found, horizon=spec.horizon, discount=1.0)


def model_of(rows):
    """Return the MDP whose outcomes are the rows, outcome by outcome; all states must have some."""
    outcomes = max(sum(r[:2] == pair for r in rows) for pair in np.ndindex(STATES, ACTIONS))
    shape = (STATES, ACTIONS, outcomes)
    probability, reward = np.zeros(shape), np.zeros(shape)
    next_state, terminated = np.zeros(shape, dtype=int), np.zeros(shape, dtype=bool)
    for pair in np.ndindex(STATES, ACTIONS):
        own = [r for r in rows if r[:2] == pair]
        for k, (_, _, gained, to, ends) in enumerate(own):
            place = (*pair, k)
            probability[place], reward[place] = 1 / len(own), gained
            next_state[place], terminated[place] = to, ends
    return TabularMDP(probability, next_state, reward, terminated, starts_of(rows))


def starts_of(rows):
    """Return the share of each state among the rows."""
    return np.bincount([r[0] for r in rows], minlength=STATES) / len(rows)


def fitted_by(data, policy):
    target = target_of(data, lambda state: policy[state])
    model = Model(data, target)
    fitted = fitted_values(model)
    ends = [start_value(data, target, bounding_values(model, end)) for end in (0, 1)]
    return start_value(data, target, fitted), fitted, ends


@pytest.mark.parametrize("seed", range(5))
def test_it_is_exact_evaluation_of_the_rows(seed):
    rows, policy = rows_of(seed), random_policy(seed, STATES, ACTIONS)
    value, fitted, _ = fitted_by(told(rows), policy)
    mdp = model_of(rows)
    expected = exact.policy_value(mdp, policy, DISCOUNT)
    assert value == pytest.approx(float(expected), abs=1e-4)
    of_states = exact.policy_evaluation(mdp, policy, DISCOUNT)
    np.testing.assert_allclose((policy * fitted.tables[0]).sum(-1), of_states, atol=1e-4)
    assert fitted.clipped_share == 0


def test_undiscounted_values_are_sums_over_the_steps_that_are_left():
    rows, policy = rows_of(1), random_policy(1, STATES, ACTIONS)
    value, fitted, _ = fitted_by(told(rows, discounted=False), policy)
    mdp = model_of(rows)
    of_states = [np.zeros(STATES)]
    for _ in range(SPEC.horizon):
        backup = exact.backup(mdp, of_states[-1], 1.0)
        of_states.append((policy * backup).sum(-1))
    for steps, expected in enumerate(of_states):
        np.testing.assert_allclose((policy * fitted.left(steps)).sum(-1), expected, atol=1e-9)
    assert value == pytest.approx(mdp.initial @ of_states[-1])


@pytest.mark.parametrize("seed", range(3))
def test_bounds_are_the_values_with_one_more_row_that_ends_at_a_bound(seed):
    rows, policy = rows_of(seed, number=20, without=[(1, 0)]), random_policy(seed, STATES, ACTIONS)
    value, _, ends = fitted_by(told(rows), policy)
    for end, worth in zip(ends, (SPEC.v_min, SPEC.v_max), strict=True):
        more = [(s, a, worth, 0, True) for s, a in np.ndindex(STATES, ACTIONS)]
        of_states = exact.policy_evaluation(model_of(rows + more), policy, DISCOUNT)
        assert end == pytest.approx(float(starts_of(rows) @ of_states), abs=1e-3)
    assert ends[0] < value < ends[1]


def test_what_was_never_seen_is_worth_the_mean_of_what_was():
    table, visits = np.array([[1.0, 4.0, 0.0], [0.0, 0.0, 0.0]]), np.array([[3, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(filled(table, visits), [[1.0, 4.0, 1.75], [1.75, 1.75, 1.75]])


def test_values_that_cannot_be_are_clipped_and_counted():
    # Rewards that an impossible bound does not allow: half of the rows lie beyond it.
    rows = [(0, 0, 4.0, 0, True), (0, 1, -1.0, 0, True)]
    spec = replace(SPEC, v_min=-2.0, v_max=2.0)
    value, fitted, _ = fitted_by(told(rows, spec), np.full((STATES, ACTIONS), 0.5))
    assert fitted.clipped_share == 0.5
    assert value == pytest.approx(0.5 * 2.0 - 0.5 * 1.0)


def test_with_much_data_estimates_of_every_policy_are_near_the_truth_and_bounds_hold_it():
    mdp = random_mdp(3)
    rng, rows = np.random.default_rng(0), []
    for s, a in np.ndindex(STATES, ACTIONS):
        for k in rng.choice(mdp.probability.shape[-1], 2000, p=mdp.probability[s, a]):
            rows.append((s, a, mdp.reward[s, a, k], mdp.next_state[s, a, k],
                         bool(mdp.terminated[s, a, k])))  # fmt: skip
    data = told(rows)
    policies = list(all_policies(STATES, ACTIONS))
    uniform = replace(mdp, initial=np.full(STATES, 1 / STATES))
    truth = [float(exact.policy_value(uniform, p, DISCOUNT)) for p in policies]
    found = [fitted_by(data, policy) for policy in policies]
    np.testing.assert_allclose([value for value, *_ in found], truth, atol=0.15)
    for (*_, (low, high)), value in zip(found, truth, strict=True):
        assert low <= value <= high
