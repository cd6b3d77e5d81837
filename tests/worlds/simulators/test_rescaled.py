"""A world with mapped rewards is the same world with mapped values, as far as they are known."""

import numpy as np
import pytest

from bench.types import EnvSpec
from bench.worlds.cartpole import CartPole
from bench.worlds.continuous.pendulum import Pendulum
from bench.worlds.mdps import CombinationLock
from bench.worlds.simulators.recorded import OWN_SETTINGS, RecordedEnvironment, Reference
from bench.worlds.simulators.rescaled import rescaled


def test_values_of_a_table_are_those_of_mapped_rewards():
    lock = CombinationLock(length=4, num_actions=3, slip=0.05).environment("lock", 0, 0.9, 50)
    mapped = rescaled(lock, 3.0, 0.0)
    assert mapped.optimum == pytest.approx(3 * lock.optimum)
    assert mapped.uniform == pytest.approx(3 * lock.uniform)
    assert mapped.spec.v_min == pytest.approx(3 * lock.spec.v_min)


def test_values_of_cartpole_with_an_offset_are_not_known():
    pole = CartPole().environment("pole", 0, 0.9, 500)
    assert rescaled(pole, 0.5, 0.0).optimum == 250
    shifted = rescaled(pole, 1.0, 1.0)
    assert (shifted.optimum, shifted.uniform) == (None, None)
    assert (shifted.spec.reward_min, shifted.spec.v_max) == (2.0, pytest.approx(20))


def test_a_policy_s_value_in_pendulum_is_that_of_mapped_rewards():
    world = Pendulum(0.1).environment("pendulum", 0, 0.9, 30)
    mapped = rescaled(world, 0.1, 1.0)
    steps = (1 - 0.9**30) / 0.1

    def still(observation):
        return np.zeros((*observation.shape[:-1], 1))

    assert mapped.policy_value(still) == pytest.approx(0.1 * world.policy_value(still) + steps)
    rewards = []
    for environment in (world, mapped):
        simulator = environment.simulator([environment], [np.random.default_rng(0)], 4)
        simulator.reset()
        rewards.append(simulator.step(np.zeros((1, 4, 1)))[1])
    np.testing.assert_allclose(rewards[1], 0.1 * rewards[0] + 1)
    assert mapped.cells.optimal_values.max() == pytest.approx(
        0.1 * world.cells.optimal_values.max() + steps, rel=1e-6
    )


@pytest.mark.parametrize(
    ("source", "offset", "expected"),
    [
        ("d4rl 1.1", 0.0, (2.0, 20.0)),
        ("d4rl 1.1", 1.0, (None, None)),
        (OWN_SETTINGS, 1.0, (1.0, 10.0)),
    ],
)
def test_reference_returns_are_mapped_unless_the_settings_give_them(source, offset, expected):
    spec = EnvSpec("x", "vector", 3, 2, 0.9, 10, -2.0, 2.0, -20.0, 20.0)
    environment = RecordedEnvironment(spec, Reference(1.0, 10.0, source))
    mapped = rescaled(environment, 2.0, offset)
    assert (mapped.uniform, mapped.optimum) == expected
    # The spec of data is in its own rewards already.
    assert mapped.spec == spec
