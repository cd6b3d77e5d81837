"""What a record says of a policy's value where nothing is acted in."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from algorithms.distributions import Categorical, Greedy
from bench.data.behavior import known_behavior, tables
from bench.data.degradations import thin
from bench.measures.value_estimates import logged as data_module
from bench.measures.value_estimates.estimation import estimates_of, value_estimates
from bench.measures.value_estimates.logged import counted, logged
from bench.measures.value_estimates.states import states_of
from bench.settings.run import run_config
from bench.worlds.clinical.glucose import Glucose
from tests.support import commands
from tests.support.builders import make_spec, random_dataset, world
from tests.support.worlds import random_policy, random_vector_dataset


def task_of(*words):
    """Return the task and the view of it that words name."""
    (job,) = commands.settings(*words)
    config = run_config(job)
    task = config.dataset.load(None)
    return task, config.coverage(task.data)


SMALL = ("dataset=cliff", "behavior=mixed", "dataset.num_transitions=2000", "seed=3")


class Tables:
    """A policy of scores of states for each run, as a cohort's."""

    def __init__(self, kind, scores):
        self.kind, self.scores = kind, torch.as_tensor(scores, dtype=torch.float32)

    def __call__(self, observation, runs=slice(None)):
        scores = self.scores[runs]
        return self.kind(scores[torch.arange(len(scores))[:, None], observation])


def test_a_run_has_the_estimates_of_its_own_policy():
    task, data = task_of(*SMALL)
    states = data.spec.observation_size
    scores = np.random.default_rng(0).normal(size=(2, states, 4))
    policy = Tables(Greedy, scores)
    for run in range(2):
        found = value_estimates(task, data, policy, run)
        best = np.eye(4)[scores[run].argmax(-1)]
        assert found["mode"] == estimates_of(logged(task, data), lambda s, best=best: best[s])
        assert "sampling" not in found
    stochastic = value_estimates(task, data, Tables(Categorical, scores), 1)
    chances = torch.as_tensor(scores[1]).softmax(-1).numpy()
    expected = estimates_of(logged(task, data), lambda s: chances[s])
    assert stochastic["sampling"]["fitted"] == pytest.approx(expected["fitted"], rel=1e-5)
    assert stochastic["mode"] == value_estimates(task, data, policy, 1)["mode"]


def test_the_reference_policy_is_worth_about_what_it_is_worth():
    task, data = task_of(*SMALL)
    best = np.eye(4)[task.environment.reference_action(np.arange(data.spec.observation_size))]
    found = estimates_of(logged(task, data), lambda s: best[s])
    truth = task.environment.optimum
    assert found["importance_sampling_low"] < truth < found["importance_sampling_high"]
    assert found["doubly_robust_low"] < truth < found["doubly_robust_high"]
    assert found["bound_low"] < found["fitted"] < found["bound_high"]
    assert found["fitted"] == pytest.approx(truth, abs=0.1)
    assert found["reasons"] == {}


def test_what_few_trajectories_say_is_withheld_with_a_reason():
    task, data = task_of("dataset=garnet", "dataset.num_transitions=2000")
    best = np.eye(4)[task.environment.reference_action(np.arange(data.spec.observation_size))]
    found = estimates_of(logged(task, data), lambda s: best[s])
    assert found["effective_trajectories"] < 30
    for name in ("importance_sampling", "doubly_robust"):
        assert found[name] is None
        assert "fewer than 30" in found["reasons"][name]
        assert f"{name}_low" not in found
    assert found["fitted"] is not None


def test_closeness_is_counted_over_rows():
    task, data = task_of(*SMALL)
    policy = np.random.default_rng(0).dirichlet(np.ones(4), size=data.spec.observation_size)
    found = estimates_of(logged(task, data), lambda s: policy[s])
    seen = set(zip(data.observation.tolist(), data.action.tolist(), strict=True))
    supported = [sum(policy[s, a] for a in range(4) if (s, a) in seen) for s in data.observation]
    taken = policy[data.observation, data.action]
    acts = data.action != np.bincount(data.action).argmax()
    assert found["support_share"] == pytest.approx(np.mean(supported))
    assert found["agreement"] == pytest.approx(taken.mean())
    assert found["agreement_where_acting"] == pytest.approx(taken[acts].mean())


def test_continuous_actions_and_data_without_starts_have_a_reason_instead():
    continuous = random_dataset("continuous", 30, 0)
    assert "numbered" in value_estimates(None, continuous, None, 0)["reason"]
    task, data = task_of(*SMALL)
    found = value_estimates(task, data.keep(data.step > 0, "no starts"), None, 0)
    assert "start" in found["reason"]
    task, data = task_of("dataset=cartpole", "dataset.num_transitions=300")
    long = replace(data, spec=replace(data.spec, horizon=5000))
    assert "5,000" in value_estimates(task, long, None, 0)["reason"]


# Who collected


def test_the_behavior_policy_is_known_where_the_world_knows_it_and_counted_elsewhere():
    task, data = task_of(*SMALL)
    assert logged(task, data).behavior.told == "known"
    assert logged(task, thin(data, 0.5, np.random.default_rng(0))).behavior.told == "known"
    unknown = replace(task, behavior_policy=None)
    assert logged(unknown, data).behavior.told == "counted in states"
    worse, replaced = task_of("dataset=cliff", "behavior=expert", "dataset.num_transitions=500",
                              "coverage=quality", "coverage.severity=0.5")  # fmt: skip
    assert logged(worse, replaced).behavior.told == "counted in states"
    hidden, seen = task_of("dataset=cartpole", "dataset.hidden=[velocity]",
                           "dataset.num_transitions=300")  # fmt: skip
    assert logged(hidden, seen).behavior.told.startswith("counted in")


def test_what_is_counted_is_the_share_of_an_action_among_those_of_its_state():
    data = random_dataset("discrete", 80, 0, spec=make_spec(size=4, num_actions=3))
    found = np.exp(counted(data, states_of(data)).log_chances[0])
    for row in range(len(data)):
        same = data.observation == data.observation[row]
        expected = (data.action[same] == data.action[row]).mean()
        assert found[row] == pytest.approx(expected)


@pytest.mark.parametrize("words", ["dataset=cliff behavior=medium", "dataset=cartpole"])
def test_known_chances_foretell_what_was_done(words):
    # Over the data the mean of a chance is the share of the action, within its standard error.
    task, data = task_of(*words.split(), "dataset.num_transitions=3000", "seed=1")
    chances = np.tensordot(
        task.behavior_policy.shares, task.behavior_policy.chances(data.observation), axes=1
    )
    np.testing.assert_allclose(chances.sum(-1), 1)
    done = np.eye(data.spec.num_actions)[data.action]
    for action in range(data.spec.num_actions):
        error = np.sqrt((chances[:, action] * (1 - chances[:, action])).sum()) / len(data)
        apart = abs(chances[:, action].mean() - done[:, action].mean())
        assert apart <= 4 * error + 1e-12


def test_chances_at_states_are_the_tables_that_collect():
    environment = replace(world("discrete"), clinician=random_policy(0, 5, 3))
    behavior = (
        {"epsilon": 0.3, "share": 1.0},
        {"policy": "clinician", "epsilon": 0.1, "share": 3.0},
    )
    known = known_behavior(environment, behavior)
    np.testing.assert_allclose(known.chances(np.arange(5)), tables(environment, behavior))
    np.testing.assert_allclose(known.shares, [0.25, 0.75])


def test_chances_of_clinicians_who_dose_are_how_often_they_do():
    environment = Glucose(0, 0.4, 0.1).environment("glucose", 0, 0.99, 48)
    observation = np.zeros((3, 11), dtype=np.float32)
    observation[:, 0], observation[:, 4] = 120, [0, 30, 90]
    observation[:, 8], observation[:, 9] = 15, 40
    many = np.repeat(observation, 40_000, axis=0)
    drawn = environment.clinician_action(many, np.random.default_rng(0)).reshape(3, -1)
    share = np.stack([np.bincount(row, minlength=5) / drawn.shape[1] for row in drawn])
    np.testing.assert_allclose(environment.clinician_chances(observation), share, atol=0.01)


def test_no_chances_are_known_of_continuous_actions():
    assert known_behavior(world("continuous"), ({"epsilon": 1.0, "share": 1.0},)) is None


# States of vectors


def test_vectors_become_leaves_that_hold_enough():
    _, data = task_of("dataset=cartpole", "dataset.num_transitions=4000")
    states = states_of(data)
    number = states.of(data.observation)
    counts = np.bincount(number, minlength=states.number)
    assert counts.min() >= 10
    assert len(counts) == states.number
    assert states.number <= 4000 / 16
    assert f"{states.number} leaves" in states.told


def test_leaves_part_what_goes_on_differently():
    data = random_vector_dataset(0)
    storage = replace(data.storage, reward=np.sign(data.storage.observation[:, 0]).astype(float))
    parted = states_of(replace(data, storage=storage))
    left, right = parted.of(np.array([[-1.0, 0.0], [1.0, 0.0]], dtype=np.float32))
    assert left != right


def test_of_much_data_whole_episodes_stand_for_all(monkeypatch):
    _, data = task_of(*SMALL)
    monkeypatch.setattr(data_module, "MOST_TRANSITIONS", 500)
    part = data_module._part(data)
    assert 400 < len(part) <= 500
    kept = np.unique(part.episode)
    assert len(part) == np.isin(data.episode, kept).sum()
    assert data_module._part(part) is part


# Settings


def test_they_are_a_setting_that_leaves_other_runs_the_runs_they_were():
    plain, usual, wanted = (
        commands.plan("dataset=lock", *words).runs[0]
        for words in ((), ("value_estimates=without_evaluation",), ("value_estimates=everywhere",))
    )
    assert "value_estimates" not in plain.settings
    assert plain.run_id == usual.run_id != wanted.run_id
    assert wanted.config.value_estimates == "everywhere"
    assert plain.cohort_key != wanted.cohort_key
