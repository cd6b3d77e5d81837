"""Conservative Q-learning for continuous actions (Kumar et al. 2020, equation 4, the H variant).

On soft actor-critic (Haarnoja et al. 2018), as in the authors' code:

    critics: loss = sum_i E_data[ (y - Q_i(s, a))^2 ] + conservatism E_data[ L_i(s) - Q_i(s, a) ]
             y    = r + discount (1 - terminated) min_i Q_target_i(s', a'),   a' ~ pi(s')
             L_i  = logsumexp of Q_i(s, b) - log q(b) over `num_actions` b each, all tried in s,
                    drawn from the uniform policy, from pi(s) and from pi(s'), of density q
    actor:   loss = E_data[ w log pi(b|s) - min_i Q_i(s, b) ],   b ~ pi(s)
    w:       tuned so that the entropy becomes minus the number of dimensions

The densities q are constants to the gradient, the target has no entropy ("deterministic backup"),
the conservatism is a weight ("without Lagrange").

Differences from the paper: the actor is not cloned at the beginning; rewards are scaled by the
world (`objectives.reward_scale`).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from algorithms import critics as twins
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import TanhNormal
from algorithms.networks import Network
from algorithms.objectives import bellman_target, weighted_mean
from algorithms.pieces.soft_actor import SoftActor
from algorithms.pieces.soft_actor_critic import SoftActorCritic, new_learner, updated
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
class ConservativeQLearning(Algorithm):
    """Soft actor-critic with a penalty on values above the data's actions."""

    learning_rate: Positive
    actor_learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    conservatism: NonNegative
    num_actions: Count
    initial_log_entropy_weight: float
    polyak: PositiveFraction

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def noise_shapes(self, spec: EnvSpec, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the noise in the actions that are tried."""
        one = (batch_size, spec.action_size)
        several = dict.fromkeys(("uniform", "here", "next"), (self.num_actions, *one))
        return {"actor": one, "target": one, **several}

    def init(
        self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator
    ) -> SoftActorCritic:
        """Return random networks, the slow critics equal to the others."""
        weight = self.initial_log_entropy_weight
        return new_learner(spec, self.hidden_sizes, weight, generator)

    def target(self, state: SoftActorCritic, batch: Batch, noise: Tensor) -> Tensor:
        """Return what both critics are fitted to ``[batch]``, for uniform noise."""
        following = state.actor.policy(batch.next_observation).sample(noise)
        value = twins.values(state.target_critics, batch.next_observation, following).amin(0)
        return bellman_target(batch, value, self.discount)

    def candidates(
        self, actor: SoftActor, batch: Batch, noise: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the actions ``[3 n, batch, action_size]`` and their log-densities."""
        uniform = 2 * noise["uniform"] - 1
        density = torch.full_like(uniform[..., 0], -math.log(2) * uniform.shape[-1])
        here, next_ = (
            actor.policy(observation).sample_with_log_prob(noise[name])
            for name, observation in (
                ("here", batch.observation), ("next", batch.next_observation)
            )
        )  # fmt: skip
        actions, densities = zip((uniform, density), here, next_, strict=True)
        return torch.cat(actions), torch.cat(densities)

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
        target = self.target(state, batch, noise["target"])
        actions, log_density = self.candidates(state.actor, batch, noise)

        def conservative(critics: Network, values: Tensor) -> tuple[Tensor, Metrics]:
            elsewhere = twins.values_of_several(critics, batch.observation, actions) - log_density
            penalty = weighted_mean((elsewhere.logsumexp(1) - values).sum(0), batch.weight)
            return self.conservatism * penalty, {"conservative_penalty": penalty}

        rates = self.learning_rate, self.actor_learning_rate
        return updated(state, target, batch, noise["actor"], rates, self.polyak, conservative)

    def policy(self, state: SoftActorCritic, observation: Tensor) -> TanhNormal:
        """Return the actor."""
        return state.actor.policy(observation)
