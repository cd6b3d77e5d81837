"""Value iteration with lower confidence bounds (Rashidinejad 2021, alg. 3; Li 2024, alg. 1).

    Q_{k+1}(s, a) = mean over the data's (s, a, r, s') of r + discount (1 - terminated) max Q_k(s')
                    - conservatism b(s, a)

clipped to what values can be; a pair without data has the lowest. With L = log(pairs / delta) and
R the width of the range of values, b is a radius within which a mean of n targets lies,

    hoeffding   R sqrt(L / 2n)
    bernstein   sqrt(2 var L' / n) + 7 R L' / (3 (n - 1)),  L' = L + log 2   (Maurer, Pontil 2009)

where delta = 1 - `confidence`. With conservatism 1 Hoeffding's values are at most the optimal ones
with that probability, given what was visited: Q_{k+1} is below the mean of targets with V* minus b,
hence below Q*, as soon as V_k is below V*. One update is one iteration.

Differences from the papers: the data is not split between iterations (Rashidinejad does, to bound
the policy's own value; here that is seen in simulation alone); constants are those of the
inequalities and not of the proofs, so `conservatism` is what scales them.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Greedy
from algorithms.empirical import Range, expected, log_pairs, value_range, variance
from algorithms.networks import rows
from bench.types import (
    Batch,
    Confidence,
    DataSummary,
    EnvSpec,
    NonNegative,
    TabularStatistics,
)


class State(NamedTuple):
    """The table ``[states, actions]``, and the range of values."""

    table: Tensor
    range: Range


@dataclass(frozen=True)
class LowerConfidenceValueIteration(Algorithm):
    """Value iteration whose every mean is lowered by how uncertain it is."""

    bonus: Literal["hoeffding", "bernstein"]
    conservatism: NonNegative
    confidence: Confidence

    num_minibatches: ClassVar[int] = 0
    tabular_only: ClassVar[bool] = True
    dense_counts: ClassVar[bool] = False

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return the lowest values."""
        values = value_range(spec)
        return State(values.low.expand(spec.observation_size, spec.num_actions).clone(), values)

    def update(
        self,
        state: State,
        summary: DataSummary,
        batch: Batch | None,
        noise: dict[str, Tensor],
        phase: int,
    ) -> tuple[State, Metrics]:
        """Take one iteration; `lower_bound` is of the policy's value from initial states."""
        counts, (low, high) = summary.tabular, state.range
        assert counts is not None
        value = state.table.amax(-1)
        lowered = expected(counts, value, self.discount) - self.conservatism * self.radius(
            counts, value, state.range
        )
        table = torch.where(counts.visits > 0, lowered, low).clamp(low, high)
        change = (table - state.table).abs().amax()
        bound = table.amax(-1).gather(0, summary.initial_observations).mean()
        return State(table, state.range), {"change": change, "lower_bound": bound}

    def radius(self, counts: TabularStatistics, value: Tensor, values: Range) -> Tensor:
        """Return b ``[states, actions]`` for targets with a value ``[states]``."""
        number, cost = counts.visits, log_pairs(counts, self.confidence)
        if self.bonus == "hoeffding":
            return values.width * (cost / (2 * number.clamp_min(1))).sqrt()
        twice = cost + torch.log(torch.tensor(2.0))
        spread = (2 * variance(counts, value, self.discount) * twice / number.clamp_min(1)).sqrt()
        radius = spread + 7 * values.width * twice / (3 * (number - 1).clamp_min(1))
        # A single visit has no variance, and says little.
        return torch.where(number > 1, radius, values.width)

    def policy(self, state: State, observation: Tensor) -> Greedy:
        """Return the greedy policy at states ``[...]``."""
        return Greedy(rows(state.table, observation))
