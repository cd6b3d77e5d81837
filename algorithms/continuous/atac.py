"""Adversarially trained actor critic (Cheng et al. 2022) for continuous actions.

A Stackelberg game as StackelbergLearner's, with two time scales in place of the follower's answer:
the actor takes small steps along its individual gradient, the critics large ones.

    critics: loss = sum_i ( E_data[ f_i(s, b) - f_i(s, a) ] + beta B_i ) / max(1, beta),  b ~ pi(s)
             B_i  = (1 - residual_weight) E_data[ (f_i(s, a) - y)^2 ]
                    + residual_weight E_data[ (f_i(s, a) - T f_i(s', b'))^2 ],           b' ~ pi(s')
             y    = T min_i f_target_i(s', b'),   T v = clip(r + discount (1 - terminated) v)
    actor:   loss = E_data[ w log pi(b|s) - f_1(s, b) ]
    w:       tuned so that the entropy becomes minus the number of dimensions

Clipping is to the range of the world's returns. The second residual has a gradient through its own
target, and the first critic alone is the actor's. After a critic's step every weight matrix is
scaled down to Frobenius norm `largest_norm` if above. For the first `warm_updates` updates the
actor is cloned at the critics' rate and the critics are fitted to it by the first residual alone.

Differences from the paper: rewards are scaled by the world (`objectives.reward_scale`); the
optimisers go on where the warm start ends.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import critics as twins
from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import TanhNormal
from algorithms.networks import Network
from algorithms.objectives import bellman_target, reward_scale, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from algorithms.pieces import soft_actor
from algorithms.pieces.soft_actor import SoftActor
from bench.types import (
    ActionKind,
    Batch,
    Count,
    DataSummary,
    EnvSpec,
    Fraction,
    Natural,
    NonNegative,
    Positive,
    PositiveFraction,
)

WARM, ADVERSARIAL = 0, 1


class State(NamedTuple):
    """Actor, twin critics, what moves them, scale of rewards, range of returns."""

    actor: SoftActor
    critics: Network
    target_critics: Network
    critic_optimizer: AdamState
    reward_scale: Tensor
    value_range: Tensor


@dataclass(frozen=True)
class ATAC(Algorithm):
    """Critics that find fault with the actor as far as the data lets them, and a slow actor."""

    learning_rate: Positive
    actor_learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    beta: NonNegative
    residual_weight: Fraction
    largest_norm: Positive
    warm_updates: Natural
    initial_log_entropy_weight: float
    polyak: PositiveFraction

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def noise_shapes(self, spec: EnvSpec, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the noise in the actor's actions."""
        return dict.fromkeys(("here", "next"), (batch_size, spec.action_size))

    def phase(self, step: int) -> int:
        """Return whether the game has begun."""
        return WARM if step < self.warm_updates else ADVERSARIAL

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return random networks, the slow critics equal to the others."""
        weight = self.initial_log_entropy_weight
        actor = soft_actor.new_actor(spec, self.hidden_sizes, weight, generator)
        critics = twins.twin_critics(spec, self.hidden_sizes, generator)
        scale = reward_scale(spec)
        value_range = scale * torch.tensor([spec.v_min, spec.v_max])
        return State(actor, critics, critics, adam_init(critics), scale, value_range)

    def backup(self, state: State, batch: Batch, value: Tensor) -> Tensor:
        """Return what a state after is worth before it, within the range of returns."""
        worth = bellman_target(batch, value, self.discount)
        low, high = state.value_range
        return worth.clamp(low, high)

    def critic_loss(
        self,
        critics: Network,
        state: State,
        batch: Batch,
        noise: dict[str, Tensor],
        pessimistic: bool,
    ) -> tuple[Tensor, Metrics]:
        """Return the Bellman error and, if `pessimistic`, the relative value of the actor.

        Both summed over critics; the actor is that of the state.
        """
        here, following = (
            state.actor.policy(observation).sample(noise[name])
            for name, observation in (
                ("here", batch.observation), ("next", batch.next_observation)
            )
        )  # fmt: skip
        values = twins.values(critics, batch.observation, batch.action)
        known = twins.values(state.target_critics, batch.next_observation, following).amin(0)
        error = (values - self.backup(state, batch, known)) ** 2
        if not pessimistic:
            bellman = weighted_mean(error.sum(0), batch.weight)
            return bellman, {"bellman_loss": bellman}
        own = twins.values(critics, batch.next_observation, following)
        residual = (values - self.backup(state, batch, own)) ** 2
        bellman = torch.lerp(error, residual, self.residual_weight)
        relative = twins.values(critics, batch.observation, here) - values
        loss = (relative + self.beta * bellman) / torch.as_tensor(self.beta).clamp_min(1)
        metrics = {
            "bellman_loss": weighted_mean(bellman.sum(0), batch.weight),
            "relative_value": weighted_mean(relative.mean(0), batch.weight) / state.reward_scale,
        }
        return weighted_mean(loss.sum(0), batch.weight), metrics

    def cloning_loss(self, actor: Network, batch: Batch) -> Tensor:
        """Return the negative log-likelihood of the data's actions."""
        policy = soft_actor.policy(actor, batch.observation)
        return -weighted_mean(policy.log_prob(batch.action), batch.weight)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of the critics, then one of the actor."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        gradient, metrics = torch.func.grad(self.critic_loss, has_aux=True)(
            state.critics, state, batch, noise, phase == ADVERSARIAL
        )
        critics, critic_optimizer = adam(
            gradient, state.critic_optimizer, state.critics, self.learning_rate
        )
        critics = twins.projected(critics, self.largest_norm)
        state = state._replace(
            critics=critics,
            target_critics=networks.polyak_average(state.target_critics, critics, self.polyak),
            critic_optimizer=critic_optimizer,
        )

        def believed(action: Tensor) -> Tensor:
            return twins.values(twins.first(critics), batch.observation, action)

        value = weighted_mean(believed(batch.action), batch.weight)
        metrics["value"] = value / state.reward_scale
        if phase == WARM:
            return state._replace(actor=self._cloned(state.actor, batch)), metrics
        actor, log_prob = soft_actor.improved(
            state.actor, believed, batch, noise["here"], self.actor_learning_rate
        )
        return state._replace(actor=actor), metrics | {"entropy": -log_prob}

    def _cloned(self, actor: SoftActor, batch: Batch) -> SoftActor:
        gradient = torch.func.grad(self.cloning_loss)(actor.network, batch)
        network, optimizer = adam(gradient, actor.optimizer, actor.network, self.learning_rate)
        return actor._replace(network=network, optimizer=optimizer)

    def policy(self, state: State, observation: Tensor) -> TanhNormal:
        """Return the actor."""
        return state.actor.policy(observation)
