"""Environments by their id in gymnasium: collected, evaluated, and what is refused."""

import re

import gymnasium
import numpy as np
import pytest
import torch

from algorithms.distributions import Deterministic
from bench.data.registered import Gymnasium
from bench.measures.evaluation import evaluate as measure
from bench.settings.run import data_source, run_config
from bench.worlds.base import rollout
from bench.worlds.simulators import live
from bench.worlds.simulators import registered as registered_world
from bench.worlds.simulators.registered import EPISODES, Registered
from bench.worlds.tabular import TabularEnvironment
from tests.support import commands
from tests.support.builders import build_algorithm, make_cohort


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


class Push(gymnasium.Env):
    """Moves by the action, in [0, 4] x [-3, 3], and pays its sum; two steps, then it ends."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(np.array([0, -3.0]), np.array([4, 3.0]), dtype=np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.time = np.zeros(2), 0
        return self.place, {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.place, self.time = self.place + action, self.time + 1
        return self.place, float(action.sum()), self.time == 2, False, {}


def registered(name, entry_point):
    gymnasium.register(name, entry_point=entry_point)
    yield name
    del gymnasium.registry[name]


@pytest.fixture
def push():
    yield from registered("Push-v0", Push)


@pytest.fixture
def open_box():
    class Open(Push):
        action_space = gymnasium.spaces.Box(-1, np.inf, (2,))

    yield from registered("Open-v0", Open)


@pytest.fixture
def several():
    class Several(Push):
        action_space = gymnasium.spaces.MultiDiscrete([2, 3])

    yield from registered("Several-v0", Several)


@pytest.fixture
def cut():
    gymnasium.register("Cut-v0", entry_point=Cut)
    yield "Cut-v0"
    del gymnasium.registry["Cut-v0"]


def source(name, **settings):
    uniform = ({"epsilon": 1.0, "share": 1.0},)
    given = {"expert_return": None, "policy": None, "behavior": uniform}
    given |= {"num_transitions": 300, "max_steps": None}
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


def test_a_box_of_actions_is_collected_from_and_scaled(push):
    task = source(push).load("gymnasium", 0, 0.9, None)
    spec, data = task.environment.spec, task.data
    assert spec.action_bounds == ((0, -3), (4, 3))
    assert data.terminated[data.step == 1].all()
    np.testing.assert_allclose(data.next_observation - data.observation, data.action, atol=1e-6)
    low, high = data.action.min(0), data.action.max(0)
    np.testing.assert_allclose([low, high], spec.action_bounds, atol=0.1)
    # Two steps of mean 2 + 0 and variance 16 / 12 + 36 / 12.
    error = np.sqrt(2 * 52 / 12 / EPISODES)
    assert task.environment.uniform == pytest.approx(4, abs=4 * error)
    told = data.provenance["reference"]["source"]
    assert float(re.search(r"standard error ([\d.]+)", told)[1]) == pytest.approx(error, rel=0.3)
    facts = source(push).facts()
    assert (facts.kind, facts.action_kind) == ("mujoco", "continuous")


def test_a_learner_s_actions_reach_a_box_in_its_own_units(push):
    environment = source(push).load("gymnasium", 0, 0.9, None).environment
    algorithm = build_algorithm("bc", "mujoco", hidden_sizes=[4])
    dataset = source(push).load("gymnasium", 0, 0.9, None).data
    cohort = make_cohort([algorithm], [dataset])
    best = lambda x, runs=None: Deterministic(torch.ones(*x.shape[:-1], 2))  # noqa: E731
    (found,) = measure(best, 0, [environment], [0], 3)
    assert found.returns == [2 * (4 + 3)] * 3
    (own,) = measure(cohort.policy, 0, [environment], [0], 3)
    assert all(-6 <= value <= 14 for value in own.returns)


def test_gymnasium_s_pendulum_is_this_project_s():
    facts = source("Pendulum-v1").facts()
    assert (facts.kind, facts.has_comparator, facts.slab_dimension) == ("continuous", True, "speed")
    task = source("Pendulum-v1", behavior=({"epsilon": 0.0, "share": 1.0},)).load(
        "gymnasium", 0, 0.99, None
    )
    assert task.environment.optimum == pytest.approx(-122.3, abs=0.5)


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
        ({"id": "Open-v0"}, "whose actions have no finite bounds to be scaled by"),
        ({"id": "Several-v0"}, "whose actions are neither numbered nor a box"),
        ({"id": "LunarLander-v3"}, "LunarLander-v3 cannot be made here"),
        ({"behavior": [{"epsilon": 0.5, "share": 1.0}]}, "needs a reference policy"),
    ],
)
@pytest.mark.usefixtures("open_box", "several")
def test_what_cannot_be_collected_is_said(settings, message):
    (job,) = commands.settings("dataset=gymnasium")
    with pytest.raises(Exception, match=message):
        data_source({**job["dataset"], **settings})


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    registered_world._spaces.cache_clear()
    monkeypatch.setattr(live.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'needs `pip install -e "\.\[mujoco\]"`'):
        Registered("Hopper-v5", None)


def test_hopper_is_collected_from_and_acted_in():
    pytest.importorskip("mujoco")
    task = source("Hopper-v5").load("gymnasium", 0, 0.99, None)
    spec = task.environment.spec
    assert (spec.observation_size, spec.action_size, spec.horizon) == (11, 3, 1000)
    assert 5 < task.environment.uniform < 40
    assert source("Hopper-v5").facts().kind == "mujoco"
