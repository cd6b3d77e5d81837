"""Hidden dimensions and history windows: data and evaluation are sensed alike."""

from functools import cache

import numpy as np
import pytest

from bench.data.sensing import Sensing
from bench.settings.run import run_config
from bench.worlds.base import rollout
from tests.support import commands

CARTPOLE = ("dataset=cartpole", "dataset.num_transitions=700")
HIDDEN = "dataset.hidden=[velocity,angular_velocity]"
NAMES = ("position", "velocity", "angle", "angular_velocity")


@cache
def loaded(*words):
    """Return the task and the degraded data of a command's words."""
    (job,) = commands.settings(*words)
    config = run_config(job)
    task = config.dataset.load(None)
    return task, config.coverage(task.data)


def brute_force(storage, kept, history):
    """Return what is seen at every transition, found by walking back step by step."""
    rows = []
    for row in range(len(storage)):
        seen, at = [], row
        for _ in range(history):
            seen.insert(0, storage.observation[at, kept])
            before = at - 1
            if (
                before >= 0
                and storage.episode[before] == storage.episode[at]
                and storage.step[before] == storage.step[at] - 1
            ):
                at = before
        rows.append(np.concatenate(seen))
    return np.array(rows)


@pytest.mark.parametrize("history", [1, 2, 5])
def test_a_window_holds_the_latest_observations_of_the_episode(history):
    whole, _ = loaded(*CARTPOLE)
    sensed, _ = loaded(*CARTPOLE, HIDDEN, f"dataset.history={history}")
    expected = brute_force(whole.data.storage, [0, 2], history)
    np.testing.assert_array_equal(sensed.data.observation, expected)
    following = sensed.data.next_observation
    np.testing.assert_array_equal(following[:, :-2], expected[:, 2:])
    np.testing.assert_array_equal(following[:, -2:], whole.data.next_observation[:, [0, 2]])


def test_the_next_observation_is_the_next_steps_observation():
    sensed, _ = loaded(*CARTPOLE, HIDDEN, "dataset.history=3")
    data = sensed.data
    here = np.flatnonzero(~data.successor_missing)
    np.testing.assert_array_equal(data.next_observation[here], data.observation[here + 1])


def test_evaluation_senses_what_the_data_senses():
    sensed, _ = loaded(*CARTPOLE, HIDDEN, "dataset.history=3")
    environment = sensed.environment
    whole = environment.whole
    simulators = [
        kind.simulator([world], [np.random.default_rng(0)], 2)
        for kind, world in ((type(environment), environment), (type(whole), whole))
    ]
    seen, there = (list(rollout(s, lambda _: np.ones((1, 2), int), 12)) for s in simulators)
    window = [there[0].observation[..., [0, 2]]] * 3
    for step, raw in zip(seen, there, strict=True):
        window = [*window[1:], raw.observation[..., [0, 2]]]
        np.testing.assert_array_equal(step.observation, np.concatenate(window, axis=-1))
        following = [*window[1:], raw.next_observation[..., [0, 2]]]
        np.testing.assert_array_equal(step.next_observation, np.concatenate(following, axis=-1))


def test_the_reference_policy_sees_the_whole():
    sensed, _ = loaded(*CARTPOLE, HIDDEN, "dataset.history=2")
    steps = list(sensed.environment.reference_rollout(np.random.default_rng(0), 3))
    assert len(steps) == 500
    assert steps[-1].active.all()
    assert steps[0].observation.shape == (1, 3, 4)


def test_names_say_how_long_ago():
    assert Sensing(("velocity", "angular_velocity"), 2).names(NAMES) == (
        "position_1", "angle_1", "position", "angle",
    )  # fmt: skip


def test_the_environment_says_what_is_not_seen():
    assert Sensing().title("cartpole") == "cartpole"
    assert Sensing(("velocity",), 3).title("cartpole") == "cartpole, 1 hidden, history 3"


def test_seeing_everything_now_is_the_task_itself():
    task, _ = loaded(*CARTPOLE)
    assert Sensing()(task) is task


def test_degradations_act_on_what_is_seen():
    _, left = loaded(
        *CARTPOLE, HIDDEN, "dataset.history=2", "coverage=region", "coverage.dimension=angle_1"
    )
    assert len(left) == 350
    _, replaced = loaded(*CARTPOLE, HIDDEN, "coverage=quality", "coverage.severity=1")
    assert replaced.observation.shape[1] == 2
    assert replaced.episode_returns.mean() < 60


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*CARTPOLE, "dataset.hidden=[speed]"), "should name some, not all"),
        ((*CARTPOLE, f"dataset.hidden=[{','.join(NAMES)}]"), "should name some, not all"),
        ((*CARTPOLE, "dataset.history=0"), "greater than or equal to 1"),
        ((*CARTPOLE, "dataset.hidden=[angle]", "coverage=region", "coverage.dimension=angle"),
         "coverage.dimension is 'angle'"),
        (("dataset=lock", "+dataset.history=2"), "need vector observations"),
    ],
)  # fmt: skip
def test_what_cannot_be_sensed_is_refused(words, said):
    with pytest.raises(Exception, match=said):
        commands.plan(*words)


def test_hiding_makes_another_run():
    seen, hidden = (commands.plan(*CARTPOLE, *more).runs[0] for more in ((), (HIDDEN,)))
    assert seen.run_id != hidden.run_id
    assert seen.cohort_key != hidden.cohort_key
