"""Exact fitted Q iteration: one regression at a time, and the values it converges to."""

import numpy as np
import pytest
import torch

from bench.worlds.mdps import Cliff, CombinationLock
from tests.support.builders import (
    build_algorithm,
    make_cohort,
    make_dataset,
    make_spec,
    random_dataset,
    train,
)

DISCOUNT = 0.8
SPEC = make_spec(size=5, num_actions=3, v_min=-6.0, v_max=4.0)


def noisy_dataset(n=60, seed=0):
    """Return transitions between five states, of which the last is never left by action 2."""
    full = random_dataset("discrete", n, seed, spec=SPEC)
    return full.keep(~((full.observation == 4) & (full.action == 2)), "hole")


def cohort_of(dataset, initial_value="zero"):
    algorithm = build_algorithm("fqi_exact", discount=DISCOUNT, initial_value=initial_value)
    return make_cohort([algorithm], [dataset])


def table_of(cohort):
    states = np.arange(cohort.spec.observation_size)
    return cohort.policy(states[None]).scores[0].double().numpy()


def regress(dataset, table):
    """Return the least-squares fit of one number per pair to the targets of all transitions."""
    size = (dataset.spec.observation_size, dataset.spec.num_actions)
    design, targets = [], []
    for i in range(len(dataset)):
        row = np.zeros(size)
        row[dataset.observation[i], dataset.action[i]] = 1
        design.append(row.ravel())
        goes_on = 0.0 if dataset.terminated[i] else 1.0
        following = table[dataset.next_observation[i]].max()
        targets.append(dataset.reward[i] + DISCOUNT * goes_on * following)
    fit = np.linalg.lstsq(np.array(design), np.array(targets), rcond=None)[0].reshape(size)
    seen = np.array(design).sum(0).reshape(size) > 0
    return np.where(seen, fit, table), seen


@pytest.mark.parametrize("initial_value", ["zero", "v_min", "v_max"])
def test_an_update_is_a_least_squares_regression(initial_value):
    dataset = noisy_dataset()
    cohort = cohort_of(dataset, initial_value)
    for _ in range(3):
        expected, _ = regress(dataset, table_of(cohort))
        np.testing.assert_allclose(table_of(train(cohort, 1)), expected, atol=1e-5)


@pytest.mark.parametrize("initial_value", ["zero", "v_min", "v_max"])
def test_it_converges_to_the_optimum_of_the_empirical_mdp(initial_value):
    dataset = noisy_dataset()
    cohort = train(cohort_of(dataset, initial_value), 120)
    start = {"zero": 0.0, "v_min": SPEC.v_min, "v_max": SPEC.v_max}[initial_value]
    table = np.full((5, 3), start)
    for _ in range(300):
        table, _ = regress(dataset, table)
    np.testing.assert_allclose(table_of(cohort), table, atol=2e-5)


@pytest.mark.parametrize(
    ("initial_value", "value"), [("zero", 0.0), ("v_min", -6.0), ("v_max", 4.0)]
)
def test_a_pair_without_data_keeps_the_initial_value(initial_value, value):
    dataset = noisy_dataset()
    cohort = train(cohort_of(dataset, initial_value), 5)
    _, seen = regress(dataset, np.zeros((5, 3)))
    assert not seen.all()
    assert (table_of(cohort)[~seen] == value).all()


@pytest.mark.parametrize("world", [CombinationLock(3, 3, 0.0), Cliff(2, 3, 0.0)])
def test_with_every_outcome_in_the_data_it_finds_the_true_optimum(world):
    environment = world.environment("world", seed=0, discount=DISCOUNT, horizon=10)
    mdp = environment.mdp
    rows = []
    for state, action in np.ndindex(mdp.num_states, mdp.num_actions):
        at = (state, action, int(mdp.probability[state, action].argmax()))
        rows.append((state, action, mdp.reward[at], mdp.next_state[at], mdp.terminated[at]))
    cohort = train(cohort_of(make_dataset(environment.spec, rows)), 60)
    policy = np.eye(mdp.num_actions)[cohort.policy(np.arange(mdp.num_states)[None]).mode()[0]]
    value = 0.0
    for _ in range(200):
        one_step = mdp.expected_reward + DISCOUNT * mdp.continuation @ np.broadcast_to(
            value, mdp.num_states
        )
        value = (policy * one_step).sum(-1)
    assert value @ mdp.initial == pytest.approx(environment.optimum, abs=1e-6)
    assert environment.optimum > 0


def test_the_metric_is_the_largest_change_and_vanishes_at_convergence():
    cohort = cohort_of(noisy_dataset())
    before = table_of(cohort)
    after = table_of(train(cohort, 1))
    change = cohort.metrics["change"].item()
    assert change == pytest.approx(np.abs(after - before).max(), rel=1e-6)
    assert train(cohort, 150).metrics["change"].item() < 1e-6


def test_termination_stops_the_bootstrap_and_a_time_limit_does_not():
    rows = [(0, 0, 1.0, 0, False), (1, 0, 1.0, 1, True)]
    dataset = make_dataset(make_spec(size=2, num_actions=1), rows)
    assert dataset.truncated.tolist() == [True, False]
    table = table_of(train(cohort_of(dataset), 100))
    np.testing.assert_allclose(table[:, 0], [1 / (1 - DISCOUNT), 1.0], rtol=1e-5)


def test_a_pair_seen_ending_and_going_on_weighs_both_by_their_counts():
    rows = [(0, 0, 1.0, 1, False)] * 3 + [(0, 0, -1.0, 1, True), (1, 0, 10.0, 1, True)]
    dataset = make_dataset(make_spec(size=2, num_actions=1), rows)
    table = table_of(train(cohort_of(dataset), 2))
    expected = (3 * (1.0 + DISCOUNT * 10.0) - 1.0) / 4
    np.testing.assert_allclose(table[:, 0], [expected, 10.0], rtol=1e-6)


def test_runs_iterate_on_their_own_counts():
    datasets = [noisy_dataset(60, seed=1), noisy_dataset(25, seed=2)]
    algorithm = build_algorithm("fqi_exact", discount=DISCOUNT)
    cohort = train(make_cohort([algorithm] * 2, datasets), 4)
    tables = cohort.policy(np.broadcast_to(np.arange(5), (2, 5)).copy()).scores
    for run, dataset in enumerate(datasets):
        alone = torch.tensor(table_of(train(cohort_of(dataset), 4)), dtype=torch.float32)
        torch.testing.assert_close(tables[run], alone)
