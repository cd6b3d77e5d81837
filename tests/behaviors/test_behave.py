"""Policies that collect: trained, kept, and what is collected by them."""

import csv
import json
from typing import get_args

import gymnasium
import numpy as np
import pytest

from bench.behaviors import models, training
from bench.behaviors.actor import Actor
from bench.behaviors.kept import CARD, CURVE, card_of, folder_of
from bench.behaviors.models import TrainingSettings
from bench.behaviors.source import Trained
from bench.settings.run import run_config, run_id
from bench.settings.typed import ConfigError
from tests.support.commands import settings
from tests.support.sweeps import records, run_here

pytest.importorskip("stable_baselines3")

ALGORITHMS = get_args(TrainingSettings.model_fields["algorithm"].annotation)


class Line(gymnasium.Env):
    """Ten steps on a line, paid by how near the action is to .5 (in units of 2)."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        self.time += 1
        seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return seen, 1 - float((action[0] - 1) ** 2), self.time == 10, False, {}


class Numbered(Line):
    """The same with one action, which has a number."""

    action_space = gymnasium.spaces.Discrete(1)

    def step(self, action):
        return super().step([action])


@pytest.fixture(autouse=True)
def line():
    for name, kind in (("Line-v0", Line), ("Numbered-v0", Numbered)):
        gymnasium.register(name, entry_point=kind, max_episode_steps=10)
    yield
    for name in ("Line-v0", "Numbered-v0"):
        del gymnasium.registry[name]


WORDS = ("behave", "dataset.id=Line-v0", "seed=3", "behave.num_steps=400", "behave.eval_every=100",
         "behave.eval_episodes=4", "behave.final_episodes=8", "behave.hidden_sizes=[8]",
         "behave.learning_rate=0.01", "behave.returns=[-20.0,9999.0]")  # fmt: skip


def source(behavior, **given):
    return Trained("Line-v0", behavior, **{"behavior_noise": 0.0, "num_transitions": 200,
                                           "max_steps": None} | given)  # fmt: skip


def job(*words):
    (found,) = settings("dataset=hopper", "dataset.id=Line-v0", "algorithm=bc", *words)
    return found


def check_halves(both):
    half = len(both) // 2
    for part, rows in (("medium", slice(half)), ("expert", slice(half, None))):
        alone = source(part, num_transitions=half).load("", 0, 0.9, None).data.storage
        np.testing.assert_array_equal(both.observation[rows], alone.observation)
        np.testing.assert_array_equal(both.action[rows], alone.action)
    # No episode leads from one policy's data into the other's.
    assert both.episode[half] > both.episode[half - 1]
    assert both.step[half] == 0


def test_what_is_trained_is_kept_and_collects(monkeypatch, capsys, tmp_path):
    with pytest.raises(ValueError, match=r"python -m bench behave dataset\.id=Line-v0"):
        source("expert")
    untrained = job()
    before = run_id(untrained, run_config(untrained))
    assert run_here(monkeypatch, *WORDS) == 0
    card, folder = card_of("Line-v0"), folder_of("Line-v0")
    assert card.seed == 3
    # 9999 is out of reach.
    assert set(card.policies) == {"expert", "medium", "return_-20"}
    assert card.random.mean < card.policies["expert"].mean <= 10
    assert card.policies["medium"].steps <= card.policies["expert"].steps
    assert card.random.standard_error > 0
    assert set(card.versions) == set(training.PACKAGES)
    rows = list(csv.DictReader((folder / CURVE).open()))
    assert [int(row["steps"]) for row in rows] == [100, 200, 300, 400]
    best = max(rows, key=lambda row: float(row["return_mean"]))
    assert int(best["steps"]) == card.policies["expert"].steps

    # Again nothing is trained; another training is refused.
    written = (folder / CARD).stat().st_mtime_ns
    assert run_here(monkeypatch, *WORDS) == 0
    assert (folder / CARD).stat().st_mtime_ns == written
    capsys.readouterr()
    assert run_here(monkeypatch, *WORDS, "seed=4") == 2
    assert "another training" in capsys.readouterr().err

    tasks = {name: source(name).load("", 0, 0.9, None)
             for name in ("expert", "mixed", "random", "medium", "medium_replay",
                          "medium_expert")}  # fmt: skip
    expert = tasks["expert"]
    assert expert.environment.optimum == card.policies["expert"].mean
    assert expert.environment.uniform == card.random.mean
    assert expert.behavior_value == pytest.approx(card.policies["expert"].mean, abs=0.5)
    for name, task in tasks.items():
        # The expert is whom all are compared with.
        best = expert.environment.reference_action(task.data.observation)
        np.testing.assert_array_equal(task.data.storage.comparator_action, best)
        assert (task.data.action == best).all() == (name == "expert")
        assert "standard error" in task.data.provenance["reference"]["source"]
        facts = source(name).facts()
        assert (facts.kind, facts.num_transitions) == ("mujoco", len(task.data))
    assert len(tasks["medium_replay"].data) == min(200, card.replay)
    check_halves(tasks["medium_expert"].data.storage)
    assert tasks["random"].behavior_value < tasks["mixed"].behavior_value < expert.behavior_value
    with pytest.raises(
        ValueError, match="should be one of: random, mixed, medium_replay, medium_expert"
    ):
        source("nobody")

    trained = job()
    assert run_id(trained, run_config(trained)) != before
    monkeypatch.chdir(tmp_path)
    status = run_here(
        monkeypatch, "dataset=hopper", "dataset.id=Line-v0", "behavior=medium_replay,expert",
        "algorithm=bc,td3_bc", "num_updates=3", "algorithm.hidden_sizes=[8]", "tracking=none",
        "eval_episodes=2", "launcher=local", "dataset.num_transitions=100",
    )  # fmt: skip
    assert status == 0
    made = list(records(tmp_path).values())
    assert {r["environment"] for r in made} == {"Line-v0_expert", "Line-v0_medium_replay"}
    assert all(r["status"] == "completed" for r in made)
    assert all(r["final"]["normalized_regret"] is not None for r in made)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_actor_does_what_the_model_predicts(algorithm):
    worlds = [Line() for _ in range(8)]
    settings = TrainingSettings(algorithm=algorithm, hidden_sizes=(16, 8), learning_rate=0.01,
                                num_steps=400, eval_every=100, eval_episodes=2, final_episodes=2,
                                returns=())  # fmt: skip
    model = models.model_of(worlds[: models.num_worlds(settings)], 0, settings).learn(300)
    seen = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)
    running = model.get_vec_normalize_env()
    predicted, _ = model.predict(running.normalize_obs(seen) if running else seen,
                                 deterministic=True)  # fmt: skip
    # PPO's model acts in a world whose actions are in [-1, 1].
    scale = 1 if running else 2
    np.testing.assert_allclose(scale * models.actor_in(model)(seen), predicted, atol=1e-5)


def test_ppo_trains_in_copies_of_the_world(monkeypatch):
    assert run_here(monkeypatch, *WORDS, "behave.algorithm=PPO", "behave.num_steps=1600") == 0
    card = card_of("Line-v0")
    assert card.policies["expert"].mean > card.random.mean
    data = source("medium_replay", num_transitions=9999).load("", 0, 0.9, None).data
    assert len(data) == card.replay == card.policies["medium"].steps
    # Whole episodes one after another, though eight went on at once.
    storage = data.storage
    same = storage.episode[1:] == storage.episode[:-1]
    np.testing.assert_array_equal(storage.step[1:][same], storage.step[:-1][same] + 1)
    np.testing.assert_array_equal(storage.observation[1:][same],
                                  storage.next_observation[:-1][same])  # fmt: skip
    assert (storage.step[1:][~same] == 0).all()


def test_an_actor_read_back_is_the_same(tmp_path):
    rng = np.random.default_rng(0)
    actor = Actor((rng.normal(size=(4, 2)), rng.normal(size=(1, 4))),
                  (rng.normal(size=4), rng.normal(size=1)), "clip")  # fmt: skip
    actor.save(tmp_path / "a.npz")
    seen = rng.normal(size=(9, 2))
    np.testing.assert_array_equal(Actor.load(tmp_path / "a.npz")(seen), actor(seen))


def test_nothing_is_kept_where_nothing_was_learned(monkeypatch, capsys):
    words = (*WORDS[:3], "behave.num_steps=100", "behave.eval_every=200", "behave.hidden_sizes=[4]")
    assert run_here(monkeypatch, *words) == 2
    assert "should be at most behave.num_steps" in capsys.readouterr().err
    assert not folder_of("Line-v0").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "behave needs dataset=NAME, one of: ant, halfcheetah, hopper, walker2d"),
        (("dataset=lqr",), "should be one of: ant"),
        (("dataset.id=Pendulum-v1",), "its behaviors are known here"),
        (("dataset.id=Numbered-v0",), "Numbered-v0 needs no training"),
        (("dataset.id=Line-v0", "behave.speed=1"), "behave.speed is not a setting"),
        (("dataset.id=Line-v0", "behave.algorithm=DDPG"), "'SAC', 'TD3' or 'PPO'"),
        (("dataset.id=Line-v0", "algorithm=bc"), "is no word of behave"),
        (("dataset.id=Line-v0", "seed=-1"), "whole number"),
    ],
)
def test_wrong_words_are_one_sentence(words, message, monkeypatch, capsys):
    assert run_here(monkeypatch, "behave", *words) == 2
    assert message in capsys.readouterr().err


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    assert run_here(monkeypatch, *WORDS) == 2
    assert 'needs `pip install -e ".[behavior]"`' in capsys.readouterr().err


def test_replay_is_for_trained_behaviors_alone():
    with pytest.raises(ConfigError, match="dataset=lqr is not"):
        settings("dataset=lqr", "behavior=medium_replay", "algorithm=bc")


def test_a_damaged_card_is_named():
    folder = folder_of("Line-v0")
    folder.mkdir(parents=True)
    (folder / CARD).write_text(json.dumps({"id": "Line-v0"}))
    with pytest.raises(ValueError, match="is damaged: remove the folder"):
        source("expert")
