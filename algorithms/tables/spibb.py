"""Safe policy improvement with baseline bootstrapping (SPIBB; Laroche, Trichelair, Combes 2019).

    pi = argmax over the allowed policies of the value in the empirical MDP, by iterating
    Q_{k+1}(s, a) = mean over the data's (s, a, r, s') of r + discount (1 - terminated) max_pi Q_k(s', pi)

where data is thin, that is at pairs visited less than `min_count` times, an allowed policy

    equal     gives an action just the behavior policy's probability   (Pi_b-SPIBB, alg. 1)
    at_most   gives it at most that                                    (Pi_<=b-SPIBB, alg. 2)

The behavior policy is the data's frequency of actions, the uniform one in states without data. The
policy is acted on by sampling, as it is defined. One update is one iteration.

Differences from the paper: value iteration over the allowed policies instead of policy iteration,
with the same fixed point; the behavior policy is estimated (Nadjahi 2019, Simao 2020).
"""  # noqa: E501

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Mixed, split_ties
from algorithms.empirical import expected
from algorithms.networks import rows
from bench.types import Batch, Count, DataSummary, EnvSpec


class State(NamedTuple):
    """Values and the policy that is greedy within what is allowed, ``[states, actions]`` each."""

    table: Tensor
    policy: Tensor


@dataclass(frozen=True)
class SafePolicyImprovement(Algorithm):
    """The best policy that does as the behavior policy where data is thin."""

    min_count: Count
    constraint: Literal["equal", "at_most"]

    num_minibatches: ClassVar[int] = 0
    tabular_only: ClassVar[bool] = True
    dense_counts: ClassVar[bool] = False

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return values of 0 and the uniform policy."""
        zeros = torch.zeros(spec.observation_size, spec.num_actions)
        return State(zeros, torch.full_like(zeros, 1 / spec.num_actions))

    def update(
        self,
        state: State,
        summary: DataSummary,
        batch: Batch | None,
        noise: dict[str, Tensor],
        phase: int,
    ) -> tuple[State, Metrics]:
        """Take one iteration; `behavior_share` is how much of actions is the behavior policy's."""
        counts = summary.tabular
        assert counts is not None
        visits = counts.visits
        total = visits.sum(-1, keepdim=True)
        behavior = torch.where(total > 0, visits / total.clamp_min(1), 1 / visits.shape[-1])
        rare = visits < self.min_count
        value = (state.policy * state.table).sum(-1)
        table = expected(counts, value, self.discount)
        policy = self.improved(table, behavior, rare)
        kept = (policy * rare).sum(-1)
        metrics = {
            "change": (table - state.table).abs().amax(),
            "behavior_share": (kept * total.squeeze(-1)).sum() / total.sum().clamp_min(1),
        }
        return State(table, policy), metrics

    def improved(self, table: Tensor, behavior: Tensor, rare: Tensor) -> Tensor:
        """Return the allowed policy of highest value ``[states, actions]``."""
        if self.constraint == "equal":
            kept = behavior * rare
            best = split_ties(table.masked_fill(rare, -torch.inf))
            free = 1 - kept.sum(-1, keepdim=True)
            return torch.where(rare.all(-1, keepdim=True), behavior, kept + free * best)
        # Best actions first, each with all that is allowed and left.
        order = table.argsort(stable=True, dim=-1, descending=True)
        most = torch.where(rare, behavior, 1.0).gather(-1, order)
        given = most.cumsum(-1).clamp_max(1).diff(dim=-1, prepend=torch.zeros_like(most[..., :1]))
        return torch.zeros_like(given).scatter(-1, order, given)

    def policy(self, state: State, observation: Tensor) -> Mixed:
        """Return the policy at states ``[...]``."""
        return Mixed(rows(state.policy, observation))

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor:
        """Return the table of the empirical MDP, 0 at pairs without data."""
        return state.table
