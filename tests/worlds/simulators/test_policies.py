"""Policies that someone brings: by import path or saved by stable-baselines3."""

import numpy as np
import pytest

from bench.settings.typed import ConfigError
from bench.worlds.simulators.live import LiveEnvironment
from bench.worlds.simulators.policies import digest_of, policy_of
from bench.worlds.simulators.registered import Registered
from bench.worlds.spaces import FlatSpace
from tests.support import commands

BALANCE = "def act(observation):\n    return int(observation[2] + 0.5 * observation[3] > 0)\n"
SWING = "def act(observation):\n    return [0.5]\ndef wide(observation):\n    return [0.5, 0.5]\n"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module of the given text into the current folder and return its name."""

    def write(text):
        name = f"brought_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.chdir(tmp_path)
        policy_of.cache_clear()
        return name

    return write


def test_a_function_collects_and_is_what_scores_are_against(module):
    policy = f"{module(BALANCE)}:act"
    world = Registered("CartPole-v1", None, policy)
    environment = world.environment("x", 0, 0.99, 60)
    assert isinstance(environment, LiveEnvironment)
    assert world.has_reference_policy
    states = np.array([[[0, 0, 0.1, 0], [0, 0, -0.1, 0.1]]], dtype=np.float32)
    assert environment.reference_action(states).tolist() == [[1, 0]]
    assert environment.optimum == pytest.approx(60, abs=5)
    assert environment.uniform < 30
    assert "policy: " in environment.reference.source
    assert "standard error" in environment.reference.source


def test_its_data_is_epsilon_greedy_around_it(module):
    policy = f"{module(BALANCE)}:act"
    words = ["dataset=gymnasium", "dataset.id=CartPole-v1", f"dataset.policy={policy}"]
    (run,) = commands.plan(
        *words, "algorithm=bc", "dataset.behavior=[{epsilon: 0.0, share: 1.0}]",
        "dataset.num_transitions=300", "dataset.max_steps=50",
    ).runs  # fmt: skip
    data = run.config.dataset.load(None).data
    expected = data.observation[:, 2] + 0.5 * data.observation[:, 3] > 0
    assert np.array_equal(data.action, expected.astype(int))
    assert np.array_equal(data.storage.comparator_action, data.action)


def test_what_the_file_says_is_part_of_the_identity(module, tmp_path):
    name = module(BALANCE)
    before = digest_of(f"{name}:act")
    (tmp_path / f"{name}.py").write_text(BALANCE.replace("0.5", "0.4"))
    assert digest_of(f"{name}:act") != before


def test_a_saved_policy_acts_by_its_mode(tmp_path):
    package = pytest.importorskip("stable_baselines3")
    model = package.A2C("MlpPolicy", "Acrobot-v1", policy_kwargs={"net_arch": [4]}, device="cpu")
    model.save(tmp_path / "mine.zip")
    environment = Registered("Acrobot-v1", -80.0, str(tmp_path / "mine.zip")).environment(
        "x", 0, 0.99, 20
    )
    observation = np.random.default_rng(0).normal(size=(1, 9, 6)).astype(np.float32)
    expected = model.predict(observation[0], deterministic=True)[0]
    assert np.array_equal(environment.reference_action(observation)[0], expected)
    assert environment.optimum == -80.0


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("mine", "should be package.module:function or the path of a .zip"),
        ("no_such_module:act", "cannot be imported: No module named"),
        ("math:nothing", "there is no function 'nothing' there"),
        ("missing.zip", "is no policy that stable-baselines3 saved: FileNotFoundError"),
    ],
)
def test_what_is_none_is_refused_in_one_sentence(word, message):
    with pytest.raises(ConfigError) as error:
        commands.plan("dataset=gymnasium", "dataset.id=Acrobot-v1", f"dataset.policy={word}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_actions_that_are_none_of_the_world_s_are_refused(module):
    name = module(SWING)
    numbered, box = FlatSpace(0, 3), FlatSpace(0, 1, bounds=((-2.0,), (2.0,)))
    observation = np.zeros((1, 2, 3), dtype=np.float32)
    assert policy_of(f"{name}:act", numbered, box)(observation).tolist() == [[[0.5], [0.5]]]
    with pytest.raises(ValueError, match="returns 2 numbers, but an action has 1"):
        policy_of(f"{name}:wide", numbered, box)(observation)
    with pytest.raises(ValueError, match="an action that is none of the 3"):
        policy_of("math:fsum", numbered, FlatSpace(3, 0))(observation + 5)
