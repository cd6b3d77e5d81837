"""Behavior as an axis: every environment's expert, mixed, medium and random datasets."""

from itertools import product

import numpy as np
import pytest
import yaml

from bench import CONF
from bench.settings.run import fill_defaults, known_names, run_config
from tests.support import commands

BEHAVIORS = ("expert", "mixed", "medium", "random")
ENVIRONMENTS = tuple(
    name for name in known_names("dataset") if f"{name}_expert" in known_names("dataset")
)
# Environments whose instance a seed names; the others are the same for every seed.
DRAWN = ("garnet", "lock", "cliff")


def load(name, seed=1000):
    """Return the task of a preset at a tuning seed, small where only its values matter."""
    (job,) = commands.settings(f"dataset={name}", f"seed={seed}", "dataset.num_transitions=64")
    dataset = run_config(fill_defaults(job)).dataset
    return dataset.source.load(dataset.name, dataset.seed, dataset.discount, None)


def share(task):
    """Return the behavior policy's value, 0 that of the uniform policy, 1 the optimum."""
    low, high = task.environment.uniform, task.environment.optimum
    return (task.behavior_value - low) / (high - low)


def test_every_environment_has_every_behavior():
    assert len(ENVIRONMENTS) == 9
    for environment, behavior in product(ENVIRONMENTS, BEHAVIORS):
        assert f"{environment}_{behavior}" in known_names("dataset")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_behaviors_differ_in_value_as_their_names_say(environment):
    values = {behavior: share(load(f"{environment}_{behavior}")) for behavior in BEHAVIORS}
    rounding = 0.02 if environment == "cartpole" else 1e-9
    assert values["expert"] == pytest.approx(1, abs=rounding)
    assert values["random"] == pytest.approx(0, abs=rounding)
    assert values["mixed"] == pytest.approx(0.5, abs=0.05)
    assert 0.4 < values["medium"] < 0.6


@pytest.mark.parametrize("environment", DRAWN)
def test_medium_is_halfway_on_average_over_instances(environment):
    values = [share(load(f"{environment}_medium", seed)) for seed in range(1000, 1016)]
    assert np.mean(values) == pytest.approx(0.5, abs=0.05)
    assert 0.4 < min(values) <= max(values) < 0.6


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_behavior_changes_nothing_but_the_behavior(environment):
    (plain,) = commands.settings(f"dataset={environment}")
    for behavior in BEHAVIORS:
        (job,) = commands.settings(f"dataset={environment}_{behavior}")
        changed = {key for key in plain["dataset"] if job["dataset"][key] != plain["dataset"][key]}
        assert {"name"} <= changed <= {"name", "behavior"}
        assert job["dataset"].keys() == plain["dataset"].keys()


def test_behaviors_share_the_instance_that_a_seed_names():
    worlds = [load(f"garnet_{behavior}").environment.mdp for behavior in BEHAVIORS]
    for world in worlds[1:]:
        np.testing.assert_array_equal(world.next_state, worlds[0].next_state)
        np.testing.assert_array_equal(world.reward, worlds[0].reward)


def test_coverage_full_crosses_all_of_them():
    grid = yaml.safe_load((CONF / "experiment" / "coverage_full.yaml").read_text())["grid"]
    wanted = {f"{e}_{b}" for e, b in product(ENVIRONMENTS, BEHAVIORS)}
    for algorithm in ("bc", "bcq", "cql", "fqi"):
        named = [sub["dataset"] for sub in grid if algorithm in sub["algorithm"]]
        assert {name for names in named for name in names} == wanted
