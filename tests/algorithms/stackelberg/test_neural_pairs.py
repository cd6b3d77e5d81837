"""The network follower of continuous actions; its game and curvature are in the tests of both."""

from dataclasses import replace

import pytest
import torch
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.stackelberg.followers.base import LEAD, LEAD_AND_SOLVE, WARM_START
from algorithms.stackelberg.followers.memory import half, minibatch
from algorithms.stackelberg.game.game import Points, units
from algorithms.stackelberg.leaders import LEADERS
from tests.algorithms.stackelberg.test_learner import documented
from tests.algorithms.stackelberg.test_pairs import SPEC, learner, relative, turn_of
from tests.support.builders import (
    assert_close,
    make_cohort,
    of_run,
    random_batch,
    random_dataset,
    train,
)

NEURAL = {
    "follower": "neural_pairs",
    "hidden_sizes": [8],
    "follower.hidden_sizes": [6],
    "ridge": 1.0,
    "warm_updates": 2,
    "solve_interval": 2,
}


@pytest.mark.parametrize("leader", ["deterministic", "gaussian", "clipped_gaussian"])
def test_a_run_with_a_network_alone_is_the_run_in_a_cohort(leader):
    algorithm = learner(leader, **NEURAL, curvature_minibatches=2)
    data = [random_dataset("continuous", n, n) for n in (60, 90)]
    together = train(make_cohort([algorithm] * 2, data), 6)
    alone = train(make_cohort([algorithm], data[1:], seeds=[1]), 6)
    assert_close(of_run(alone.state, 0), of_run(together.state, 1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("uniform", "expected"), [(-5.0, -5.0), (1.9, 1.9), (None, -8.0)])
def test_a_network_starts_at_the_uniform_policy_s_value(uniform, expected):
    """Around the lowest where that is not known; its outputs are tenths of the uniform's regret."""
    algorithm, draw = learner(**NEURAL), torch.Generator().manual_seed(0)
    spec = replace(SPEC, uniform_value=uniform)
    critic = algorithm.follower.remember(spec, "feature", draw).critic
    turn = minibatch(several(algorithm, 2), 0)._replace(scale=units(spec))
    sample = algorithm.follower.sample(turn)
    pairs = torch.cat([turn.batch.observation, turn.batch.action], -1).float()
    outputs = networks.apply(critic, pairs).squeeze(-1).double()
    assert outputs.abs().max() > 0.01
    torch.testing.assert_close(4 * sample.values(critic)(pairs), expected + 4 * outputs / 10)


@pytest.mark.parametrize(("base", "share"), [(0.0, 0.0), (0.6, 1.0), (-2.1, 1.0)])
def test_a_network_says_how_much_of_it_no_policy_is_worth(base, share):
    """The range of values is -2 to .5 in units of the uniform policy's regret."""
    algorithm = learner(**NEURAL)
    turn = several(algorithm, 2)
    memory = turn.memory._replace(critic=tree_map(torch.zeros_like, turn.memory.critic))
    scale = turn.scale._replace(base=torch.tensor(base, dtype=torch.float64))
    turn = turn._replace(memory=memory, scale=scale)
    assert algorithm.follower.lead(turn, solve=False).metrics["out_of_range"].item() == share


def test_a_network_s_leader_starts_from_a_clone_of_the_best_episodes():
    turn = turn_of(learner(**NEURAL))
    quantiles = turn.batch.episode_return.quantile(torch.linspace(0, 1, 101, dtype=torch.float64))
    turn = turn._replace(summary=turn.summary._replace(return_quantiles=quantiles))
    found = learner(**NEURAL, top_fraction=0.25).follower.cloned(turn).weight
    best = turn.batch.episode_return >= quantiles[75]
    assert torch.equal(found, turn.batch.weight * best)
    assert 0 < best.sum() < len(best)


def several(algorithm, number, rows=7):
    """Return a turn with so many minibatches, no two rows of them or of their noise alike."""
    draw = torch.Generator().manual_seed(3)
    batch = random_batch(SPEC, number * rows, 5)
    batch = type(batch)(*(x.unflatten(0, (number, rows)) for x in batch))
    noise = {
        name: torch.rand(number, rows, SPEC.action_size, generator=draw)
        for name in ("observation", "following", "initial")
    }
    return turn_of(algorithm)._replace(batch=batch, noise=noise)


@pytest.mark.parametrize("number", [2, 4])
def test_minibatches_and_their_noise_are_taken_together(number):
    turn = several(learner("gaussian", **NEURAL), number)
    for which in range(2):
        first, last = which * number // 2, (which + 1) * number // 2
        part = half(turn, which)
        for found, given in zip(part.batch, turn.batch, strict=True):
            assert torch.equal(found, given[first:last].flatten(0, 1))
        for name, given in turn.noise.items():
            assert torch.equal(part.noise[name], given[first:last].flatten(0, 1))
        one = minibatch(turn, which + number // 2 - 1)
        assert torch.equal(one.batch.reward, turn.batch.reward[which + number // 2 - 1])
        assert torch.equal(one.noise["initial"], turn.noise["initial"][which + number // 2 - 1])


def test_a_leader_that_draws_draws_at_each_place_by_that_place_s_noise():
    algorithm = learner("gaussian", **NEURAL)
    turn = minibatch(several(algorithm, 2), 0)
    policy = algorithm.follower.sample(turn).policy(turn.actor)
    places = Points(
        turn.batch.observation, turn.batch.next_observation, turn.batch.initial_observation
    )
    for name, place in places._asdict().items():
        outputs = networks.apply(turn.actor, place.double())
        drawn = LEADERS["gaussian"].choices(outputs, turn.noise[name])
        mode = LEADERS["gaussian"].choices(outputs, None)
        assert (drawn - mode).abs().max() > 0.1
        expected = torch.cat([place, drawn], -1)
        torch.testing.assert_close(getattr(policy, name), expected, check_dtype=False)


def test_the_kernel_has_a_bandwidth_for_actions_of_its_own():
    algorithm = learner(**NEURAL, action_bandwidth=0.5)
    turn = minibatch(several(algorithm, 2), 0)
    frequency, phase = turn.memory.features.kernel_frequency, turn.memory.features.kernel_phase
    pairs = torch.cat([turn.batch.observation / 1.5, turn.batch.action / 0.5], -1).double()
    expected = (2 / len(phase)) ** 0.5 * (pairs @ frequency + phase).cos()
    torch.testing.assert_close(algorithm.follower.seen(turn).features, expected)


def test_the_warm_start_clones_the_best_alone():
    turn = several(learner(**NEURAL), 2)
    quantiles = turn.batch.episode_return[0].quantile(torch.linspace(0, 1, 101).double())
    turn = turn._replace(summary=turn.summary._replace(return_quantiles=quantiles))
    top = learner(**NEURAL, top_fraction=0.25).follower
    found = top.warm_start(turn).cloning
    best = top.cloned(minibatch(turn, 0))
    expected = torch.func.grad(turn.leader.cloning_loss)(turn.actor, best)
    every = learner(**NEURAL, top_fraction=1.0).follower.warm_start(turn).cloning
    assert_close(found, expected)
    assert relative(found, every) > 1e-2


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_the_leader_clones_at_a_rate_of_its_own(rate):
    """Adam's first step is as long as its rate."""
    algorithm = learner(**NEURAL, cloning_rate=rate, learning_rate=1e-5)
    cohort = make_cohort([algorithm], [random_dataset("continuous", 60, 0)])
    before = cohort.state.actor[0]["weight"].clone()
    moved = (train(cohort, 1).state.actor[0]["weight"] - before).abs().max()
    assert moved.item() == pytest.approx(rate, rel=1e-2)


VARIANTS = [
    ("deterministic", {}),
    ("gaussian", {"implicit": "tilted", "ridge": None}),
    ("clipped_gaussian", {}),
    ("gaussian", {"form": "constraint", "objective": "initial"}),
    ("deterministic", {"curvature": "exact", "curvature_minibatches": 2}),
    ("gaussian", {"kernel_loss": "squared", "leader_gradient": "maximin"}),
    ("deterministic", {"kernel_loss": "squared", "updates": 2}),
]


@pytest.mark.parametrize(("leader", "settings"), VARIANTS)
def test_it_clones_then_leads_and_says_what_it_sees(leader, settings):
    algorithm = learner(leader, **(NEURAL | settings))
    first = LEAD_AND_SOLVE if algorithm._solves else LEAD
    assert [algorithm.phase(step) for step in range(4)] == [WARM_START, WARM_START, first, LEAD]
    cohort = train(make_cohort([algorithm], [random_dataset("continuous", 60, 0)]), 4)
    told = cohort.metrics | cohort.diagnose()
    assert set(told) == documented("neural_pairs")
    assert all(value.isfinite().all() for value in told.values())
