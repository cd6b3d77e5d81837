"""Data with continuous actions: who acts, what is stored, what it is worth, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench.data.behavior import actor, simulated_value
from bench.data.collected import Collected
from bench.data.degradations import actions
from bench.settings.groups import file_of, known_names
from bench.settings.run import data_source, run_config
from bench.worlds.base import rollout
from bench.worlds.continuous.control import ControlWorld
from bench.worlds.continuous.pendulum import Pendulum
from bench.worlds.spaces import to_unit
from tests.support import commands
from tests.support.builders import ALGORITHMS, kinds_of
from tests.support.worlds import random_continuous_dataset

# Discounted values of expert, medium, mixed and random behavior that were once measured, by some
# thirty to a thousand episodes each; mixed is four parts, as the worlds' own files have it.
MEASURED = {
    "lqr": (-3.19, -8.18, -8.35, -13.6),
    "swamp": (9.27, 2.53, 2.66, -3.36),
    "cliff_2d": (0.65, -0.43, -0.12, -0.43),
}
MEDIUM = ({"epsilon": 0.5, "share": 1.0},)


def collected(name, **settings):
    """Return the source of a dataset, smaller than its file has it."""
    given = {k: v for k, v in file_of("dataset", name).items() if k != "halfway"}
    source = data_source({**given, "num_transitions": 500, "seed": 0})
    return replace(source, **settings), given


def one(epsilon):
    return ({"epsilon": epsilon, "share": 1.0},)


WORLDS = [
    name
    for name in known_names("dataset")
    if file_of("dataset", name).get("environment")
    and isinstance(collected(name)[0].environment, ControlWorld)
]


def test_there_are_worlds_with_continuous_actions():
    assert {*MEASURED, "lqr_2", "pendulum"} <= set(WORLDS)


@pytest.mark.parametrize("name", MEASURED)
def test_behaviors_are_worth_what_was_once_measured(name):
    source, given = collected(name)
    environment = source.environment_of(name, 0, given["discount"])
    span = environment.optimum - environment.uniform
    for behavior, known in zip(
        (one(0.0), MEDIUM, source.behavior, one(1.0)), MEASURED[name], strict=True
    ):
        # A reference nearer to the optimum walks nearer to the cliff, where exploring costs more.
        assert abs(simulated_value(environment, behavior) - known) < 0.07 * span


def test_behaviors_of_a_pendulum_return_what_was_once_measured():
    # Undiscounted, by some twenty episodes each, of which one returns anything from -1,800 to 0.
    source, given = collected("pendulum")
    environment = source.environment_of("pendulum", 0, given["discount"])
    for behavior, known in zip(
        (one(0.0), MEDIUM, source.behavior, one(1.0)), (-134, -524, -565, -1208), strict=True
    ):
        act = actor(environment, behavior, np.random.default_rng(1), 1000)
        simulator = environment.simulator([environment], [np.random.default_rng(0)], 1000)
        total = sum(step.reward.mean() for step in rollout(simulator, act, 200))
        assert abs(total - known) < 0.07 * (1222 - 137)


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_stored_is_what_was_done(name):
    """Every transition of the data is the world's own step from its observation, but for luck."""
    source, given = collected(name)
    task = source.load(name, 0, given["discount"], None)
    data, world = task.data, source.environment
    assert data.action.shape == (500, len(world.action_bounds[0]))
    assert data.action.dtype == data.comparator_action.dtype == np.float32
    unit = to_unit(data.action, world.action_bounds)
    assert np.abs(unit).max() <= 1
    expected = task.environment.reference_action(data.observation)
    np.testing.assert_allclose(data.comparator_action, expected, atol=1e-6)
    if isinstance(world, Pendulum):
        angle = np.arctan2(data.observation[:, 1], data.observation[:, 0])
        state = np.stack([angle, data.observation[:, 2]], axis=1).astype(np.float64)
    else:
        state = data.observation.astype(np.float64)
    nothing = world.disturbances(np.random.default_rng(0), 1, 500)[0] * 0
    outcome = world.step(state, data.action, nothing)
    luck = getattr(world, "noise", 0.0) + 1e-4
    assert np.abs(world.observe(outcome.state) - data.next_observation).max() <= luck
    if luck < 0.01:
        np.testing.assert_allclose(outcome.reward, data.reward, atol=1e-4)
    assert np.all((data.reward >= data.spec.reward_min) & (data.reward <= data.spec.reward_max))


def test_random_actions_are_uniform_over_the_bounds():
    source, given = collected("pendulum", behavior=one(1.0), num_transitions=8000)
    action = source.load("p", 0, given["discount"], None).data.action[:, 0]
    assert stats.kstest(action, stats.uniform(-2, 4).cdf).pvalue > 1e-4


def test_an_expert_errs_by_normal_noise_in_half_ranges():
    source, given = collected("pendulum", behavior=one(0.0), num_transitions=8000)
    data = source.load("p", 0, given["discount"], None).data
    apart = (data.action - data.comparator_action)[:, 0] / 2
    # Away from where noise is cut.
    inside = np.abs(data.comparator_action[:, 0]) < 1
    assert inside.sum() > 500
    assert stats.kstest(apart[inside], stats.norm(0, 0.1).cdf).pvalue > 1e-4


@pytest.mark.parametrize("epsilon", [0.3, 0.8])
def test_a_step_explores_as_often_as_epsilon_says(epsilon):
    source, given = collected("lqr", behavior=one(epsilon), num_transitions=8000)
    data = source.load("l", 0, given["discount"], None).data
    # The expert's noise seldom exceeds .5; uniform actions are beyond it half of the time or so.
    apart = np.abs(data.action - data.comparator_action)[:, 0]
    far = np.abs(data.comparator_action[:, 0]) < 0.3
    share = (apart[far] > 0.5).mean()
    assert abs(share - 0.5 * epsilon) < 4 * np.sqrt(0.25 / far.sum())


def test_without_noise_an_expert_does_what_the_comparator_does():
    source, given = collected("lqr", behavior=one(0.0))
    source = replace(source, environment=replace(source.environment, behavior_noise=0.0))
    data = source.load("l", 0, given["discount"], None).data
    np.testing.assert_allclose(data.action, data.comparator_action, atol=1e-7)


def test_the_same_data_comes_from_the_cache(tmp_path):
    source, given = collected("swamp")
    first = source.load("s", 0, given["discount"], tmp_path).data
    again = source.load("s", 0, given["discount"], tmp_path).data
    assert first.fingerprint == again.fingerprint


def test_losing_actions_takes_the_nearest_half_of_some_cells():
    data = random_continuous_dataset(0)
    rng = np.random.default_rng
    everywhere = actions(data, 1.0, rng(0), num_cells=3)
    distance = np.linalg.norm(data.action - data.comparator_action, axis=1)
    left = np.isin(np.arange(len(data)), everywhere.indices)
    np.testing.assert_array_equal(left, distance > np.median(distance))
    somewhere = actions(data, 0.4, rng(0), num_cells=3)
    assert len(everywhere) < len(somewhere) < len(data)


def test_losing_actions_means_the_same_in_any_units():
    data = random_continuous_dataset(0)
    storage = replace(
        data.storage,
        action=data.storage.action * np.float32([4, 0.5]),
        comparator_action=data.storage.comparator_action * np.float32([4, 0.5]),
    )
    spec = replace(data.spec, action_bounds=((-4.0, -0.5), (4.0, 0.5)))
    scaled = replace(data, storage=storage, spec=spec)
    views = [actions(d, 0.7, np.random.default_rng(0), num_cells=3) for d in (data, scaled)]
    np.testing.assert_array_equal(views[0].indices, views[1].indices)


@pytest.mark.parametrize("algorithm", [n for n in ALGORITHMS if "continuous" not in kinds_of(n)])
def test_a_learner_of_numbered_actions_is_refused_in_one_sentence(algorithm):
    said = "needs (discrete actions, but those of|a tabular dataset, which) dataset=lqr"
    with pytest.raises(Exception, match=said) as e:
        commands.plan(f"algorithm={algorithm}", "dataset=lqr")
    assert str(e.value).count(".") <= 2


def test_a_discount_without_a_closed_form_is_refused():
    with pytest.raises(Exception, match=r"dataset\.discount is 0\.99"):
        commands.plan("algorithm=cql", "dataset=lqr", "dataset.discount=0.99")


def test_the_worlds_kinds_are_told_before_anything_is_collected():
    (job,) = commands.settings("dataset=cliff_2d", "behavior=medium")
    source = run_config(job).dataset.source
    assert isinstance(source, Collected)
    facts = source.facts()
    assert facts.action_kind == "continuous"
    assert facts.has_comparator
    assert facts.can_evaluate
    assert not facts.tabular
    assert facts.observation_names == ("x", "y")
