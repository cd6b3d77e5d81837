"""Missing patients, rare decisions and missing events, against counting by hand."""

import numpy as np
import pytest

from bench.data import recorded_losses
from bench.settings.typed import ConfigError
from tests.support import commands
from tests.support.builders import from_columns, make_spec
from tests.support.worlds import random_tabular_dataset


def rng():
    return np.random.default_rng(0)


def two_weights():
    """Return six episodes of two steps, by three people of different weight."""
    spec = make_spec("vector", 2, observation_names=("weight", "meal"))
    weight = np.repeat([60.0, 70.0, 60.0, 80.0, 70.0, 80.0], 2)
    meal = np.tile([0.0, 5.0, 0.0], 4)
    observation = np.stack([weight, meal], axis=1)
    n = len(weight)
    return from_columns(
        spec, observation, np.arange(n) % 3, np.zeros(n), observation, np.zeros(n, dtype=bool),
        np.arange(n) // 2, np.arange(n) % 2,
    )  # fmt: skip


@pytest.mark.parametrize(("severity", "left"), [(0.0, 3), (0.34, 2), (0.67, 1), (1.0, 1)])
def test_all_episodes_of_a_patient_go_together(severity, left):
    data = two_weights()
    view = recorded_losses.patients(data, severity, rng(), by="weight")
    weights, counts = np.unique(view.observation[:, 0], return_counts=True)
    assert len(weights) == left
    assert np.all(counts == 4)


def test_the_rarest_decisions_of_a_state_go_first():
    data = random_tabular_dataset(3)
    view = recorded_losses.propensity(data, 0.3, rng(), num_cells=3)

    def likely(position):
        here = data.observation == data.observation[position]
        return np.mean(data.action[here] == data.action[position])

    kept = np.isin(data.indices, view.indices)
    chance = np.array([likely(position) for position in range(len(data))])
    assert len(view) == len(data) - int(0.3 * len(data) + 0.5)
    assert chance[~kept].max() <= chance[kept].min() + 1e-12


def test_the_steps_or_episodes_of_an_event_go_and_no_others():
    data = two_weights()
    meal = data.observation[:, 1] > 2
    steps = recorded_losses.events(data, 1.0, rng(), event="meal", above=2.0, unit="steps")
    np.testing.assert_array_equal(steps.indices, np.flatnonzero(~meal))
    whole = recorded_losses.events(data, 1.0, rng(), event="meal", above=2.0, unit="episodes")
    eaten = np.unique(data.episode[meal])
    np.testing.assert_array_equal(whole.indices, np.flatnonzero(~np.isin(data.episode, eaten)))
    half = recorded_losses.events(data, 0.5, rng(), event="meal", above=2.0, unit="steps")
    assert len(half) == len(data) - meal.sum() // 2


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (("coverage=patients", "coverage.by=age"), "null, position, velocity"),
        (("coverage=events", "coverage.event=meal"), "termination, reward, position"),
    ],
)
def test_a_dimension_that_is_not_there_is_refused(words, allowed):
    with pytest.raises(ConfigError, match=allowed):
        commands.plan("dataset=cartpole", "algorithm=bc", *words)
