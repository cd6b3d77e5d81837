"""The follower as a table: its exact best response by linear solves over the cells with data.

With M = I - P pi (P the empirical, discounted transitions) and the residual r - M q, the follower's

    min_q  p . q + multiplier (r - M q)^T W (r - M q)     is     q = M^-1 (r - W^-1 u / (2 multiplier))

with ``u = M^-T p``: the value of the policy under rewards lowered by how far it strays from the
data, for p = d_q J_L and `normalized_delta` the occupancy over the data's share. Cells without data are pinned at
what they are assumed to be worth (game/unseen.py): there J_F has no lower bound. M is solved in states, not in cells.

W weighs mean residuals of cells by how many pairs of transitions they stand for: mu^2 for the
delta kernel, mu for the normalised one, mu K mu for a kernel between states. `regularization` has
nothing to act on here. The squared residual of single transitions has a solve of its own
(squared_table.py).
"""  # noqa: E501

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.stackelberg.game import solvers
from algorithms.stackelberg.game.game import Aims, Points
from algorithms.stackelberg.game.implicit import (
    Direction,
    Reply,
    bordered_residual,
    keep_constraint,
)
from algorithms.stackelberg.game.kernels import SMOOTH, Kernel, state_gram
from algorithms.stackelberg.game.operator import Operator, operator
from algorithms.stackelberg.game.tables import OnTable, TableGame, TransitionGame
from algorithms.stackelberg.responses import squared_table
from algorithms.stackelberg.responses.squared_table import TransitionWeights

EIGENVALUE_STEPS = 8


def on_states(table: Tensor) -> Points:
    """Return the points of a table ``[states, actions]``: its states, thrice."""
    return Points(table, table, table)


class CellWeights(NamedTuple):
    """The quadratic form W of the kernel loss in the cells' mean residuals, and its inverse."""

    kernel: Kernel
    share: Tensor
    states: Tensor | None

    def weigh(self, x: Tensor) -> Tensor:
        """Return ``W x``, ``[states, actions]``."""
        if self.states is not None:
            return self.share * (self.states @ (self.share * x))
        return self._diagonal() * x

    def own(self) -> Tensor:
        """Return ``K(x, x)`` of the cells, ``[states, actions]``, 0 without data."""
        covered = self.share > 0
        if self.states is None:
            share = torch.where(covered, self.share, 1.0)
            return covered * self._diagonal() / share**2
        return covered * self.states.diagonal().unsqueeze(-1)

    def unweigh(self, x: Tensor) -> Tensor:
        """Return ``W^-1 x`` on the cells with data and 0 elsewhere, ``[states, actions]``."""
        covered = self.share > 0
        if self.states is None:
            return torch.where(covered, x / torch.where(covered, self._diagonal(), 1.0), 0.0)
        share = torch.where(covered, self.share, 1.0)
        inside = covered.T.to(x.dtype)  # [actions, states]
        eye = torch.eye(len(x), dtype=x.dtype, device=x.device)
        pairs = inside.unsqueeze(-1) * inside.unsqueeze(-2)
        matrix = pairs * self.states + (1 - inside).unsqueeze(-1) * eye
        right = torch.where(covered, x / share, 0.0).T
        solved = torch.linalg.solve_ex(matrix, right.unsqueeze(-1))[0].squeeze(-1).T
        return torch.where(covered, solved / share, 0.0)

    def _diagonal(self) -> Tensor:
        normalized = self.kernel in ("normalized_delta", "normalized_feature")
        return self.share if normalized else self.share**2


def cell_weights(kernel: Kernel, game: OnTable, bandwidth: float | Tensor) -> CellWeights:
    """Return the form of a kernel; one between states needs a bandwidth."""
    states = None
    if kernel in SMOOTH:
        states = state_gram(kernel, len(game.share), bandwidth, game.share)
    return CellWeights(kernel, game.share, states)


Weights = CellWeights | TransitionWeights


class TableResponse(NamedTuple):
    """The follower's best response.

    Attributes:
        operator: The Bellman operator of the policy that it answers.
        q: ``[states, actions]``, what is assumed where there is no data.
        multiplier: ``[]``, lambda.
        follower_start: ``[states, actions]``, derivative of the pessimism in q.
        leader_start: ``[states, actions]``, derivative of J_L in q.
    """

    operator: Operator
    q: Tensor
    multiplier: Tensor
    follower_start: Tensor
    leader_start: Tensor


def best_response(
    game: OnTable,
    aims: Aims,
    weights: Weights,
    policy: Tensor,
    v_min: Tensor,
    *,
    multiplier: Tensor | None,
    allowed_loss: Tensor,
) -> TableResponse:
    """Return the exact response; without a multiplier, the one that makes the loss as allowed."""
    points, bellman = on_states(policy), operator(game, policy)

    def follower(q: Tensor) -> Tensor:
        return aims.follower(game, points, on_states(q))

    def leader(q: Tensor) -> Tensor:
        return aims.leader(game, points, on_states(q))

    zeros = torch.zeros_like(policy)
    start, leader_start = torch.func.grad(follower)(zeros), torch.func.grad(leader)(zeros)
    if isinstance(weights, TransitionWeights):
        assert isinstance(game, TransitionGame)
        assert multiplier is not None
        lowest = squared_table.lowest(game, aims, policy, v_min, multiplier)
        return TableResponse(bellman, lowest, multiplier, start, leader_start)
    assert isinstance(game, TableGame)
    visits = bellman.visits(start)
    cost = weights.unweigh(visits)
    if multiplier is None:
        # L_K = u^T W^-1 u / (4 multiplier^2); it must not vanish where u does.
        size = (visits * cost).sum().clamp_min(1e-24).sqrt()
        multiplier = size / (2 * allowed_loss.sqrt())
    lowered = torch.where(game.covered, game.reward - cost / (2 * multiplier), v_min)
    return TableResponse(bellman, bellman.evaluate(lowered), multiplier, start, leader_start)


def direction(
    game: OnTable,
    weights: Weights,
    policy: Tensor,
    response: TableResponse,
    *,
    ridge: float | Tensor | None,
    constrained: bool,
) -> Direction:
    """Return ``H^-1 d_q J_L``, zero without data; with a ridge by a dense solve over cells."""

    def solve(start: Tensor) -> Tensor:
        start = torch.where(game.covered, start, 0.0)
        if ridge is not None:
            dense = dense_curvature(game, weights, policy, response.multiplier)
            ridged = dense + ridge * torch.eye(len(dense), dtype=dense.dtype, device=dense.device)
            return solvers.cholesky(ridged, start.flatten()).x.reshape(start.shape)
        return solve_curvature(game, weights, response, start)

    along = solve(response.leader_start)
    if not constrained:
        return Direction(along, torch.zeros_like(response.multiplier))
    gradient = constraint_gradient(game, response)
    return keep_constraint(along, solve(gradient), gradient)


def constraint_gradient(game: OnTable, response: TableResponse) -> Tensor:
    """Return g, the kernel loss's derivative in q at a best response, 0 without data."""
    # There it is - d_q pessimism / multiplier.
    return torch.where(game.covered, -response.follower_start / response.multiplier, 0.0)


def solve_curvature(game: OnTable, weights: Weights, response: TableResponse, x: Tensor) -> Tensor:
    """Return ``H^-1 x`` for the curvature ``H = 2 multiplier M^T W M`` of the cells with data."""
    bellman, doubled = response.operator, 2 * response.multiplier
    if isinstance(weights, TransitionWeights):
        assert isinstance(game, TransitionGame)
        return squared_table.solve_squares(game, bellman.policy, x) / doubled
    return bellman.evaluate(weights.unweigh(bellman.visits(x)) / doubled)


def apply_curvature(
    game: OnTable, weights: Weights, policy: Tensor, multiplier: Tensor, x: Tensor
) -> Tensor:
    """Return ``H x`` of a table ``[states, actions]``, 0 where there is no data."""

    def loss(q: Tensor) -> Tensor:
        moved = game.residual_along(on_states(policy), on_states(q * game.covered))
        return multiplier * (moved * weights.weigh(moved)).sum()

    return torch.func.grad(loss)(x)  # the loss is quadratic


def dense_curvature(game: OnTable, weights: Weights, policy: Tensor, multiplier: Tensor) -> Tensor:
    """Return H over all cells ``[cells, cells]``, 1 on the diagonal where there is no data."""
    covered = game.covered.flatten().to(policy.dtype)
    eye = torch.eye(policy.numel(), dtype=policy.dtype, device=policy.device)

    def row(cell: Tensor) -> Tensor:
        return apply_curvature(game, weights, policy, multiplier, cell).flatten()

    return torch.func.vmap(row)(eye.reshape(-1, *policy.shape)) + torch.diag(1 - covered)


def reply(
    game: OnTable, weights: Weights, policy: Tensor, response: TableResponse, moves: Direction
) -> Reply:
    """Return the answer as the leader needs it."""
    points, doubled = on_states(policy), 2 * response.multiplier
    q, q_dot = on_states(response.q), on_states(moves.along)
    pull = doubled * weights.weigh(game.residual(points, q))
    pull_dot = doubled * weights.weigh(game.residual_along(points, q_dot))
    return Reply(q, q_dot, pull, pull_dot + moves.multiplier / response.multiplier * pull)


def smallest_curvature(game: OnTable, weights: Weights, response: TableResponse) -> Tensor:
    """Return the smallest eigenvalue of the curvature, from above."""
    shape = game.share.shape

    def solve(x: Tensor) -> Tensor:
        cells = torch.where(game.covered, x.reshape(shape), 0.0)
        return solve_curvature(game, weights, response, cells).flatten()

    return solvers.smallest_eigenvalue(
        solve, torch.ones_like(game.share).flatten(), EIGENVALUE_STEPS
    )


def metrics(
    game: OnTable,
    aims: Aims,
    weights: Weights,
    policy: Tensor,
    response: TableResponse,
    moves: Direction,
    discount: Tensor,
    ridge: float | Tensor | None,
) -> dict[str, Tensor]:
    """Return what the response says of itself, scalars in normalised units.

    `concentrability` is ``E_data[(d / mu)^2]`` of the policy's discounted occupancy d in the
    empirical MDP from the initial distribution, over cells with data; `off_support` is the share
    of d where there is none.
    """
    points, multiplier = on_states(policy), response.multiplier

    def objective(q: Tensor) -> tuple[Tensor, Tensor]:
        error = game.residual(points, on_states(q))
        loss = (error * weights.weigh(error)).sum()
        return aims.follower(game, points, on_states(q)) + multiplier * loss, loss

    gradient, loss = torch.func.grad(objective, has_aux=True)(response.q)
    gradient = torch.where(game.covered, gradient, 0.0)
    starts = game.initial_share.unsqueeze(-1) * policy
    occupancy = (1 - discount) * response.operator.visits(starts)
    share = torch.where(game.covered, game.share, 1.0)
    covered = occupancy * game.covered
    image = apply_curvature(game, weights, policy, multiplier, moves.along)
    image = image + (0.0 if ridge is None else ridge) * moves.along
    wanted = torch.where(game.covered, response.leader_start, 0.0)
    held = constraint_gradient(game, response)
    return {
        "kernel_loss": loss,
        "follower_gradient": _norm(gradient),
        "solver_residual": bordered_residual(
            image.flatten(), held.flatten(), moves, wanted.flatten()
        ),
        "concentrability": (covered**2 / share).sum(),
        "off_support": 1 - covered.sum() / occupancy.sum().clamp_min(1e-12),
    }


def _norm(x: Tensor) -> Tensor:
    return (x * x).sum().sqrt()
