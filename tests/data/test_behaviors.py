"""Behavior as an axis: every world that is collected here, with every behavior."""

from functools import cache
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from bench.data.behavior import halfway_epsilon
from bench.settings.groups import file_of, known_names
from bench.settings.run import data_source, run_config
from tests.support import commands
from tests.support.worlds import can_be_made

# Those of parts; the others are of trained policies alone.
BEHAVIORS = tuple(n for n in known_names("behavior") if file_of("behavior", n)["components"])
# Those whose reference policy is known; any other registered id has only random behavior.
ENVIRONMENTS = tuple(
    name
    for name in known_names("dataset")
    if (given := file_of("dataset", name)).get("environment")
    and can_be_made(data_source(given), given["discount"])
)
# Those of patients.
CLINICAL = [
    name for name in ENVIRONMENTS
    if ".clinical." in file_of("dataset", name)["environment"]["target"]
]  # fmt: skip
# Environments whose instance a seed names; the others are the same for every seed.
DRAWN = ("garnet", "lock", "cliff")
# Where the reference policy's noise in data costs something, the expert's value on the scale below.
NOISY = {"lqr": 0.966, "lqr_2": 0.963, "swamp": 0.972, "cliff_2d": 0.889, "pendulum": 0.984}


def settings(environment, behavior, *words):
    """Return the one run of a dataset."""
    (job,) = commands.settings(f"dataset={environment}", f"behavior={behavior}", *words)
    return job


@cache
def jobs():
    """Return the run of every dataset with every behavior, composed together, at a tuning seed."""
    words = f"dataset={','.join(ENVIRONMENTS)}", f"behavior={','.join(BEHAVIORS)}", "seed=1000"
    return dict(zip(product(ENVIRONMENTS, BEHAVIORS), commands.settings(*words), strict=True))


@cache
def plain_jobs():
    """Return the run of every dataset as its own file has it."""
    words = f"dataset={','.join(ENVIRONMENTS)}", "seed=1000"
    return dict(zip(ENVIRONMENTS, commands.settings(*words), strict=True))


def instance(job):
    """Return the world and the value of who collects in it; nothing is collected."""
    dataset = run_config(job).dataset
    world = dataset.source.environment_of(dataset.name, dataset.seed, dataset.discount)
    value, _ = dataset.source.behavior_of(world)
    return SimpleNamespace(environment=world, behavior_value=value)


def share(task):
    """Return the behavior policy's value, 0 that of the uniform policy, 1 the optimum."""
    low, high = task.environment.uniform, task.environment.optimum
    return (task.behavior_value - low) / (high - low)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_behaviors_differ_in_value_as_their_names_say(environment):
    if instance(plain_jobs()[environment]).environment.zero != "uniform policy":
        pytest.skip("the uniform policy is not the 0 of its scale")
    values = {behavior: share(instance(jobs()[environment, behavior])) for behavior in BEHAVIORS}
    simulated = environment == "cartpole" or environment in NOISY
    rounding = 0.02 if simulated else 1e-9
    assert values["expert"] == pytest.approx(NOISY.get(environment, 1), abs=rounding)
    assert values["random"] == pytest.approx(0, abs=rounding)
    assert values["mixed"] == pytest.approx(values["expert"] / 2, abs=0.05)
    assert 0.4 < values["medium"] < 0.6
    halfway = (values["medium"] + values["expert"]) / 2
    assert values["medium_expert"] == pytest.approx(halfway, abs=rounding)


@pytest.mark.parametrize("environment", DRAWN)
def test_medium_is_halfway_on_average_over_instances(environment):
    words = f"dataset={environment}", "behavior=medium", "seed=range(1000,1016)"
    values = [share(instance(job)) for job in commands.settings(*words)]
    assert len(values) == 16
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)
    assert 0.4 < min(values) <= max(values) < 0.6


@pytest.mark.parametrize("environment", ["garnet", "lock", "cliff", "frozen_lake"])
def test_a_world_without_a_number_finds_its_halfway_epsilon(environment):
    given = file_of("dataset", environment)
    own = {k: v for k, v in given.items() if k != "halfway"}
    source = data_source({**own, "seed": 0})
    found = halfway_epsilon(source.environment, own["discount"], own["max_steps"])
    assert found == pytest.approx(given["halfway"], abs=0.03)
    job = settings(environment, "medium", "dataset.halfway=null")
    assert job["dataset"]["behavior"] == [{"epsilon": found, "share": 1.0}]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_behavior_changes_nothing_but_the_behavior(environment):
    plain = plain_jobs()[environment]
    for behavior in BEHAVIORS:
        job = jobs()[environment, behavior]
        changed = {key for key in plain["dataset"] if job["dataset"][key] != plain["dataset"][key]}
        assert {"name"} <= changed <= {"name", "behavior"}
        assert job["dataset"].keys() == plain["dataset"].keys()
        assert job["dataset"]["name"] == f"{environment}_{behavior}"
        assert "behavior" not in job


def test_a_world_with_other_settings_has_another_name():
    job = settings("cliff", "mixed", "dataset.environment.slip=0.3")
    assert job["dataset"]["name"] == "cliff_mixed_slip_0.3"
    same = settings("cliff", "mixed", "dataset.environment.slip=0.1")
    assert same["dataset"]["name"] == "cliff_mixed"


def test_behaviors_share_the_instance_that_a_seed_names():
    worlds = [instance(jobs()["garnet", behavior]).environment.mdp for behavior in BEHAVIORS]
    for world in worlds[1:]:
        np.testing.assert_array_equal(world.next_state, worlds[0].next_state)
        np.testing.assert_array_equal(world.reward, worlds[0].reward)


def test_coverage_full_crosses_all_that_have_numbered_actions_but_the_clinic():
    one = "seed=0", "algorithm=bc", "coverage=thin", "coverage.severity=0.9"
    plan = commands.plan("experiment=coverage_full", *one)
    found = {run.config.dataset.name for run in plan.runs}
    # What was recorded of patients has behaviors and degradations of its own.
    numbered = [e for e in ENVIRONMENTS if e not in {*NOISY, *CLINICAL}]
    assert found == {f"{e}_{b}" for e in numbered for b in BEHAVIORS}
