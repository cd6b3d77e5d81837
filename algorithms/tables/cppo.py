"""Constrained pessimistic policy optimisation on tables (Uehara and Sun 2022): robust iteration.

    max over pi of min over models within the data's confidence of the value, here by iterating
    Q_{k+1}(s, a) = r(s, a) + discount min { p . V_k :  |p - p_data(. | s, a)|_1 <= radius(s, a) }

in which termination is a successor of value 0 and any state is possible. The minimum is exact: half
of the radius is taken from the best successors and given to the worst (Iyengar 2005, Strehl and
Littman 2008). The radius, at most 2, is that of Weissman et al. (2003),

    conservatism sqrt(2 (log(pairs / delta) + successors log 2) / n),   delta = 1 - `confidence`

A pair without data has the lowest value there can be. One update is one iteration.

Differences from the paper: a ball per pair instead of one on the likelihood of the whole data, so
that the worst model is worst in each pair and found by iteration; rewards are taken at the data's
mean, as known.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms.empirical import PessimisticIteration, Range, log_pairs
from bench.types import Confidence, NonNegative, TabularStatistics


@dataclass(frozen=True)
class ConstrainedPessimism(PessimisticIteration):
    """Value iteration against the worst model near the empirical one."""

    conservatism: NonNegative
    confidence: Confidence

    def lowered(self, counts: TabularStatistics, value: Tensor, values: Range) -> Tensor:
        """Return the mean rewards and what follows in the worst model."""
        number = counts.visits.clamp_min(1)
        outcomes = torch.cat([counts.successor_counts, counts.termination_counts.unsqueeze(-1)], -1)
        ended = torch.nn.functional.pad(value, (0, 1))
        following = worst_mean(outcomes / number.unsqueeze(-1), ended, self.radius(counts))
        return counts.reward_sums / number + self.discount * following

    def radius(self, counts: TabularStatistics) -> Tensor:
        """Return the radius of the ball around each pair's distribution, ``[states, actions]``."""
        outcomes = len(counts.termination_counts) + 1
        cost = log_pairs(counts, self.confidence) + outcomes * math.log(2)
        return (self.conservatism * (2 * cost / counts.visits.clamp_min(1)).sqrt()).clamp_max(2)


def worst_mean(probability: Tensor, value: Tensor, radius: Tensor) -> Tensor:
    """Return the lowest mean of ``value[outcomes]`` within L1 balls, ``[states, actions]``.

    Around ``probability[states, actions, outcomes]``, of ``radius[states, actions]``.
    """
    order = value.argsort(descending=True)
    ordered = probability.gather(-1, order.expand(probability.shape))
    taken = ordered.cumsum(-1).minimum(radius.unsqueeze(-1) / 2)
    taken = taken.diff(dim=-1, prepend=torch.zeros_like(taken[..., :1]))
    # What is taken from the worst itself comes back to it.
    left = ordered - taken
    return left @ value.gather(0, order) + taken.sum(-1) * value.amin()
