"""Constrained pessimism: the worst model in a ball, and iteration against it."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from algorithms.tables.cppo import worst_mean
from bench.worlds.mdps import Garnet
from tests.support.builders import build_algorithm, make_cohort, train
from tests.support.tables import (
    DISCOUNT,
    SPEC,
    alone,
    drawn_datasets,
    policy_of,
    table_data,
    values_of,
)


def learner(**settings):
    return build_algorithm("cppo", **{"discount": DISCOUNT, "conservatism": 0.1} | settings)


def by_linear_programme(probability, value, radius):
    """Return the lowest mean within an L1 ball: p = probability + up - down."""
    n = len(value)
    found = linprog(
        np.concatenate([value, -value]),
        A_ub=np.block([[np.ones(2 * n)], [np.hstack([-np.eye(n), np.eye(n)])]]),
        b_ub=np.concatenate([[radius], probability]),
        A_eq=np.concatenate([np.ones(n), -np.ones(n)])[None],
        b_eq=[0],
        bounds=(0, None),
    )
    return probability @ value + found.fun


def test_the_worst_mean_is_that_of_a_linear_programme():
    rng = np.random.default_rng(0)
    probability = rng.dirichlet(np.full(6, 0.5), size=(4, 3))
    probability[0, 0] = np.eye(6)[2]
    value = rng.normal(size=6)
    radius = rng.uniform(0, 2, size=(4, 3))
    radius[1] = (0.0, 2.0, 1e-3)
    found = worst_mean(*(torch.tensor(x) for x in (probability, value, radius)))
    for pair in np.ndindex(4, 3):
        expected = by_linear_programme(probability[pair], value, radius[pair])
        assert found[pair].item() == pytest.approx(expected, abs=1e-9)


def test_an_update_is_a_step_against_the_worst_model():
    dataset = table_data()
    cohort = train(alone(learner(), dataset), 3)
    before = policy_of(cohort).scores[0].double().numpy()
    after = policy_of(train(cohort, 1)).scores[0].double().numpy()
    value = np.append(before.max(-1), 0.0)
    for pair in np.ndindex(5, 3):
        rows = (dataset.observation == pair[0]) & (dataset.action == pair[1])
        n, expected = rows.sum(), SPEC.v_min
        if n:
            led = np.where(dataset.terminated, 5, dataset.next_observation)[rows]
            shares = np.bincount(led, minlength=6) / n
            radius = 0.1 * np.sqrt(2 * (np.log(15 / 0.05) + 6 * np.log(2)) / n)
            worst = by_linear_programme(shares, value, min(radius, 2))
            expected = dataset.reward[rows].mean() + DISCOUNT * worst
        expected = np.clip(expected, SPEC.v_min, SPEC.v_max)
        assert after[pair] == pytest.approx(expected, abs=1e-4)


def test_without_conservatism_it_is_value_iteration_on_counts():
    dataset = table_data()
    found = policy_of(train(alone(learner(conservatism=0.0), dataset), 60)).scores
    plain = build_algorithm("fqi_exact", discount=DISCOUNT, initial_value="v_min")
    torch.testing.assert_close(found, policy_of(train(alone(plain, dataset), 60)).scores)


@pytest.mark.parametrize(("conservatism", "number"), [(1.0, 200), (0.0, 100)])
def test_its_bound_holds_as_often_as_it_says(conservatism, number):
    # Rewards are known to it: here they follow from state and action.
    environment = Garnet(4, 2, 3, 1.0).environment("world", seed=1, discount=0.5, horizon=10)
    datasets = drawn_datasets(environment.mdp, environment.spec, number, 400)
    cohort = train(
        make_cohort([learner(conservatism=conservatism, discount=0.5)] * number, datasets), 15
    )
    values = values_of(cohort, environment.mdp, 0.5)
    broken = (values < cohort.metrics["lower_bound"].double().numpy() - 1e-6).mean()
    assert broken <= 0.05 if conservatism else broken > 0.2
