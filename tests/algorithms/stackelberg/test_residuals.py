"""A rough solve says so: the logged residual is that of the system in question.

Every error is how far a reported residual is from the one of a dense matrix that is built another
way, after a solve that was rough. As with the other identities, each slip in the code is
beside what catches it.
"""

import pytest
import torch

from algorithms.stackelberg.game import implicit, solvers
from algorithms.stackelberg.responses import curvature
from algorithms.stackelberg.responses import linear as linear_response
from algorithms.stackelberg.responses import table as table_response
from algorithms.stackelberg.responses.linear import Quadratic, best_response, constrained_response
from tests.algorithms.stackelberg.test_identities import ALLOWED, V_MIN, game_of, logits_of, world
from tests.algorithms.stackelberg.test_neural_follower import (
    AIMS,
    MULTIPLIER,
    PLAYERS,
    RIDGE,
    gradient_of,
    residual_rows,
    sample,
)


def compared(reported, matrix, x, right):
    """Return how far a reported residual is from that of a dense system, relatively."""
    true = (matrix @ x - right).norm() / right.norm()
    assert true > 1e-3, "the solve was not rough"
    return abs(reported / true - 1).item()


def rough(matrix, right):
    """Solve as `solvers.cholesky` does, but for a matrix with half its mean diagonal added."""
    eye = torch.eye(len(matrix), dtype=matrix.dtype)
    x = torch.linalg.solve(matrix + 0.5 * matrix.diagonal().mean() * eye, right)
    return solvers.Solution(x, solvers.relative_residual(matrix @ x, right))


def neural_error():
    seen, (critic, _, leader) = sample(), PLAYERS["numbered"]
    policy, pairs = seen.policy(leader), seen.pairs
    jacobian = curvature.jacobian(critic, seen, policy)
    gradient = gradient_of(AIMS[0], seen, policy, critic)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers, "cholesky", rough)
        found = curvature.gauss_newton_direction(gradient, jacobian, pairs, MULTIPLIER, RIDGE)
    rows = residual_rows(critic, seen, policy)
    weighted = torch.diag(pairs.weight) @ pairs.features
    kernel = weighted @ weighted.T
    dense = 2 * MULTIPLIER * rows.T @ kernel @ rows + RIDGE * torch.eye(rows.shape[1]).double()
    along, right = map(curvature.flat, (found.along, gradient))
    return compared(found.residual, dense, along, right)


def linear_parts():
    """Return a kernel loss, what the follower is after and what the leader is."""
    draw = torch.Generator().manual_seed(3)
    matrix = torch.randn(12, 12, generator=draw, dtype=torch.float64)
    vectors = torch.randn(3, 12, generator=draw, dtype=torch.float64)
    return Quadratic(matrix, vectors[0], torch.eye(12).double()), vectors[1], vectors[2]


def linear_error(ridge=10.0):
    loss, start, right = linear_parts()
    response = best_response(loss, start, 0.05, MULTIPLIER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers, "cholesky", rough)
        moves, reported = linear_response.direction(
            loss, response, right, ridge=ridge, constrained=False
        )
    dense = 2 * MULTIPLIER * loss.matrix.T @ loss.matrix + (0.1 + ridge) * torch.eye(12).double()
    return compared(reported, dense, moves.along, right)


def linear_constraint_error(ridge=100.0):
    loss, start, right = linear_parts()
    response = constrained_response(loss, start, 0.05, torch.tensor(0.01), MULTIPLIER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers, "cholesky", rough)
        moves, reported = linear_response.direction(
            loss, response, right, ridge=ridge, constrained=True
        )
    eye = torch.eye(12).double()
    dense = 2 * response.multiplier * loss.matrix.T @ loss.matrix + (0.1 + ridge) * eye
    slope = 2 * loss.matrix.T @ (loss.matrix @ response.weights - loss.target)
    bordered = torch.cat([dense, slope.unsqueeze(-1)], dim=-1)
    both = torch.cat([moves.along, moves.multiplier.unsqueeze(0)])
    return compared(reported, bordered, both, right)


def table_error(form="penalty", ridge=1.0):
    game, policy = game_of(world(), uncovered=4), logits_of().softmax(-1)
    aims, weights = AIMS[0], table_response.cell_weights("normalized_delta", game, 1.5)
    constrained = form == "constraint"
    response = table_response.best_response(
        game, aims, weights, policy, V_MIN,
        multiplier=None if constrained else MULTIPLIER, allowed_loss=ALLOWED,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solvers, "cholesky", rough)
        moves = table_response.direction(
            game, weights, policy, response, ridge=ridge, constrained=constrained
        )
    discount = torch.tensor(0.9)
    found = table_response.metrics(
        game, aims, weights, policy, response, moves, discount, ridge=ridge
    )
    points = table_response.on_states(policy)

    def loss(q):
        error = game.residual(points, table_response.on_states(q.reshape(policy.shape)))
        return (weights.share * error**2).sum()

    def leader(q):
        return aims.leader(game, points, table_response.on_states(q.reshape(policy.shape)))

    at, seen = response.q.flatten(), game.covered.flatten()
    dense = response.multiplier * torch.func.hessian(loss)(at) + ridge * torch.eye(len(at)).double()
    bordered = torch.cat([dense, torch.func.grad(loss)(at).unsqueeze(-1)], dim=-1)[seen]
    both = torch.cat([moves.along.flatten(), moves.multiplier.unsqueeze(0)])
    return compared(found["solver_residual"], bordered, both, torch.func.grad(leader)(at)[seen])


def table_constraint_error():
    return table_error("constraint")


ERRORS = [
    neural_error,
    linear_error,
    linear_constraint_error,
    table_error,
    table_constraint_error,
]


@pytest.mark.parametrize("error", ERRORS)
def test_a_rough_solve_says_how_far_it_is(error):
    assert error() < 1e-6


def _reported_as_zero(monkeypatch):
    monkeypatch.setattr(solvers, "relative_residual", lambda image, right: 0.0 * right.sum())


def _not_relative(monkeypatch):
    monkeypatch.setattr(solvers, "relative_residual", lambda image, right: (image - right).norm())


def _of_the_small_system(monkeypatch):
    """Report the residual of what is solved on the way, a system as large as the features."""
    right = implicit.low_rank_direction

    def slipped(gradient, project, spread, small, ridge):
        matrix = small + ridge * torch.eye(len(small), dtype=small.dtype)
        found = right(gradient, project, spread, small, ridge)
        return found._replace(residual=rough(matrix, project(gradient)).residual)

    monkeypatch.setattr(curvature, "low_rank_direction", slipped)


def _ridge_forgotten(monkeypatch):
    low_rank, of_table = implicit.low_rank_direction, table_response.metrics
    of_features = linear_response.direction

    def neural(gradient, project, spread, small, ridge):
        found = low_rank(gradient, project, spread, small, ridge)
        image = spread(project(found.x))
        return found._replace(residual=solvers.relative_residual(image, gradient))

    def linear(loss, response, start, **settings):
        moves, _ = of_features(loss, response, start, **settings)
        held = moves.multiplier * loss.gradient(response.weights)
        image = response.curvature @ moves.along + held
        return moves, solvers.relative_residual(image, start)

    monkeypatch.setattr(curvature, "low_rank_direction", neural)
    monkeypatch.setattr(linear_response, "direction", linear)
    monkeypatch.setattr(
        table_response, "metrics", lambda *inputs, ridge: of_table(*inputs, ridge=None)
    )


def _half_the_curvature(monkeypatch):
    right = table_response.apply_curvature
    monkeypatch.setattr(table_response, "apply_curvature", lambda *inputs: right(*inputs) / 2)


def _constraint_forgotten(monkeypatch):
    """Report the residual of the first of a bordered system's two solves."""

    def first_alone(image, loss_gradient, moves, wanted):
        return solvers.relative_residual(image, wanted)

    for module in (table_response, linear_response):
        monkeypatch.setattr(module, "bordered_residual", first_alone)


CAUGHT = [
    *((_reported_as_zero, error) for error in ERRORS),
    *((_not_relative, error) for error in ERRORS),
    (_of_the_small_system, neural_error),
    (_ridge_forgotten, neural_error),
    (_ridge_forgotten, linear_error),
    (_ridge_forgotten, linear_constraint_error),
    (_ridge_forgotten, table_error),
    (_ridge_forgotten, table_constraint_error),
    (_half_the_curvature, table_error),
    (_constraint_forgotten, linear_constraint_error),
    (_constraint_forgotten, table_constraint_error),
]


@pytest.mark.parametrize(("slip", "error"), CAUGHT, ids=lambda x: x.__name__.strip("_"))
def test_a_slip_in_a_residual_is_caught(slip, error, monkeypatch):
    assert error() < 1e-6
    slip(monkeypatch)
    assert not error() < 1e-2
