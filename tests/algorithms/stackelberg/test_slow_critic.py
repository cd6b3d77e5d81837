"""A neural follower's targets by a slow critic: what its steps descend, and where they rest."""

import pytest
import torch
from torch.utils._pytree import tree_map

from algorithms.stackelberg.responses import curvature
from algorithms.stackelberg.responses import neural as response
from tests.algorithms.stackelberg.test_neural_follower import (
    KINDS,
    MULTIPLIER,
    PLAYERS,
    SETTINGS,
    answer,
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


def gradients(residual_weight, kind):
    """Return the follower's gradient with the anchor as slow critic, and that without one."""
    seen, (critic, anchor, leader) = sample(kind), PLAYERS[kind]
    given = anchor, answer()._replace(residual_weight=residual_weight), seen, seen.policy(leader)

    def of(slow):
        def objective(moved):
            return response.objective(moved, *given, slow)[0]

        return curvature.flat(torch.func.grad(objective)(critic))

    return of(anchor), of(None)


def by_hand(fixed, kind):
    """Return the gradient of ``multiplier E[phi delta]^2``, with the target's part or without."""
    seen, (critic, anchor, leader) = sample(kind), PLAYERS[kind]
    policy, game, pairs = seen.policy(leader), seen.game, seen.pairs
    own, slow = (game.residual_along(policy, seen.values(x)) for x in (critic, anchor))
    taken = game._replace(bootstrap=torch.zeros_like(game.bootstrap))
    known = [taken.residual_along(policy, seen.values(x)) for x in (critic, anchor)]
    delta = game.reward + (known[0] + slow - known[1] if fixed else own)
    # Of fixed targets all that moves is q(s, a).
    rows = residual_rows(critic, seen._replace(game=taken) if fixed else seen, policy)
    moved = (pairs.weight.unsqueeze(-1) * pairs.features).T
    return 2 * MULTIPLIER * (moved @ rows).T @ (moved @ delta)


@KINDS
def test_the_follower_descends_its_two_parts(kind):
    found, own = gradients(WEIGHT, kind)
    expected = own + (1 - WEIGHT) * (by_hand(True, kind) - by_hand(False, kind))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    assert (found - own).norm() > 0.05 * own.norm()


@KINDS
def test_the_loss_that_is_logged_and_limited_is_the_game_s(kind):
    seen, (critic, anchor, leader) = sample(kind), PLAYERS[kind]
    weighted = answer()._replace(residual_weight=WEIGHT)
    given = critic, anchor, weighted, seen, seen.policy(leader)
    value, loss = response.objective(*given, slow=anchor)
    without, expected = response.objective(*given)
    assert loss == expected
    assert value != without


def test_with_a_weight_of_one_there_is_no_slow_critic():
    found, own = gradients(1.0, "numbered")
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
