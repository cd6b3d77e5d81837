"""What must hold of the Stackelberg game, in float64, and what breaks it.

Every identity is a function that returns how far off it is. Each is checked to hold as the code
stands, and to be far off once a sign, a transpose, a factor or the ridge in the code is wrong.
"""

from itertools import product

import numpy as np
import pytest
import torch

from algorithms import networks
from algorithms.stackelberg.game import implicit
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import Aims, Points, batch_game
from algorithms.stackelberg.game.implicit import leader_gradient, norm
from algorithms.stackelberg.game.operator import Operator, operator
from algorithms.stackelberg.game.tables import TableGame, table_game
from algorithms.stackelberg.responses import linear as linear_response
from algorithms.stackelberg.responses import table as table_response
from bench.data.summary import tabular_statistics
from bench.worlds import exact
from tests.support.builders import make_spec, random_batch, random_dataset, random_network
from tests.support.worlds import random_mdp

DISCOUNT = 0.9
V_MIN = torch.tensor(-3.0, dtype=torch.float64)
MULTIPLIER = torch.tensor(40.0, dtype=torch.float64)
ALLOWED = torch.tensor(1e-3, dtype=torch.float64)
AIMS = [Aims(o, p) for o, p in product(("data", "initial"), ("relative", "absolute"))]


class NoPessimism(Aims):
    """A follower that only wants the residual to be small."""

    def follower(self, game, policy, q):
        """Return nothing."""
        return 0.0 * game.taken_value(q)


def relative(left, right):
    """Return the size of the difference of two trees over that of the second."""
    difference = torch.utils._pytree.tree_map(torch.sub, left, right)
    return (norm(difference) / norm(right)).item()


def world(seed=0, states=6, actions=3):
    return random_mdp(seed, num_states=states, num_actions=actions)


def dense_game(transition, reward, share, initial):
    """Return the game with discounted transitions ``[states, actions, states]``, in mixed order."""
    size = transition.numel()
    place = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    states = transition.shape[-1]
    return TableGame(
        pair=place // states,
        successor=place % states,
        probability=transition.flatten()[place],
        reward=reward,
        share=share,
        initial_share=initial,
    )


def test_transitions_where_the_data_has_them_do_what_dense_ones_do():
    game, policy = game_of(world(), uncovered=4), logits_of().softmax(-1)
    dense, x = game.dense(), logits_of(seed=2)
    seen = game.covered.numpy()[..., None]
    np.testing.assert_array_equal(dense, DISCOUNT * world().continuation * seen)
    torch.testing.assert_close(game.following(x[:, 0]), dense @ x[:, 0])
    torch.testing.assert_close(game.inflow(x), torch.einsum("sa,sat->t", x, dense))
    torch.testing.assert_close(game.step(policy), torch.einsum("sa,sat->st", policy, dense))
    matrix = torch.eye(x.numel()).double() - torch.einsum("sat,tb->satb", dense, policy).reshape(
        x.numel(), x.numel()
    )
    bellman = operator(game, policy)
    torch.testing.assert_close(matrix @ bellman.evaluate(x).flatten(), x.flatten())
    torch.testing.assert_close(matrix.T @ bellman.visits(x).flatten(), x.flatten())


def test_padding_of_counts_changes_nothing():
    data = random_dataset("discrete", 90, 0)
    counts, seen = tabular_statistics(data), [0, 1]
    padded = counts._replace(
        **{name: torch.cat([getattr(counts, name), torch.zeros_like(getattr(counts, name))])
           for name in ("pair", "successor", "number", "rewards")}
    )  # fmt: skip
    games = [table_game(x, torch.tensor(seen), 0.9, torch.tensor(2.0)) for x in (counts, padded)]
    q, points = logits_of(*games[0].share.shape), policy_of(logits_of(*games[0].share.shape))
    errors = [game.residual(points, table_response.on_states(q)) for game in games]
    torch.testing.assert_close(errors[1], errors[0], rtol=0, atol=0)


def game_of(mdp, uncovered=0, seed=0):
    """Return the game on the MDP's own transitions, every cell but some with a random share."""
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(mdp.num_states * mdp.num_actions))
    share[rng.permutation(len(share))[:uncovered]] = 0
    share = share.reshape(mdp.num_states, mdp.num_actions) / share.sum()
    seen = torch.tensor(share > 0)
    return dense_game(
        DISCOUNT * torch.tensor(mdp.continuation) * seen.unsqueeze(-1),
        torch.tensor(mdp.expected_reward) * seen,
        torch.tensor(share),
        torch.tensor(mdp.initial),
    )


def logits_of(states=6, actions=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(states, actions, generator=generator, dtype=torch.float64)


def policy_of(logits):
    return table_response.on_states(logits.softmax(-1))


def table_answer(game, aims, logits, kernel="delta", form="penalty", ridge=None):
    """Return the response, the reply and the leader's gradient against a table."""
    policy = logits.softmax(-1)
    weights = table_response.cell_weights(kernel, game, 1.5)
    response = table_response.best_response(
        game, aims, weights, policy, V_MIN,
        multiplier=MULTIPLIER if form == "penalty" else None, allowed_loss=ALLOWED,
    )  # fmt: skip
    moves = table_response.direction(
        game, weights, policy, response, ridge=ridge, constrained=form == "constraint"
    )
    reply = table_response.reply(game, weights, policy, response, moves)
    return response, reply, leader_gradient(aims, game, policy_of, logits, reply)


def total(gradient):
    return torch.utils._pytree.tree_map(torch.add, gradient.direct, gradient.implicit)


# 1. The exact policy gradient.


def policy_gradient_error(kernel="delta", ridge=None):
    mdp, logits = world(), logits_of()
    aims = NoPessimism("initial", "relative")
    gradient = table_answer(game_of(mdp), aims, logits, kernel, ridge=ridge)[2]
    reward, move = torch.tensor(mdp.expected_reward), torch.tensor(mdp.continuation)

    def value(logits):
        policy = logits.softmax(-1)
        step = torch.einsum("sa,sat->st", policy, move)
        operator = torch.eye(6, dtype=torch.float64) - DISCOUNT * step
        return torch.tensor(mdp.initial) @ torch.linalg.solve(operator, (policy * reward).sum(-1))

    return relative(total(gradient), torch.func.grad(value)(logits))


@pytest.mark.parametrize(
    "kernel", ["delta", "normalized_delta", "gaussian", "laplacian", "inverse_multiquadric"]
)
def test_without_pessimism_the_total_derivative_is_the_exact_policy_gradient(kernel):
    assert policy_gradient_error(kernel) < 1e-10


def test_the_direct_gradient_alone_is_not():
    mdp, logits = world(), logits_of()
    gradient = table_answer(game_of(mdp), NoPessimism("initial", "relative"), logits)[2]
    assert relative(gradient.direct, total(gradient)) > 0.3


def test_a_small_ridge_already_spoils_the_policy_gradient():
    assert policy_gradient_error(ridge=0.0) < 1e-9
    assert policy_gradient_error(ridge=1e-2) > 0.05


# 2. Zero-sum.


def zero_sum_error(aims=AIMS[0], kernel="normalized_delta"):
    """Return the implicit term of a leader whose objective is the follower's, relatively."""
    game, logits = game_of(world(), uncovered=4), logits_of()
    policy = logits.softmax(-1)
    weights = table_response.cell_weights(kernel, game, 1.5)
    response = table_response.best_response(
        game, aims, weights, policy, V_MIN, multiplier=MULTIPLIER, allowed_loss=ALLOWED
    )

    def shared(q):
        points, values = policy_of(logits), table_response.on_states(q)
        error = game.residual(points, values)
        loss = (error * weights.weigh(error)).sum()
        return aims.follower(game, points, values) + MULTIPLIER * loss

    response = response._replace(leader_start=torch.func.grad(shared)(response.q))
    moves = table_response.direction(game, weights, policy, response, ridge=None, constrained=False)
    reply = table_response.reply(game, weights, policy, response, moves)
    gradient = leader_gradient(aims, game, policy_of, logits, reply)
    return (norm(gradient.implicit) / norm(gradient.direct)).item()


@pytest.mark.parametrize("aims", AIMS, ids=str)
def test_the_implicit_term_vanishes_where_both_want_the_same(aims):
    assert zero_sum_error(aims) < 1e-12


# 3. Differentiating through the closed form.

SPEC = make_spec("vector", size=2, num_actions=3)
LEADER = random_network([2, 5, 3], seed=4)


def batch():
    return random_batch(SPEC, 40, seed=3)


def linear_answer(aims, kernel, form, parameters, ridge=None, allowed=0.01, derivative=True):
    """Return the leader's objective against a linear follower, and if asked its gradient."""
    data, number = batch(), 4
    initial = data.initial_observation[:7]
    places = Points(data.observation, data.next_observation, initial)
    game = batch_game(data, DISCOUNT, torch.tensor(5.0))
    generator = torch.Generator().manual_seed(0)
    features = data_moments.draw_features(kernel, 2, number, generator)

    def policy_of(network):
        return Points(*(networks.apply(network, x).softmax(-1) for x in places))

    policy = policy_of(parameters)
    seen = data_moments.features_of(features, kernel, 1.5, places)
    moments = data_moments.moments_of(game, seen, policy, V_MIN, data.weight.sum())
    loss = linear_response.quadratic(kernel, moments)
    start = data_moments.per_action(policy.initial, seen.initial).mean(0)
    starts = linear_response.starts(aims, moments, start)
    if form == "penalty":
        response = linear_response.best_response(loss, starts.follower, 0.05, MULTIPLIER)
    else:
        response = linear_response.constrained_response(
            loss, starts.follower, 0.05, torch.tensor(allowed), MULTIPLIER
        )
    q = linear_response.values(seen, response.weights, V_MIN, 3)
    objective = aims.leader(game, policy, q)
    if not derivative:
        return objective
    moves, _ = linear_response.direction(
        loss, response, starts.leader, ridge=ridge, constrained=form == "constraint"
    )
    reply = linear_response.reply(game, policy, seen, loss, response, moves, V_MIN, 3)
    return leader_gradient(aims, game, policy_of, parameters, reply)


def linear_error(aims=AIMS[0], kernel="normalized_feature", ridge=None):
    expected = torch.func.grad(
        lambda network: linear_answer(aims, kernel, "penalty", network, derivative=False)
    )(LEADER)
    return relative(total(linear_answer(aims, kernel, "penalty", LEADER, ridge)), expected)


@pytest.mark.parametrize("aims", AIMS, ids=str)
@pytest.mark.parametrize("kernel", ["feature", "normalized_feature", "gaussian", "laplacian"])
def test_against_a_linear_response_it_is_the_derivative_through_the_solve(aims, kernel):
    assert linear_error(aims, kernel) < 1e-9


def finite_difference_error(answer, parameters, gradient, size=1e-6, seed=5):
    """Return how far the slope along a random direction is from the gradient's, relatively."""
    generator = torch.Generator().manual_seed(seed)
    along = torch.utils._pytree.tree_map(
        lambda x: torch.randn(x.shape, generator=generator, dtype=x.dtype), parameters
    )

    def at(step):
        moved = torch.utils._pytree.tree_map(lambda x, d: x + step * d, parameters, along)
        return answer(moved)

    slope = (at(size) - at(-size)) / (2 * size)
    return abs((implicit.inner(gradient, along) / slope - 1).item())


def linear_constraint_error(aims=AIMS[0], allowed=0.01):
    def answer(network):
        return linear_answer(
            aims, "normalized_feature", "constraint", network, allowed=allowed, derivative=False
        )

    gradient = total(
        linear_answer(aims, "normalized_feature", "constraint", LEADER, allowed=allowed)
    )
    return finite_difference_error(answer, LEADER, gradient, size=1e-5)


@pytest.mark.parametrize("aims", AIMS, ids=str)
@pytest.mark.parametrize("allowed", [0.01, 1e6], ids=["binding", "idle"])
def test_against_a_constrained_linear_response_it_is_the_slope(aims, allowed):
    assert linear_constraint_error(aims, allowed) < 1e-4


def table_error(aims=AIMS[0], kernel="normalized_delta", form="penalty", ridge=None):
    game, logits = game_of(world(), uncovered=4), logits_of()

    def objective(logits):
        response = table_answer(game, aims, logits, kernel, form)[0]
        return aims.leader(game, policy_of(logits), table_response.on_states(response.q))

    gradient = table_answer(game, aims, logits, kernel, form, ridge)[2]
    return relative(total(gradient), torch.func.grad(objective)(logits))


@pytest.mark.parametrize("aims", AIMS, ids=str)
@pytest.mark.parametrize("kernel", ["delta", "normalized_delta", "gaussian"])
@pytest.mark.parametrize("form", ["penalty", "constraint"])
def test_against_a_table_it_is_the_derivative_through_the_solve(aims, kernel, form):
    assert table_error(aims, kernel, form) < 1e-9


# 5. The feature kernel.


def feature_kernel_error():
    """Return how far the linear kernel loss is from all pairs of ``Phi Phi^T``, relatively."""
    data, generator = batch(), torch.Generator().manual_seed(0)
    places = Points(data.observation, data.next_observation, data.initial_observation)
    game = batch_game(data, DISCOUNT, torch.tensor(5.0))
    features = data_moments.draw_features("feature", 2, 4, generator)
    seen = data_moments.features_of(features, "feature", 1.5, places)
    policy = Points(*(networks.apply(LEADER, x).softmax(-1) for x in places))
    moments = data_moments.moments_of(game, seen, policy, V_MIN, data.weight.sum())
    loss = linear_response.quadratic("feature", moments)
    weights = torch.randn(12, generator=generator, dtype=torch.float64)
    q = linear_response.values(seen, weights, V_MIN, 3)
    delta = game.weight * game.residual(policy, q)
    pairs = 0.0
    for i, j in product(range(40), repeat=2):
        same = float(data.action[i] == data.action[j])
        pairs += delta[i] * delta[j] * same * (seen.observation[i] @ seen.observation[j])
    at_solution = loss.residual(torch.linalg.solve(moments.matrix, moments.target))
    taken = torch.nn.functional.one_hot(data.action, 3).double()
    update = data_moments.per_action(taken, seen.observation).T @ delta
    errors = (
        (loss.residual(weights) ** 2).sum() / pairs - 1,
        (loss.residual(weights) - update).norm() / update.norm(),
        at_solution.norm(),
    )
    return max(abs(x.item()) for x in errors)


def test_the_feature_kernel_is_the_norm_of_the_td_update_and_zero_at_the_lstd_solution():
    assert feature_kernel_error() < 1e-10


# 8. Pessimism is concentrability.


def concentrability_error(form="penalty"):
    """Return how far value and multiplier are from what concentrability says."""
    mdp, logits = world(), logits_of()
    game, aims = game_of(mdp), Aims("initial", "absolute")
    response = table_answer(game, aims, logits, "normalized_delta", form)[0]
    policy = logits.softmax(-1)
    points = policy_of(logits)
    value = exact.policy_value(mdp, policy.numpy(), DISCOUNT)
    visits = exact.occupancy(mdp, policy.numpy(), DISCOUNT) / (1 - DISCOUNT)
    size = (visits**2 / game.share.numpy()).sum()  # E_mu[(d / mu)^2]
    pessimistic = game.initial_value(points, table_response.on_states(response.q)).item()
    if form == "penalty":
        return abs(pessimistic / (value - size / (2 * MULTIPLIER.item())) - 1)
    allowed = ALLOWED.item()
    multiplier = np.sqrt(size) / (2 * np.sqrt(allowed))
    return max(
        abs(pessimistic / (value - np.sqrt(allowed * size)) - 1),
        abs(response.multiplier.item() / multiplier - 1),
    )


@pytest.mark.parametrize("form", ["penalty", "constraint"])
def test_the_pessimistic_value_is_the_value_less_the_concentrability(form):
    assert concentrability_error(form) < 1e-10


def test_in_features_that_are_a_table_the_linear_response_is_the_table():
    """One-hot features make M square and R^T R the inverse shares: identity 8 in both forms."""
    game, logits = game_of(world()), logits_of()
    policy = logits.softmax(-1)
    size = policy.numel()
    share = game.share.flatten()
    step = torch.einsum("sat,tb->satb", game.dense(), policy).reshape(size, size)
    matrix = torch.eye(size, dtype=torch.float64) - step
    root = torch.diag(share.sqrt())
    loss = linear_response.Quadratic(
        root @ matrix, share.sqrt() * game.reward.flatten(), torch.eye(size, dtype=torch.float64)
    )
    start = (game.initial_share.unsqueeze(-1) * policy).flatten()
    aims = Aims("initial", "absolute")
    expected = table_answer(game, aims, logits, "normalized_delta")[0].q.flatten()
    found = linear_response.best_response(loss, start, 0.0, MULTIPLIER).weights
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
    tight = table_answer(game, aims, logits, "normalized_delta", "constraint")[0].q.flatten()
    found = linear_response.constrained_response(loss, start, 0.0, ALLOWED, MULTIPLIER).weights
    torch.testing.assert_close(found, tight, rtol=1e-6, atol=1e-6)


# What is wrong must show. Each change is one slip in the code; beside it what catches it.


def _wrong_sign(monkeypatch):
    right = implicit.stationarity_along
    monkeypatch.setattr(implicit, "stationarity_along", lambda *inputs: -right(*inputs))


def _one_end_only(monkeypatch):
    """Forget that the kernel loss has a residual at both ends."""

    def half(aims, game, policy, reply):
        along = aims.follower(game, policy, reply.q_dot)
        return along + (reply.pull * game.residual_along(policy, reply.q_dot)).sum()

    monkeypatch.setattr(implicit, "stationarity_along", half)


def _pull_without_its_two(monkeypatch):
    for module in (table_response, linear_response):
        right = module.reply

        def half(*inputs, right=right):
            reply = right(*inputs)
            return reply._replace(pull=reply.pull / 2, pull_dot=reply.pull_dot / 2)

        monkeypatch.setattr(module, "reply", half)


def _visits_not_transposed(monkeypatch):
    monkeypatch.setattr(Operator, "visits", Operator.evaluate)


def _values_transposed(monkeypatch):
    monkeypatch.setattr(Operator, "evaluate", Operator.visits)


def _multiplier_doubled(monkeypatch):
    for module in (table_response, linear_response):
        right = module.best_response

        def doubled(*inputs, right=right, **named):
            response = right(*inputs, **named)
            return response._replace(multiplier=2 * response.multiplier)

        monkeypatch.setattr(module, "best_response", doubled)


def _root_not_transposed(monkeypatch):
    def pull(self, rotated):
        return torch.linalg.solve_triangular(self.root, rotated.unsqueeze(-1), upper=False)[:, 0]

    monkeypatch.setattr(linear_response.Quadratic, "pull", pull)


def _matrix_transposed(monkeypatch):
    right = data_moments.moments_of

    def transposed(*inputs):
        moments = right(*inputs)
        return moments._replace(matrix=moments.matrix.T)

    monkeypatch.setattr(data_moments, "moments_of", transposed)


def _normalized_like_plain(monkeypatch):
    monkeypatch.setattr(table_response.CellWeights, "_diagonal", lambda self: self.share**2)


def _multiplier_kept(monkeypatch):
    """Forget that the multiplier of a constraint answers as well."""

    def keep(along, toward, loss_gradient):
        return implicit.Direction(along, torch.zeros_like(along.sum()))

    for module in (table_response, linear_response):
        monkeypatch.setattr(module, "keep_constraint", keep)


def table_constraint_error():
    return table_error(form="constraint")


CAUGHT = [
    (_wrong_sign, policy_gradient_error),
    (_wrong_sign, table_error),
    (_wrong_sign, linear_error),
    (_wrong_sign, linear_constraint_error),
    (_one_end_only, table_error),
    (_one_end_only, linear_error),
    (_pull_without_its_two, table_error),
    (_pull_without_its_two, linear_error),
    (_visits_not_transposed, policy_gradient_error),
    (_visits_not_transposed, zero_sum_error),
    (_visits_not_transposed, concentrability_error),
    (_values_transposed, policy_gradient_error),
    (_multiplier_doubled, table_error),
    (_multiplier_doubled, linear_error),
    (_root_not_transposed, linear_error),
    (_matrix_transposed, feature_kernel_error),
    (_normalized_like_plain, concentrability_error),
    (_multiplier_kept, table_constraint_error),
    (_multiplier_kept, linear_constraint_error),
]


@pytest.mark.parametrize(("slip", "error"), CAUGHT, ids=lambda x: x.__name__.strip("_"))
def test_a_slip_is_caught(slip, error, monkeypatch):
    assert error() < 1e-4
    slip(monkeypatch)
    assert not error() < 1e-2


@pytest.mark.parametrize("error", [policy_gradient_error, table_error, linear_error])
def test_a_ridge_is_caught(error):
    assert error(ridge=None) < 1e-9
    assert error(ridge=0.0) < 1e-8
    assert error(ridge=1.0) > 1e-2


def test_the_implicit_term_of_a_wrong_response_does_not_vanish_in_a_zero_sum_game(monkeypatch):
    right = table_response.best_response

    def wrong(*inputs, **named):
        response = right(*inputs, **named)
        return response._replace(q=response.q * 1.1)

    monkeypatch.setattr(table_response, "best_response", wrong)
    assert zero_sum_error() > 1e-2
