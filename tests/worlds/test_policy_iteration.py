"""Policy iteration on every world with a table, against value iteration."""

import time

import numpy as np
import pytest

from bench.settings.groups import file_of, known_names
from bench.settings.run import data_source
from bench.worlds import exact
from bench.worlds.mdps import Garnet
from tests.support.worlds import can_be_made, swept_values

# Sweeps of larger tables take half a minute.
LARGEST_SWEPT = 3_000_000


def with_tables():
    """Return the sources of conf/dataset whose worlds are finite MDPs."""
    found = []
    for name in known_names("dataset"):
        settings = file_of("dataset", name)
        if not settings["target"].endswith(".Collected"):
            continue
        source = data_source(settings)
        if source.environment.tabular and can_be_made(source, settings["discount"]):
            found.append(pytest.param(source, settings["discount"], id=name))
    return found


def made(source, discount):
    return source.environment_of("world", 0, discount)


@pytest.mark.parametrize(("source", "discount"), with_tables())
def test_it_agrees_with_value_iteration(source, discount):
    environment = made(source, discount)
    mdp = environment.mdp
    found = exact.optimal_values(mdp, discount)
    # No action is worth more than what the policy that is found makes of it.
    residual = found - exact.backup(mdp, found.max(-1), discount)
    largest = np.abs(found).max()
    assert np.abs(residual).max() <= 1e-13 * largest / (1 - discount)
    if mdp.continuation.size > LARGEST_SWEPT:
        return
    swept = swept_values(mdp, discount)
    np.testing.assert_allclose(found, swept, rtol=0, atol=1e-9 * largest)
    np.testing.assert_array_equal(exact.greedy(found), exact.greedy(swept))


@pytest.mark.parametrize("num_states", [120, 400])
def test_it_is_faster_than_value_iteration_on_many_states(num_states):
    mdp = Garnet(num_states, 6, 5, 0.1).mdp(np.random.default_rng(0))

    def seconds(solve):
        begun = time.process_time()
        solve(mdp, 0.99)
        return time.process_time() - begun

    assert seconds(exact.optimal_values) < seconds(swept_values) / 2


@pytest.mark.parametrize(("source", "discount"), with_tables())
def test_the_covered_optimum_agrees_with_value_iteration(source, discount):
    environment = made(source, discount)
    mdp, v_min = environment.mdp, environment.spec.v_min
    covered = np.random.default_rng(0).random((mdp.num_states, mdp.num_actions)) < 0.7
    found = exact.optimal_values(mdp, discount, covered, v_min)
    assert np.all(found[~covered] == v_min)
    again = np.where(covered, exact.backup(mdp, found.max(-1), discount), v_min)
    np.testing.assert_allclose(found, again, rtol=0, atol=1e-10 * np.abs(found).max())
    if mdp.continuation.size > LARGEST_SWEPT:
        return
    swept = swept_values(mdp, discount, covered, v_min)
    np.testing.assert_allclose(found, swept, rtol=0, atol=1e-9 * np.abs(found).max())
