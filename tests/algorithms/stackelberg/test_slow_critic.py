"""A neural follower's targets by a slow critic: what its steps descend, and where they rest."""

import pytest
import torch
from torch.utils._pytree import tree_map

from algorithms.stackelberg.responses import curvature
from algorithms.stackelberg.responses import neural as response
from tests.algorithms.stackelberg.test_neural_follower import (
    ANCHOR,
    CRITIC,
    LEADER,
    MULTIPLIER,
    SCALE,
    SETTINGS,
    answer,
    policy_of,
    residual_rows,
    sample,
)
from tests.support.builders import (
    assert_close,
    build_algorithm,
    make_cohort,
    of_run,
    random_dataset,
)

WEIGHT = 0.3


def gradients(residual_weight, game=None):
    """Return the follower's gradient with the anchor as slow critic, and that without one."""
    drawn, places, batch = sample()
    game = game or drawn
    policy = policy_of(LEADER, places)
    given = answer()._replace(residual_weight=residual_weight)

    def of(slow):
        def objective(critic):
            return response.objective(
                critic, ANCHOR, given, game, policy, places, SCALE, batch, slow
            )[0]

        return curvature.flat(torch.func.grad(objective)(CRITIC))

    return of(response.values(ANCHOR, places, SCALE)), of(None)


def by_hand(fixed):
    """Return the gradient of ``multiplier E[phi delta]^2``, with the target's part or without."""
    game, places, batch = sample()
    policy = policy_of(LEADER, places)
    here = response.values(CRITIC, places, SCALE)
    following = response.values(ANCHOR if fixed else CRITIC, places, SCALE).following
    delta = game.residual(policy, here._replace(following=following))
    rows = residual_rows(CRITIC, game, policy, places)
    if fixed:  # all that moves is q(s, a)
        quiet = game._replace(bootstrap=torch.zeros_like(game.bootstrap))
        rows = residual_rows(CRITIC, quiet, policy, places)
    moved = (batch.weight.unsqueeze(-1) * batch.features).T
    return 2 * MULTIPLIER * (moved @ rows).T @ (moved @ delta)


def test_the_follower_descends_its_two_parts():
    found, own = gradients(WEIGHT)
    expected = own + (1 - WEIGHT) * (by_hand(fixed=True) - by_hand(fixed=False))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert (found - own).norm() > 0.05 * own.norm()


def test_the_loss_that_is_logged_and_limited_is_the_game_s():
    game, places, batch = sample()
    policy = policy_of(LEADER, places)
    given = CRITIC, ANCHOR, answer()._replace(residual_weight=WEIGHT), game, policy, places
    value, loss = response.objective(
        *given, SCALE, batch, slow=response.values(ANCHOR, places, SCALE)
    )
    without, expected = response.objective(*given, SCALE, batch)
    assert loss == expected
    assert value != without


def test_with_a_weight_of_one_there_is_no_slow_critic():
    found, own = gradients(1.0)
    torch.testing.assert_close(found, own)


@pytest.mark.parametrize("warm_updates", [0, 10])
def test_the_slow_critic_is_a_polyak_average(warm_updates):
    settings = {**SETTINGS, "warm_updates": warm_updates, "polyak": 0.25}
    algorithm = build_algorithm("stackelberg", **settings)
    cohort = make_cohort([algorithm], [random_dataset("vector", 60, 0)])
    state, summary = of_run(cohort.state, 0), of_run(cohort.summary, 0)
    expected = state.follower.critic
    assert_close(state.follower.slow_critic, expected, rtol=0.0, atol=0.0)
    for step in range(3):
        batch = of_run(cohort.replay.batch(step), 0)
        state, _ = algorithm.update(state, summary, batch, {}, algorithm.phase(step))
        expected = tree_map(lambda x, y: x + 0.25 * (y - x), expected, state.follower.critic)
        assert_close(state.follower.slow_critic, expected, rtol=1e-5, atol=1e-6)
