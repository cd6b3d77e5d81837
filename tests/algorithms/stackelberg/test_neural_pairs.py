"""The network follower of continuous actions; its game and curvature are in the tests of both."""

from dataclasses import replace

import pytest
import torch

from algorithms.stackelberg.followers.base import LEAD, LEAD_AND_SOLVE, WARM_START
from algorithms.stackelberg.game.game import units
from algorithms.stackelberg.responses.samples import squashed
from tests.algorithms.stackelberg.test_learner import documented
from tests.algorithms.stackelberg.test_pairs import SPEC, learner, turn_of
from tests.support.builders import assert_close, make_cohort, of_run, random_dataset, train

NEURAL = {
    "follower": "neural_pairs",
    "hidden_sizes": [8],
    "follower.hidden_sizes": [6],
    "ridge": 1.0,
    "warm_updates": 2,
    "solve_interval": 2,
}


@pytest.mark.parametrize("leader", ["deterministic", "gaussian"])
def test_a_run_with_a_network_alone_is_the_run_in_a_cohort(leader):
    algorithm = learner(leader, **NEURAL, curvature_minibatches=2)
    data = [random_dataset("continuous", n, n) for n in (60, 90)]
    together = train(make_cohort([algorithm] * 2, data), 6)
    alone = train(make_cohort([algorithm], data[1:], seeds=[1]), 6)
    assert_close(of_run(alone.state, 0), of_run(together.state, 1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("uniform", "expected"), [(-5.0, -5.0), (1.9, 1.9), (None, -7.99)])
def test_a_network_starts_near_the_uniform_policy_s_value_within_the_range(uniform, expected):
    def bias(value):
        spec, draw = replace(SPEC, uniform_value=value), torch.Generator().manual_seed(0)
        return learner(**NEURAL).follower.remember(spec, "feature", draw).critic[-1]["bias"]

    # The middle of the range is where a network starts of itself.
    moved = bias(uniform) - bias(-3.0)
    assert (4 * squashed(moved, units(SPEC))).item() == pytest.approx(expected, abs=1e-3)


def test_a_network_s_leader_starts_from_a_clone_of_the_best_episodes():
    turn = turn_of(learner(**NEURAL))
    quantiles = turn.batch.episode_return.quantile(torch.linspace(0, 1, 101, dtype=torch.float64))
    turn = turn._replace(summary=turn.summary._replace(return_quantiles=quantiles))
    found = learner(**NEURAL, top_fraction=0.25).follower.cloned(turn).weight
    best = turn.batch.episode_return >= quantiles[75]
    assert torch.equal(found, turn.batch.weight * best)
    assert 0 < best.sum() < len(best)


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
    ("gaussian", {"form": "constraint", "objective": "initial"}),
    ("deterministic", {"curvature": "exact", "curvature_minibatches": 2}),
    ("gaussian", {"kernel_loss": "u", "leader_gradient": "maximin"}),
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
