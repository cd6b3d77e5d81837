"""What pairs without data are worth, against values by iteration over a behavior's own cells."""

import numpy as np
import pytest
import torch

from algorithms.stackelberg.followers.base import LEAD
from algorithms.stackelberg.game.unseen import worth
from tests.algorithms.stackelberg.test_identities import dense_game
from tests.support.builders import build_algorithm, make_cohort, of_run, random_dataset

STATES, ACTIONS, DISCOUNT = 6, 3, 0.8
V_MIN = torch.tensor(-30.0, dtype=torch.float64)


def game(seed=0):
    """Return a game where the last state has no data, and others lack some actions."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(STATES * ACTIONS)).reshape(STATES, ACTIONS)
    share[rng.random(share.shape) < 0.3] = 0
    share[0, 0], share[-1] = 0.1, 0
    share /= share.sum()
    move = DISCOUNT * rng.dirichlet(np.ones(STATES), size=(STATES, ACTIONS))
    move *= (rng.random((STATES, ACTIONS)) < 0.8)[..., None]  # others terminate
    reward = rng.normal(size=(STATES, ACTIONS)) - 0.5
    seen = share > 0
    tensors = (torch.tensor(x) for x in (move * seen[..., None], reward * seen, share))
    return dense_game(*tensors, torch.full((STATES,), 1 / STATES, dtype=torch.float64))


def behavior_values(table, x):
    """Return the values of the data's behavior where states without data are worth x."""
    share = table.share.numpy()
    visits = share.sum(-1)
    q = np.zeros_like(share)
    for _ in range(500):
        value = [
            x if visits[s] == 0 else (share[s] * q[s]).sum() / visits[s] for s in range(STATES)
        ]
        q = table.reward.numpy() + table.dense().numpy() @ np.array(value)
    return q


@pytest.mark.parametrize("seed", range(4))
def test_the_lowest_seen_is_the_lowest_value_where_the_unvisited_are_worth_it(seed):
    table = game(seed)
    found = worth(table, "lowest_seen", 0.0, V_MIN)
    x = found[0, 0].item()
    assert (found == x).all()
    assert x == pytest.approx(behavior_values(table, x)[table.covered.numpy()].min())


@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_a_quantile_is_one_by_shares_of_the_data(quantile):
    table = game()
    x = worth(table, "lowest_seen", quantile, V_MIN)[0, 0].item()
    values, share = behavior_values(table, x), table.share.numpy()
    below = share[values < x - 1e-9].sum()
    assert below <= quantile + 1e-9
    assert below + share[np.abs(values - x) <= 1e-9].sum() >= quantile - 1e-9
    assert np.abs(values - x)[share > 0].min() < 1e-9


def test_in_a_state_with_data_it_is_the_lowest_there():
    table = game()
    found = worth(table, "lowest_in_state", 0.0, V_MIN).numpy()
    x = worth(table, "lowest_seen", 0.0, V_MIN)[0, 0].item()
    values = behavior_values(table, x)
    for state in range(STATES):
        seen = values[state][table.covered.numpy()[state]]
        assert found[state] == pytest.approx(np.full(ACTIONS, seen.min() if len(seen) else x))


@pytest.mark.parametrize("off_support", ["v_min", "lowest_seen", "lowest_in_state"])
def test_nothing_is_worth_less_than_the_world_allows(off_support):
    floor = torch.tensor(-0.1, dtype=torch.float64)
    found = worth(game(), off_support, 0.0, floor)
    assert (found >= floor).all()
    assert off_support != "v_min" or (found == floor).all()


@pytest.mark.parametrize("kernel_loss", ["v", "squared"])
@pytest.mark.parametrize("off_support", ["v_min", "lowest_seen", "lowest_in_state"])
def test_the_follower_pins_what_is_unseen_there(off_support, kernel_loss):
    algorithm = build_algorithm(
        "stackelberg", "table", off_support=off_support, kernel_loss=kernel_loss, hidden_sizes=[]
    )
    cohort = make_cohort([algorithm], [random_dataset("discrete", 9, 0)])
    state, summary = of_run(cohort.state, 0), of_run(cohort.summary, 0)
    turn = algorithm._turn(state, summary, None, {})
    played = algorithm.follower.round_of(turn)
    expected = worth(played.table, off_support, 0.0, turn.scale.v_min)
    unseen = ~played.table.covered
    torch.testing.assert_close(played.response.q[unseen], expected[unseen])
    total = algorithm.follower.play(turn, LEAD).gradient.total

    def objective(actor):
        moved = algorithm.follower.round_of(turn._replace(actor=actor))
        points = moved.points
        q = points._replace(**dict.fromkeys(points._fields, moved.response.q))
        return turn.terms.aims.leader(moved.game, points, q)

    expected = torch.func.grad(objective)(turn.actor)
    torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-7)
