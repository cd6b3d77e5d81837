"""SAC-N and EDAC (An et al. 2021): soft actor-critic that believes the lowest of many critics.

    critics: loss = sum_i E_data[ (y - Q_i(s, a))^2 ] + penalty,   i = 1 .. N = `num_critics`
             y    = r + discount (1 - terminated) (min_i Q_target_i(s', b) - w log pi(b|s'))
    actor:   loss = E_data[ w log pi(c|s) - min_i Q_i(s, c) ],   b ~ pi(s'), c ~ pi(s)
    w:       tuned so that the entropy becomes minus the number of dimensions
    penalty: diversity E_data[ sum_{i != j} g_i . g_j ] / (N - 1)                (equation 5)
             g_i = the direction of d Q_i(s, a) / d a, of length 1

The minimum over N critics of normal errors lies by nearly sqrt(2 log N) standard deviations below
their mean: critics differ where data says little, so N is how pessimistic this is. With aligned
directions all critics rise together off the data, and their minimum with them; EDAC keeps them
apart and needs fewer. Without `diversity` it is SAC-N. As in the authors' code the sum is divided
by N - 1, which is N times the paper's mean, since critics' errors are summed as well.

Differences from the paper: rewards are scaled by the world (`objectives.reward_scale`).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from algorithms import critics as ensembles
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import TanhNormal
from algorithms.networks import Network
from algorithms.objectives import weighted_mean
from algorithms.pieces.soft_actor_critic import (
    SoftActorCritic,
    new_learner,
    soft_target,
    updated,
)
from bench.types import (
    ActionKind,
    Batch,
    Count,
    DataSummary,
    EnvSpec,
    NonNegative,
    Positive,
    PositiveFraction,
)


@dataclass(frozen=True)
class EnsembleSAC(Algorithm):
    """Soft actor-critic against the lowest of `num_critics`, which may be kept apart."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    num_critics: Count
    initial_log_entropy_weight: float
    polyak: PositiveFraction
    diversity: NonNegative | None

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def __post_init__(self) -> None:
        """Refuse a single critic that is to be kept apart.

        Raises:
            ValueError: With what would be right.
        """
        if self.num_critics == 1 and self.diversity is not None:
            raise ValueError("diversity needs num_critics of 2 or more to keep apart, or be null")

    def noise_shapes(self, spec: EnvSpec, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the noise in the policy's actions."""
        return dict.fromkeys(("actor", "target"), (batch_size, spec.action_size))

    def init(
        self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator
    ) -> SoftActorCritic:
        """Return random networks, the slow critics equal to the others."""
        weight, number = self.initial_log_entropy_weight, self.num_critics
        return new_learner(spec, self.hidden_sizes, weight, generator, number)

    def penalty(self, critics: Network, batch: Batch) -> Tensor:
        """Return how aligned the critics' slopes are, times `diversity`, ``[]``."""
        if self.diversity is None:
            return torch.zeros_like(batch.reward[0])
        # Each critic has actions of its own, so that one derivative has all of their slopes.
        observation, action = (
            x.expand(self.num_critics, *x.shape) for x in (batch.observation, batch.action)
        )

        def total(action: Tensor) -> Tensor:
            return ensembles.values(critics, observation, action).sum()

        slopes = torch.func.grad(total)(action)
        size = (slopes**2).sum(-1, keepdim=True).clamp_min(1e-20).sqrt()
        unit = slopes / size
        # sum over i != j of g_i . g_j is what is left of |sum_i g_i|^2.
        aligned = (unit.sum(0) ** 2).sum(-1) - (unit**2).sum((0, -1))
        return self.diversity * weighted_mean(aligned, batch.weight) / (self.num_critics - 1)

    def update(
        self,
        state: SoftActorCritic,
        summary: DataSummary,
        batch: Batch,
        noise: dict[str, Tensor],
        phase: int,
    ) -> tuple[SoftActorCritic, Metrics]:
        """Take one Adam step each, all of them from the state as it is."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        target = soft_target(state, batch, noise["target"], self.discount)

        def apart(critics: Network, values: Tensor) -> tuple[Tensor, Metrics]:
            penalty = self.penalty(critics, batch)
            spread = weighted_mean(values.std(0, correction=0), batch.weight)
            return penalty, {"penalty": penalty, "disagreement": spread / state.reward_scale}

        rates = self.learning_rate, self.learning_rate
        return updated(state, target, batch, noise["actor"], rates, self.polyak, apart)

    def policy(self, state: SoftActorCritic, observation: Tensor) -> TanhNormal:
        """Return the actor."""
        return state.actor.policy(observation)
