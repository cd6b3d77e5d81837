"""The mean squared residual: transition by transition, through the response, and its bias."""

import pytest
import torch

from algorithms import networks
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import Aims, Points, batch_game
from algorithms.stackelberg.game.implicit import leader_gradient
from algorithms.stackelberg.game.operator import operator
from algorithms.stackelberg.game.tables import table_game, transition_game
from algorithms.stackelberg.responses import curvature
from algorithms.stackelberg.responses import linear as linear_response
from algorithms.stackelberg.responses import table as table_response
from algorithms.stackelberg.responses.squared_table import TransitionWeights
from bench.data.summary import tabular_statistics
from bench.settings.typed import ConfigError
from tests.algorithms.stackelberg.test_identities import (
    AIMS,
    LEADER,
    SPEC,
    V_MIN,
    batch,
    relative,
    total,
)
from tests.algorithms.stackelberg.test_learner import documented, first_updates
from tests.algorithms.stackelberg.test_neural_follower import (
    CRITIC,
    MULTIPLIER,
    RIDGE,
    residual_rows,
    residuals,
    sample,
)
from tests.support.builders import build_algorithm, make_spec, random_dataset

STATES, ACTIONS = 5, 3
DISCOUNT = torch.tensor(0.9, dtype=torch.float64)
WIDTH = torch.tensor(2.0, dtype=torch.float64)
WEIGHT = torch.tensor(30.0, dtype=torch.float64)
TABLE = make_spec(size=STATES, num_actions=ACTIONS, v_min=-5.0, v_max=5.0)


def data_of(deterministic=False):
    """Return a few transitions with ends, rewards that go with successors, and empty cells."""
    data = random_dataset("discrete", 90, 0, spec=TABLE)
    data = data.keep((data.observation != 1) | (data.action != 2), "hole")
    if not deterministic:
        return data
    first = {}
    for i, cell in enumerate(zip(data.observation, data.action, strict=True)):
        first.setdefault(cell, i)
    return data.keep([i in first.values() for i in range(len(data))] & (data.action >= 0), "first")


def games(data):
    counts = tabular_statistics(data)
    table = table_game(counts, torch.arange(STATES), DISCOUNT, WIDTH)
    return table, transition_game(counts, table, DISCOUNT, WIDTH)


def logits():
    draw = torch.Generator().manual_seed(1)
    return torch.randn(STATES, ACTIONS, generator=draw, dtype=torch.float64)


def brute_force(data, policy, q):
    """Return the squared residuals of all transitions, summed in a loop, over their number."""
    total = 0.0
    for i in range(len(data)):
        value = 0.0 if data.terminated[i] else policy[data.next_observation[i]] @ (
            q[data.next_observation[i]]
        )  # fmt: skip
        own = q[data.observation[i], data.action[i]]
        total += (float(data.reward[i]) / WIDTH + DISCOUNT * value - own) ** 2
    return total / len(data)


def test_it_is_the_loop_over_transitions_up_to_a_constant():
    data, policy = data_of(), logits().softmax(-1)
    game, draw = games(data)[1], torch.Generator().manual_seed(2)
    points, away = table_response.on_states(policy), []
    for _ in range(3):
        q = torch.randn(STATES, ACTIONS, generator=draw, dtype=torch.float64)
        error = game.residual(points, table_response.on_states(q))
        away.append(brute_force(data, policy, q) - (game.weight * error**2).sum())
    assert away[0] >= 0
    torch.testing.assert_close(torch.stack(away), away[0].expand(3), rtol=1e-5, atol=1e-6)


def answer(data, aims, logits, ridge=None):
    game, policy = games(data)[1], logits.softmax(-1)
    weights = TransitionWeights(game.weight)
    response = table_response.best_response(
        game, aims, weights, policy, V_MIN, multiplier=WEIGHT, allowed_loss=WEIGHT
    )
    moves = table_response.direction(
        game, weights, policy, response, ridge=ridge, constrained=False
    )
    reply = table_response.reply(game, weights, policy, response, moves)

    def policy_of(logits):
        return table_response.on_states(logits.softmax(-1))

    return game, response, leader_gradient(aims, game, policy_of, logits, reply)


@pytest.mark.parametrize("aims", AIMS, ids=str)
def test_a_table_s_answer_is_the_lowest(aims):
    data, policy = data_of(), logits().softmax(-1)
    game, response, _ = answer(data, aims, logits())
    points = table_response.on_states(policy)

    def objective(q):
        loss = brute_force(data, policy, q)
        return aims.follower(game, points, table_response.on_states(q)) + WEIGHT * loss

    slope = torch.func.grad(objective)(response.q)
    assert slope[game.covered].abs().max() < 1e-5  # rewards are kept in float32
    assert (response.q[~game.covered] == V_MIN).all()
    assert not game.covered.all()


@pytest.mark.parametrize("aims", AIMS, ids=str)
@pytest.mark.parametrize("ridge", [None, 0.0])
def test_the_total_derivative_is_the_slope_through_the_answer(aims, ridge):
    data, start = data_of(), logits()

    def value(logits):
        game, response, _ = answer(data, aims, logits)
        return aims.leader(
            game, table_response.on_states(logits.softmax(-1)), table_response.on_states(response.q)
        )

    slopes, step = torch.zeros_like(start), 1e-5
    for cell in range(start.numel()):
        move = torch.zeros(start.numel(), dtype=torch.float64)
        move[cell] = step
        move = move.reshape(start.shape)
        slopes.view(-1)[cell] = (value(start + move) - value(start - move)) / (2 * step)
    gradient = answer(data, aims, start, ridge)[2]
    assert relative(total(gradient), slopes) < 1e-6
    assert relative(gradient.direct, slopes) > 1e-2


def delta_answer(data, aims):
    game = games(data)[0]
    weights = table_response.cell_weights("normalized_delta", game, 1.0)
    return table_response.best_response(
        game, aims, weights, logits().softmax(-1), V_MIN, multiplier=WEIGHT, allowed_loss=WEIGHT
    ).q


@pytest.mark.parametrize("aims", AIMS, ids=str)
def test_without_noise_it_is_the_normalised_delta_kernel(aims):
    data = data_of(deterministic=True)
    torch.testing.assert_close(
        answer(data, aims, logits())[1].q, delta_answer(data, aims), rtol=1e-8, atol=1e-8
    )
    noisy = data_of()
    assert relative(answer(noisy, aims, logits())[1].q, delta_answer(noisy, aims)) > 1e-2


def test_noise_makes_it_prefer_values_that_vary_little():
    """Without pessimism the kernel finds q^pi; it finds successors less far apart than they are."""

    class Indifferent(Aims):
        def follower(self, game, policy, q):
            return 0.0 * game.taken_value(q)

    data, aims = random_dataset("discrete", 600, 0, spec=TABLE), Indifferent("data", "relative")
    game, response, _ = answer(data, aims, logits())
    policy, exact = logits().softmax(-1), delta_answer(data, aims)
    table = games(data)[0]
    torch.testing.assert_close(exact, operator(table, policy).evaluate(table.reward))

    def variance(q):
        value = DISCOUNT * (policy * q).sum(-1)
        likely = table.dense() / DISCOUNT
        mean = likely @ value
        return (game.share * (likely @ value**2 - mean**2)).sum()

    assert variance(response.q) < 0.8 * variance(exact)


# Other followers.


def linear_answer(network, derivative=True):
    data, aims = batch(), AIMS[0]
    places = Points(data.observation, data.next_observation, data.initial_observation[:7])
    game = batch_game(data, 0.9, torch.tensor(5.0))
    features = data_moments.draw_features("gaussian", 2, 4, torch.Generator().manual_seed(0))

    def policy_of(network):
        return Points(*(networks.apply(network, x).softmax(-1) for x in places))

    policy = policy_of(network)
    seen = data_moments.features_of(features, "gaussian", 1.5, places)
    moments = data_moments.moments_of(game, seen, policy, V_MIN, data.weight.sum())
    moments = data_moments.squares_of(moments, game, seen, policy, V_MIN)
    loss = linear_response.quadratic("gaussian", moments, squared=True)
    start = data_moments.per_action(policy.initial, seen.initial).mean(0)
    starts = linear_response.starts(aims, moments, start)
    response = linear_response.best_response(loss, starts.follower, 0.05, WEIGHT)
    q = linear_response.values(seen, response.weights, V_MIN, SPEC.num_actions)
    by_loop = (game.weight * game.residual(policy, q) ** 2).sum()
    torch.testing.assert_close(loss.value(response.weights), by_loop)
    if not derivative:
        return aims.leader(game, policy, q)
    moves, _ = linear_response.direction(
        loss, response, starts.leader, ridge=None, constrained=False
    )
    reply = linear_response.reply(game, policy, seen, loss, response, moves, V_MIN, 3)
    return leader_gradient(aims, game, policy_of, network, reply)


def test_against_a_linear_response_it_is_the_derivative_through_the_solve():
    draw = torch.Generator().manual_seed(5)
    along = torch.utils._pytree.tree_map(
        lambda x: torch.randn(x.shape, generator=draw, dtype=x.dtype), LEADER
    )

    def value(step):
        moved = torch.utils._pytree.tree_map(lambda x, d: x + step * d, LEADER, along)
        return linear_answer(moved, derivative=False)

    slope = (value(1e-6) - value(-1e-6)) / 2e-6
    leaves = torch.utils._pytree.tree_leaves
    pairs = zip(leaves(total(linear_answer(LEADER))), leaves(along), strict=True)
    found = torch.stack([(x * d).sum() for x, d in pairs]).sum()
    assert found.item() == pytest.approx(slope.item(), rel=1e-5)


def test_a_network_s_loss_and_curvature_are_those_of_squares():
    residual, pairs = residuals()
    expected = (pairs.weight * residual**2).sum()
    torch.testing.assert_close(pairs.loss(residual, "squared"), expected)
    seen = sample()
    policy = seen.policy(LEADER)
    jacobian = curvature.jacobian(CRITIC, seen, policy)
    right = torch.utils._pytree.tree_map(torch.ones_like, CRITIC)
    found = curvature.gauss_newton_direction(right, jacobian, pairs, MULTIPLIER, RIDGE, "squared")
    rows = residual_rows(CRITIC, seen, policy)
    dense = 2 * MULTIPLIER * rows.T @ torch.diag(pairs.weight) @ rows
    dense = dense + RIDGE * torch.eye(len(dense), dtype=torch.float64)
    expected = torch.linalg.solve(dense, torch.ones(len(dense), dtype=torch.float64))
    torch.testing.assert_close(curvature.flat(found.along), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", ["discrete", "vector"])
def test_it_trains_and_logs_what_a_run_should(kind):
    settings = {"hidden_sizes": [], "num_features": 10, "kernel_loss": "squared"}
    data = random_dataset(kind, 60, 0)
    follower = "table" if kind == "discrete" else "linear"
    algorithm = build_algorithm("stackelberg", kind, follower=follower, **settings)
    metrics = first_updates(algorithm, data)[1]
    assert set(metrics) == documented(follower)
    assert all(value.isfinite() for value in metrics.values())
    assert metrics["follower_gradient"] < 1e-6
    assert metrics["solver_residual"] < 1e-6


def test_noise_cannot_be_limited():
    with pytest.raises(ConfigError, match="kernel_loss=squared cannot be limited"):
        build_algorithm("stackelberg", kernel_loss="squared", form="constraint")
