"""Fitted Q iteration with an exact regressor on tables (Ernst 2005): value iteration on counts.

    Q_{k+1}(s, a) = mean over the data's (s, a, r, s') of r + discount (1 - terminated) max Q_k(s')

which is the least-squares fit of a table, computed from the counts. One update is one iteration.

Differences from the paper: a (state, action) without data has no regression target and keeps its
initial value; the paper's averagers would extrapolate there.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Greedy
from algorithms.networks import InitialValue, initial_value, rows
from bench.types import Batch, DataSummary, EnvSpec


class State(NamedTuple):
    """The table ``[states, actions]``."""

    table: Tensor


@dataclass(frozen=True)
class ExactFittedQIteration(Algorithm):
    """Fitted Q iteration whose every regression is solved exactly."""

    initial_value: InitialValue

    num_minibatches: ClassVar[int] = 0
    tabular_only: ClassVar[bool] = True
    dense_counts: ClassVar[bool] = False

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return the constant table."""
        value = initial_value(spec, self.initial_value)
        return State(torch.full((spec.observation_size, spec.num_actions), float(value)))

    def update(
        self,
        state: State,
        summary: DataSummary,
        batch: Batch | None,
        noise: dict[str, Tensor],
        phase: int,
    ) -> tuple[State, Metrics]:
        """Solve one regression; the metric is the largest change, 0 at convergence."""
        counts = summary.tabular
        assert counts is not None
        visits = counts.visits
        following = state.table.amax(-1).gather(0, counts.successor)
        bootstrap = counts.by_pair(counts.number * following)
        target = (counts.reward_sums + self.discount * bootstrap) / visits.clamp_min(1)
        table = torch.where(visits > 0, target, state.table)
        return State(table), {"change": (table - state.table).abs().amax()}

    def policy(self, state: State, observation: Tensor) -> Greedy:
        """Return the greedy policy at states ``[...]``."""
        return Greedy(rows(state.table, observation))

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor:
        """Return the table."""
        return state.table
