"""The table's answer to the mean squared Bellman residual, which has the double-sampling bias.

    E_data[ delta^2 ] = E_mu[ (mean residual)^2 + Var(r + discount V(s')) ],     V(s) = q(s, pi)

The second term is no error of q: it rewards values that vary little between successors, as the
kernel loss over independent pairs does not. Both are quadratic in q. With D the data's shares, P
the discounted transitions, S = I - pi P and, in states,

    B = pi D^-1 pi^T (diagonal),     N = sum over cells of mu discount^2 Cov(V' of the successors)

the curvature ``H q = x`` splits into q = D^-1 (x + pi^T y) + P V and

    [ S   -B  ] [V]   [ pi D^-1 x ]
    [ N   S^T ] [y] = [ P^T x     ]

Without noise N is 0 and q the answer to the density-normalised delta kernel.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms.stackelberg.game.game import Aims, Points
from algorithms.stackelberg.game.tables import TransitionGame


class TransitionWeights(NamedTuple):
    """The quadratic form of the mean squared residual: every transition with itself alone."""

    share: Tensor

    def weigh(self, x: Tensor) -> Tensor:
        """Return ``W x``, ``[transitions]``."""
        return self.share * x


def diagonal_loss(game: TransitionGame, own: Tensor, policy: Tensor, q: Tensor) -> Tensor:
    """Return ``E_data[ K(x, x) delta^2 ]`` of single transitions, given ``K(x, x)`` of the cells.

    Over their number this is what pairs of a transition with itself add to a kernel loss. From
    below where equal transitions differ in their rewards, whose mean `game` holds.
    """
    error = game.residual(Points(policy, policy, policy), Points(q, q, q))
    return (game.of_cells(own) * game.weight * error**2).sum()


def solve_squares(game: TransitionGame, policy: Tensor, x: Tensor) -> Tensor:
    """Return q ``[states, actions]`` whose squared residual has half the gradient x.

    Of the rewardless game; both are 0 where there is no data.
    """
    covered, table = game.covered, game.table
    x = torch.where(covered, x, 0.0)
    policy = policy * covered
    inverse = torch.where(covered, 1 / torch.where(covered, table.share, 1.0), 0.0)
    flat = table.dense().flatten(0, 1)
    share = table.share.flatten().unsqueeze(-1)
    step = table.step(policy)
    eye = torch.eye(len(step), dtype=step.dtype, device=step.device)
    noise = game.discount * torch.diag((share * flat).sum(0)) - flat.mT @ (share * flat)
    spread = torch.diag((policy**2 * inverse).sum(-1))
    upper = torch.cat([eye - step, -spread], dim=-1)
    lower = torch.cat([noise, (eye - step).mT], dim=-1)
    right = torch.cat([(policy * inverse * x).sum(-1), table.inflow(x)])
    found = torch.linalg.solve_ex(torch.cat([upper, lower]), right)[0]
    value, back = found[: len(step)], found[len(step) :]
    return inverse * (x + policy * back.unsqueeze(-1)) + table.following(value) * covered


def lowest(
    game: TransitionGame, aims: Aims, policy: Tensor, v_min: Tensor, multiplier: Tensor
) -> Tensor:
    """Return the q ``[states, actions]`` that answers the policy, `v_min` without data."""
    points = Points(policy, policy, policy)
    start = torch.where(game.covered, 0.0, v_min)

    def objective(q: Tensor) -> Tensor:
        values = Points(q, q, q)
        error = game.residual(points, values)
        loss = (game.weight * error**2).sum()
        return aims.follower(game, points, values) + multiplier * loss

    slope = torch.func.grad(objective)(start)
    return start - solve_squares(game, policy, slope) / (2 * multiplier)
