"""The units of rewards and observations: what is learned does not depend on them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.data import places
from bench.data.units import learners_spec, reward_unit
from bench.worlds.mdps import Garnet
from tests.support.builders import (
    build_algorithm,
    from_columns,
    make_cohort,
    make_spec,
    random_dataset,
    train,
)


def in_other_units(dataset, factor):
    """Return a dataset, and its world, in which every reward is so many times as large."""
    spec = dataset.spec
    sizes = ("reward_min", "reward_max", "v_min", "v_max")
    scaled = replace(spec, **{name: factor * getattr(spec, name) for name in sizes})
    storage = replace(dataset.storage, reward=factor * dataset.storage.reward)
    return replace(dataset, spec=scaled, storage=storage)


@pytest.mark.parametrize("largest", [0.0, 0.01, 1.0, 20.0, 1000.0])
def test_ordinary_rewards_stay_as_they_are(largest):
    spec = make_spec(reward_min=-largest, reward_max=0.0)
    assert reward_unit(spec) == 1
    assert learners_spec(spec) is spec


@pytest.mark.parametrize("largest", [1e-300, 1e-6, 0.0099, 1001.0, 1e39, 1e300])
def test_other_rewards_become_of_size_one(largest):
    spec = make_spec(reward_min=-largest, reward_max=largest / 2, v_min=-9 * largest)
    seen = learners_spec(spec)
    assert 1 <= -seen.reward_min < 2
    assert seen.v_min == 9 * seen.reward_min
    assert seen.reward_min * reward_unit(spec) == spec.reward_min


@pytest.mark.parametrize("name", ["cql", "fqi", "bcq", "iql", "stackelberg", "atac"])
@pytest.mark.parametrize("kind", ["discrete", "vector"])
@pytest.mark.parametrize("factor", [2.0**-30, 2.0**150])
def test_learners_learn_the_same_in_any_units_of_reward(name, kind, factor):
    check_units(factor, kind, name)


def test_so_does_a_linear_follower():
    check_units(2.0**-30, "vector", "stackelberg", follower="linear")


def check_units(factor, kind, name, **settings):
    # The largest reward is 1, which is what any other unit is brought to.
    plain = random_dataset(kind, 60, 0, spec=make_spec(kind))
    scaled = in_other_units(plain, factor)
    # A warm start, which looks at no reward, is over after one of three updates.
    algorithm = build_algorithm(name, kind, hidden_sizes=[4], warm_updates=1, **settings)
    one, other = (train(make_cohort([algorithm], [d]), 3) for d in (plain, scaled))
    everywhere = plain.observation[None].copy()
    for left, right in zip(one.policy(everywhere), other.policy(everywhere), strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("units", [1e-20, 1e-6, 1e-4, 1.0, 1e20])
def test_cloning_learns_from_observations_in_any_units(units):
    rng = np.random.default_rng(0)
    observation = rng.normal([0.5, -1], [0.3, 0.02], (400, 2))
    action = (observation[:, 1] > -1).astype(np.int64)
    step = np.arange(400)
    dataset = from_columns(
        make_spec("vector", size=2, num_actions=2),
        units * observation, action, 0.0 * step, units * observation, 0 * step, step // 40,
        step % 40,
    )  # fmt: skip
    algorithm = build_algorithm("bc", hidden_sizes=[16], learning_rate=0.01)
    cohort = train(make_cohort([algorithm], [dataset], batch_size=64), 100)
    chosen = cohort.policy(dataset.observation[None].copy()).mode()[0].numpy()
    assert (chosen == action).mean() > 0.95


@pytest.mark.parametrize("units", [1e-30, 1e-10, 1e-6, 1e-4, 1e4, 1e30])
def test_regions_and_cells_are_the_same_in_any_units_of_observations(units):
    raw = np.random.default_rng(0).normal([0, 1, -2], [1, 0.1, 3], (200, 3))
    standard = places.standardize((raw * units).astype(np.float32))
    np.testing.assert_allclose(standard, (raw - raw.mean(0)) / raw.std(0), rtol=0.03, atol=1e-3)


@pytest.mark.parametrize("factor", [1e-200, 1e-12, 1e12, 1e200])
def test_exact_worlds_have_the_same_optimal_actions_in_any_units_of_reward(factor):
    world = Garnet(20, 3, 2, 0.5)
    plain = world.environment("garnet", seed=0, discount=0.9, horizon=20)
    mdp = replace(plain.mdp, reward=factor * plain.mdp.reward)
    scaled = replace(plain, mdp=mdp)
    states = np.arange(20)
    np.testing.assert_array_equal(scaled.reference_action(states), plain.reference_action(states))
    assert scaled.optimum == pytest.approx(factor * plain.optimum, rel=1e-9)
