"""Adversarially trained actor critic (Cheng et al. 2022) for numbered actions.

A Stackelberg game as StackelbergLearner's, with two time scales in place of the follower's answer:
the actor takes small steps along its individual gradient, the critics large ones.

    critics: loss = sum_i ( E_data[ f_i(s, pi) - f_i(s, a) ] + beta B_i ) / max(1, beta)
             B_i  = (1 - residual_weight) E_data[ (f_i(s, a) - y)^2 ]
                    + residual_weight E_data[ (f_i(s, a) - T f_i(s', pi))^2 ]
             y    = T min_i f_target_i(s', pi),   T v = clip(r + discount (1 - terminated) v)
    actor:   loss = E_data[ sum_b pi(b|s) (w log pi(b|s) - f_1(s, b)) ]
    w:       tuned so that the entropy becomes `target_entropy` of the uniform policy's

f(s, pi) is the mean over the actor's actions. Clipping is to the range of the world's returns. The
second residual has a gradient through its own target, and the first critic alone is the actor's.
After a critic's step every weight matrix is scaled down to Frobenius norm `largest_norm` if above.
For the first `warm_updates` updates the actor is cloned at the critics' rate and the critics are
fitted to it by the first residual alone.

Differences from the paper, which has continuous actions: expectations over actions are exact, the
wanted entropy is a setting, and the optimisers go on where the warm start ends.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import critics as twins
from algorithms import entropy, networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Categorical
from algorithms.networks import InitialValue, Network
from algorithms.objectives import (
    at_action,
    bellman_target,
    negative_log_likelihood,
    weighted_mean,
)
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import (
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
    """Actor, entropy's weight, twin critics, what moves them, and the range of returns."""

    actor: Network
    log_entropy_weight: Tensor
    critics: Network
    target_critics: Network
    actor_optimizer: AdamState
    entropy_optimizer: AdamState
    critic_optimizer: AdamState
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
    target_entropy: Fraction
    polyak: PositiveFraction
    initial_value: InitialValue

    def phase(self, step: int) -> int:
        """Return whether the game has begun."""
        return WARM if step < self.warm_updates else ADVERSARIAL

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return critics around the initial value and a near-uniform policy."""
        actor = networks.action_network(spec, self.hidden_sizes, generator)
        critics = twins.twin_action_critics(spec, self.hidden_sizes, generator, self.initial_value)
        weight = torch.full((), float(self.initial_log_entropy_weight))
        optimizers = adam_init(actor), adam_init(weight), adam_init(critics)
        value_range = torch.tensor([spec.v_min, spec.v_max])
        return State(actor, weight, critics, critics, *optimizers, value_range)

    def backup(self, state: State, batch: Batch, value: Tensor) -> Tensor:
        """Return what a state after is worth before it, within the range of returns."""
        worth = bellman_target(batch, value, self.discount)
        low, high = state.value_range
        return worth.clamp(low, high)

    def critic_loss(
        self, critics: Network, state: State, batch: Batch, pessimistic: bool
    ) -> tuple[Tensor, Metrics]:
        """Return the Bellman error and, if `pessimistic`, the relative value of the actor.

        Both summed over critics; the actor is that of the state.
        """
        values = twins.action_values(critics, batch.observation)
        value = at_action(values, batch.action.expand(values.shape[:-1]))
        following = networks.apply(state.actor, batch.next_observation).softmax(-1)
        known = twins.action_values(state.target_critics, batch.next_observation).amin(0)
        error = (value - self.backup(state, batch, (following * known).sum(-1))) ** 2
        if not pessimistic:
            bellman = weighted_mean(error.sum(0), batch.weight)
            return bellman, {"bellman_loss": bellman}
        own = twins.action_values(critics, batch.next_observation)
        residual = (value - self.backup(state, batch, (following * own).sum(-1))) ** 2
        bellman = torch.lerp(error, residual, self.residual_weight)
        here = networks.apply(state.actor, batch.observation).softmax(-1)
        relative = (here * values).sum(-1) - value
        loss = (relative + self.beta * bellman) / torch.as_tensor(self.beta).clamp_min(1)
        metrics = {
            "bellman_loss": weighted_mean(bellman.sum(0), batch.weight),
            "relative_value": weighted_mean(relative.mean(0), batch.weight),
        }
        return weighted_mean(loss.sum(0), batch.weight), metrics

    def actor_loss(self, actor: Network, state: State, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the entropy's worth less the first critic's value, and the mean entropy."""
        log_prob = networks.apply(actor, batch.observation).log_softmax(-1)
        values = networks.apply(twins.first(state.critics), batch.observation)
        worth = log_prob.exp() * (state.log_entropy_weight.exp() * log_prob - values)
        spread = -(log_prob.exp() * log_prob).sum(-1)
        return weighted_mean(worth.sum(-1), batch.weight), weighted_mean(spread, batch.weight)

    def cloning_loss(self, actor: Network, batch: Batch) -> Tensor:
        """Return the negative log-likelihood of the data's actions."""
        logits = networks.apply(actor, batch.observation)
        return weighted_mean(negative_log_likelihood(logits, batch.action), batch.weight)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of the critics, then one of the actor."""
        gradient, metrics = torch.func.grad(self.critic_loss, has_aux=True)(
            state.critics, state, batch, phase == ADVERSARIAL
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
        values = networks.apply(twins.first(critics), batch.observation)
        metrics["value"] = weighted_mean(at_action(values, batch.action), batch.weight)
        if phase == WARM:
            return self._cloned(state, batch), metrics
        gradient, spread = torch.func.grad(self.actor_loss, has_aux=True)(state.actor, state, batch)
        actor, actor_optimizer = adam(
            gradient, state.actor_optimizer, state.actor, self.actor_learning_rate
        )
        wanted = self.target_entropy * torch.tensor(float(values.shape[-1])).log()
        weight, entropy_optimizer = entropy.tuned(
            state.log_entropy_weight, spread, wanted, state.entropy_optimizer,
            self.actor_learning_rate,
        )  # fmt: skip
        state = state._replace(
            actor=actor,
            actor_optimizer=actor_optimizer,
            log_entropy_weight=weight,
            entropy_optimizer=entropy_optimizer,
        )
        return state, metrics | {"entropy": spread}

    def _cloned(self, state: State, batch: Batch) -> State:
        gradient = torch.func.grad(self.cloning_loss)(state.actor, batch)
        actor, optimizer = adam(gradient, state.actor_optimizer, state.actor, self.learning_rate)
        return state._replace(actor=actor, actor_optimizer=optimizer)

    def policy(self, state: State, observation: Tensor) -> Categorical:
        """Return the actor."""
        return Categorical(networks.apply(state.actor, observation))

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor:
        """Return the first critic's, which alone is the actor's."""
        states = torch.arange(len(policy), device=policy.device)
        return networks.apply(twins.first(state.critics), states)
