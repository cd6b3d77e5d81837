"""What a bandit deploys after so many evaluations."""

from itertools import combinations

import numpy as np
import pytest

from bench.measures.statistics.tuning import tuning_curve


def curve(*tasks, **settings):
    return tuning_curve([np.asarray(t) for t in tasks], np.random.default_rng(0), **settings)


def test_without_noise_it_is_the_best_of_so_many_drawn():
    truth = np.array([0.1, 0.4, 0.2, 0.9, 0.6])
    found = curve(truth[:, None], num_bandits=20_000)
    expected = [np.mean([min(c) for c in combinations(truth, k)]) for k in range(1, 6)]
    assert found.regret == pytest.approx(expected, abs=0.01)
    assert found.regret[-1] == pytest.approx(0.1)
    assert found.low[0] == pytest.approx(0.1)
    assert found.high[0] == pytest.approx(0.9)


def test_with_noise_one_look_at_everything_is_not_enough():
    # A setting of 0 or 1 by chance against one that is always at 0.45.
    outcomes = np.array([[0.0, 1.0], [0.45, 0.45]])
    found = curve(outcomes, num_bandits=20_000)
    # One look: either. Two: the first is deployed whenever it was lucky.
    assert found.regret == pytest.approx([0.475, 0.475], abs=0.005)
    assert found.regret[1] > outcomes.mean(axis=1).min()


def test_many_evaluations_find_the_best():
    rng = np.random.default_rng(1)
    outcomes = np.linspace(0.1, 0.9, 5)[:, None] + rng.normal(0, 0.1, (5, 50))
    found = curve(outcomes, num_evaluations=400, num_bandits=100, exploration=0.3)
    assert found.regret[-1] == pytest.approx(outcomes.mean(axis=1).min(), abs=0.01)


def test_tasks_are_tuned_for_one_by_one_and_averaged():
    one, other = np.array([[0.0], [1.0]]), np.array([[0.6], [0.2]])
    assert curve(one, other).regret[-1] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="the same settings"):
        curve(one, np.zeros((3, 1)))
