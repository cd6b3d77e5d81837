"""The Bellman operator of a policy on a table, ``M = I - P pi``, factorised once for all solves."""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.stackelberg.game.tables import OnTable, TableGame, TransitionGame


class Operator(NamedTuple):
    """M of the empirical MDP, solved in states rather than in cells.

    Attributes:
        table: The game on the cells.
        policy: ``[states, actions]``.
        factor: ``[states, states]``, triangular factors of ``I - pi P``.
        pivots: ``[states]``, the order of its rows.
    """

    table: TableGame
    policy: Tensor
    factor: Tensor
    pivots: Tensor

    def evaluate(self, reward: Tensor) -> Tensor:
        """Return ``M^-1 reward``, the action values ``[states, actions]`` under a reward."""
        value = self.solve((self.policy * reward).sum(-1))
        return reward + self.table.following(value)

    def visits(self, start: Tensor) -> Tensor:
        """Return ``M^-T start``, the discounted visits ``[states, actions]`` from starts alike."""
        state = self.solve(self.table.inflow(start), transposed=True)
        return start + self.policy * state.unsqueeze(-1)

    def solve(self, right: Tensor, *, transposed: bool = False) -> Tensor:
        """Return ``(I - pi P)^-1 right`` of a vector ``[states]``, or that of its transpose."""
        right = right.unsqueeze(-1)
        return torch.linalg.lu_solve(self.factor, self.pivots, right, adjoint=transposed)[..., 0]


def operator(game: OnTable, policy: Tensor) -> Operator:
    """Return the operator of a policy ``[states, actions]``."""
    table = game.table if isinstance(game, TransitionGame) else game
    step = table.step(policy)
    eye = torch.eye(len(step), dtype=step.dtype, device=step.device)
    factor, pivots, _ = torch.linalg.lu_factor_ex(eye - step)
    return Operator(table, policy, factor, pivots)
