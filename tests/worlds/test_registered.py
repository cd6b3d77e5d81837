"""Environments by their id in gymnasium: collected, evaluated, and what is refused."""

import gymnasium
import numpy as np
import pytest

from bench.data.registered import Gymnasium
from bench.settings.run import data_source, run_config
from bench.worlds.base import rollout
from bench.worlds.registered import EPISODES, Registered
from bench.worlds.tabular import TabularEnvironment
from tests.support import commands


class Cut(gymnasium.Env):
    """Three steps, then a truncation of its own; the reward is the action."""

    observation_space = gymnasium.spaces.Box(-1, 9, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2, start=3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.full(1, self.time, np.float32), float(action), False, self.time == 3, {}


@pytest.fixture
def cut():
    gymnasium.register("Cut-v0", entry_point=Cut)
    yield "Cut-v0"
    del gymnasium.registry["Cut-v0"]


def source(name, **settings):
    uniform = ({"epsilon": 1.0, "share": 1.0},)
    given = {"expert_return": None, "behavior": uniform, "num_transitions": 300, "max_steps": None}
    return Gymnasium(name, **given | settings)


def test_an_environment_s_own_truncation_does_not_terminate(cut):
    task = source(cut).load("gymnasium", 0, 0.9, None)
    data = task.data
    assert not data.terminated.any()
    assert data.truncated.sum() == 100
    np.testing.assert_array_equal(np.bincount(data.episode), 3)
    np.testing.assert_array_equal(data.observation[:3, 0], [0, 1, 2])
    np.testing.assert_array_equal(data.reward, data.action + 3)
    assert (task.environment.spec.reward_min, task.environment.spec.reward_max) == (3, 4)
    assert task.environment.uniform == pytest.approx(3 * 3.5, abs=4 * np.sqrt(0.75 / EPISODES))
    assert task.environment.optimum is None


def test_evaluation_ends_with_the_episode(cut):
    environment = source(cut).load("gymnasium", 0, 0.9, None).environment
    simulator = environment.simulator([environment], [np.random.default_rng(0)], 4)
    steps = list(rollout(simulator, lambda _: np.ones((1, 4), int), 10))
    assert len(steps) == 3
    assert sum((step.reward * step.active).sum() for step in steps) == 4 * 3 * 4


def test_a_world_of_this_project_is_the_exact_one():
    task = source("FrozenLake-v1", num_transitions=50).load("gymnasium", 0, 0.9, None)
    assert isinstance(task.environment, TabularEnvironment)
    assert task.environment.spec.name == "FrozenLake-v1"
    facts = source("FrozenLake-v1").facts()
    assert facts.tabular
    assert facts.kind == "table"
    assert source("CartPole-v1").facts().slab_dimension == "angle"
    assert source("Acrobot-v1").facts().kind == "vector"


def test_an_expert_return_makes_scores():
    world = Registered("Acrobot-v1", -100.0).environment("x", 0, 0.9, 50)
    assert world.optimum == -100.0
    assert world.uniform == -50.0  # nobody swings up within 50 steps by chance


def test_the_command_line_reaches_it():
    (job,) = commands.settings("dataset=gymnasium", "dataset.id=Acrobot-v1", "algorithm=cql")
    config = run_config(job)
    assert config.dataset.environment_name == "Acrobot-v1"
    assert job["algorithm"]["conservatism"] == 0.3  # as chosen for vectors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"id": "Acrbot-v1"}, "such as Acrobot-v1"),
        ({"id": "Pendulum-v1"}, "whose actions are not numbered"),
        ({"id": "LunarLander-v3"}, "which cannot be made"),
        ({"behavior": [{"epsilon": 0.5, "share": 1.0}]}, "needs a reference policy"),
    ],
)
def test_what_cannot_be_collected_is_said(settings, message):
    (job,) = commands.settings("dataset=gymnasium")
    with pytest.raises(Exception, match=message):
        data_source({**job["dataset"], **settings})
