"""A world of gymnasium set to what was observed takes the step that followed."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from bench.worlds.simulators.settable import Settable
from tests.support import files

WORLDS = ["CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0"]
MUJOCO = [
    "Hopper-v4",
    "HalfCheetah-v5",
    "Walker2d-v5",
    "Swimmer-v5",
    "Ant-v5",
    "InvertedPendulum-v5",
]


def made(world_id):
    world = gymnasium.make(world_id)
    world.reset(seed=0)
    return world


def steps_of(world, num_episodes=2, max_steps=15):
    """Return observations, actions, next observations, rewards and ends of random steps."""
    episodes = files.random_episodes(world.unwrapped, num_episodes, max_steps)
    return tuple(
        np.concatenate(parts)
        for parts in zip(
            *(
                (e.observations[:-1], e.actions, e.observations[1:], e.rewards, e.terminations)
                for e in episodes
            ),
            strict=True,
        )
    )


@pytest.mark.parametrize("world_id", WORLDS)
def test_a_step_is_computed_again(world_id):
    world = made(world_id)
    observation, action, following, reward, terminated = steps_of(world)
    settable = Settable(world)
    assert settable.is_exact
    assert settable.known(observation).all()
    answers = settable.answers(observation.astype(np.float32), action)
    np.testing.assert_allclose(answers.next_observation, following, atol=1e-5)
    np.testing.assert_allclose(answers.reward, reward, atol=1e-4)
    np.testing.assert_array_equal(answers.terminated, terminated)


@pytest.mark.parametrize("world_id", MUJOCO)
def test_a_step_of_mujoco_is_computed_again(world_id):
    pytest.importorskip("mujoco")
    world = made(world_id)
    observation, action, following, reward, terminated = steps_of(world)
    settable = Settable(world)
    known = settable.known(observation)
    assert known.any()
    answers = settable.answers(observation[known].astype(np.float32), action[known])
    moved = (following - observation)[:, : settable.seen].std(0)
    apart = np.abs(answers.next_observation - following[known, : settable.seen]) / moved
    assert np.quantile(apart.max(1), 0.9) < 0.01
    assert np.quantile(np.abs(answers.reward - reward[known]), 0.9) < 0.1 * reward.std()
    np.testing.assert_array_equal(answers.terminated, terminated[known])


def test_velocities_that_are_clipped_do_not_tell_the_state():
    pytest.importorskip("mujoco")
    settable = Settable(made("Hopper-v5"))
    observation = np.zeros((3, 11))
    observation[1, 7], observation[2, 7] = 10, -10
    assert settable.known(observation).tolist() == [True, False, False]


@pytest.mark.parametrize("world_id", ["InvertedDoublePendulum-v5", "Reacher-v5"])
def test_what_shows_no_state_cannot_be_set(world_id):
    pytest.importorskip("mujoco")
    with pytest.raises(ValueError, match="cannot be set to what it shows"):
        Settable(made(world_id))


class Drunk(gymnasium.Env):
    """A walk in which luck decides."""

    observation_space = spaces.Box(-99, 99, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        """Begin in the middle."""
        super().reset(seed=seed)
        self.state = np.zeros(1, dtype=np.float32)
        return self.state.copy(), {}

    def step(self, action):
        """Move anywhere."""
        self.state = (self.state + self.np_random.normal(size=1)).astype(np.float32)
        return self.state.copy(), 0.0, False, False, {}


def test_what_luck_decides_is_not_compared():
    with pytest.raises(ValueError, match="luck decides"):
        Settable(Drunk()).answers(np.zeros((3, 1)), np.zeros(3, dtype=int))
