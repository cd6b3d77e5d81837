"""The continuing worlds against simulations of what their texts say."""

import numpy as np
import pytest

from bench.worlds import exact
from bench.worlds.operations import Queue, Replacement

QUEUE = Queue(capacity=5, num_speeds=3, arrival=0.5, fastest=0.8, speed_cost=0.4, lost_cost=3.0)
MACHINE = Replacement(num_states=6, breakdown_cost=5.0, repair_cost=0.4, replace_cost=1.0)
WORLDS = [QUEUE, MACHINE]


def moves(mdp, state, action):
    """Return the probability of each state after, ``[states]``, and the expected reward."""
    chance = mdp.probability[state, action]
    after = np.bincount(mdp.next_state[state, action], chance, minlength=mdp.num_states)
    return after, (chance * mdp.reward[state, action]).sum()


@pytest.mark.parametrize("world", WORLDS, ids=lambda x: type(x).__name__)
def test_nothing_ends_and_instances_differ(world):
    first, second = (world.mdp(np.random.default_rng(seed)) for seed in (0, 1))
    assert not first.terminated.any()
    assert not np.allclose(first.probability, second.probability)
    assert (first.num_states, first.num_actions) == world.table_shape
    assert (first.reward <= 0).all()


def test_a_queue_s_step_by_hand():
    mdp = QUEUE.mdp(np.random.default_rng(0))
    arrival = 0.5 * np.random.default_rng(0).uniform(0.8, 1.2)
    after, reward = moves(mdp, 2, 1)  # two wait, half speed serves with 0.4
    assert after[[1, 2, 3]] == pytest.approx(
        [0.4 * (1 - arrival), 0.4 * arrival + 0.6 * (1 - arrival), 0.6 * arrival]
    )
    assert reward == pytest.approx(-2 / 5 - 0.4 / 2)
    after, reward = moves(mdp, 5, 2)  # full, full speed: who comes and finds no place is lost
    assert after[[4, 5]] == pytest.approx([0.8 * (1 - arrival), 1 - 0.8 * (1 - arrival)])
    assert reward == pytest.approx(-1 - 0.4 - 3 * arrival * 0.2)
    after, _ = moves(mdp, 0, 2)  # nobody waits, so nobody is served before one comes
    assert after[[0, 1]] == pytest.approx([1 - arrival, arrival])


def test_a_machine_s_step_by_hand():
    mdp = MACHINE.mdp(np.random.default_rng(0))
    grows = np.random.default_rng(0).uniform(0.5, 0.8)
    breaks = (3 / 5) ** 2
    after, reward = moves(mdp, 3, 0)
    assert after[[0, 3, 4]] == pytest.approx(
        [breaks, (1 - grows) * (1 - breaks), grows * (1 - breaks)]
    )
    assert reward == pytest.approx(-3 / 5 - 5 * breaks)
    after, reward = moves(mdp, 3, 1)  # repaired to 1
    assert after[[1, 2]] == pytest.approx([1 - grows, grows])
    assert reward == pytest.approx(-3 / 5 - 0.4)
    after, reward = moves(mdp, 5, 2)  # replaced
    assert after[[0, 1]] == pytest.approx([1 - grows, grows])
    assert reward == pytest.approx(-1 - 1.0)


@pytest.mark.parametrize("world", WORLDS, ids=lambda x: type(x).__name__)
def test_the_optimum_is_far_above_the_least_that_can_be(world):
    mdp = world.mdp(np.random.default_rng(0))
    optimum = exact.optimal_values(mdp, 0.95).max(-1)[0]
    assert optimum > 0.5 * mdp.reward.min() / 0.05
