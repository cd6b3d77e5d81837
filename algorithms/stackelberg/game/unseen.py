"""What pairs without data are worth on a table: an assumption, since no data can say it.

    v_min             as little as the world allows anywhere
    lowest_seen       the lowest value that the data's own behavior has at any pair with data
    lowest_in_state   in a state with data the lowest that it has there, elsewhere as above

The behavior's values hang on what states without data are worth, x: q = A + B x with B at most the
discount. In place of the lowest of them x may be another quantile, by shares of the data.
"""

from typing import Literal

import torch
from torch import Tensor

from algorithms.stackelberg.game.tables import TableGame

OffSupport = Literal["v_min", "lowest_seen", "lowest_in_state"]


def worth(
    table: TableGame, off_support: OffSupport, quantile: float | Tensor, v_min: Tensor
) -> Tensor:
    """Return what pairs without data are worth, ``[states, actions]``, never below `v_min`."""
    if off_support == "v_min":
        return v_min.expand(table.share.shape)
    base, slope = behavior_values(table)
    x = torch.maximum(unvisited(table, base, slope, quantile), v_min)
    everywhere = x.expand(table.share.shape)
    if off_support == "lowest_seen":
        return everywhere
    known = torch.where(table.covered, base + slope * x, torch.inf)
    lowest = torch.maximum(known.amin(-1, keepdim=True), v_min)
    return torch.where(table.covered.any(-1, keepdim=True), lowest, everywhere)


def behavior_values(table: TableGame) -> tuple[Tensor, Tensor]:
    """Return A and B ``[states, actions]``: the values of the data's behavior are ``A + B x``."""
    visits = table.share.sum(-1, keepdim=True)
    behavior = table.share / torch.where(visits > 0, visits, 1.0)
    step = table.step(behavior)
    operator = torch.eye(len(step), dtype=step.dtype, device=step.device) - step
    reward = (behavior * table.reward).sum(-1)
    unvisited = (visits.squeeze(-1) == 0).to(step.dtype)
    right = torch.stack([reward, unvisited], dim=-1)
    value = torch.linalg.solve_ex(operator, right)[0]
    base = table.reward + table.following(value[:, 0])
    return base, table.following(value[:, 1])


def unvisited(table: TableGame, base: Tensor, slope: Tensor, quantile: float | Tensor) -> Tensor:
    """Return x, ``[]``: that quantile of the behavior's values where unvisited states have it.

    ``A + B x <= x`` is ``A / (1 - B) <= x``, so it is the quantile of the left side.
    """
    covered, share = table.covered.flatten(), table.share.flatten()
    solo = torch.where(covered, (base / (1 - slope)).flatten(), torch.inf)
    ordered, places = solo.sort()
    below = share.gather(0, places).cumsum(0)
    # Rounding must not lift the highest quantile past the last pair with data.
    index = (below <= quantile * below[-1] * (1 - 1e-12)).sum().clamp_max(covered.sum() - 1)
    return ordered.gather(0, index.clamp_min(0).reshape(1)).squeeze(0)
