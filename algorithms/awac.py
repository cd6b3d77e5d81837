"""Advantage-weighted actor critic (AWAC; Nair et al. 2020), with CRR's weights, numbered actions.

    critics: loss = sum_i E_data[ (r + discount (1 - terminated) V(s') - Q_i(s, a))^2 ]
             V(s) = E_pi[ min_i Q_target_i(s, b) ]
    actor:   loss = -E_data[ w(A) log pi(a | s) ],   A = min_i Q_i(s, a) - E_pi[ min_i Q_i(s, b) ]
             w = min(exp(inverse_temperature A), 20)      `exp`,    both papers
             w = 1 where A > 0, else 0                    `binary`, CRR (Wang et al. 2020, eq. 3)

Weights are constants to the gradient, and A is against the policy's own value, not the data's. The
actor moves first, as in CRR's algorithm, along the critics as they are.

Differences from the papers, which have continuous actions: expectations over pi are exact; AWAC's
code normalises weights over the batch, here they are clipped as in CRR. Advantages are in the
world's units of reward, which the inverse temperature has to suit.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import critics as twins
from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Categorical
from algorithms.networks import InitialValue, Network
from algorithms.objectives import (
    WeightForm,
    advantage_weight,
    at_action,
    bellman_target,
    negative_log_likelihood,
    weighted_mean,
)
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import Batch, Count, DataSummary, EnvSpec, Positive, PositiveFraction


class State(NamedTuple):
    """Actor and twin critics with what moves them."""

    actor: Network
    critics: Network
    target_critics: Network
    actor_optimizer: AdamState
    critic_optimizer: AdamState


@dataclass(frozen=True)
class AdvantageWeightedActorCritic(Algorithm):
    """Cloning of those actions of the data that are better than the policy's own."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    polyak: PositiveFraction
    form: WeightForm
    inverse_temperature: Positive
    initial_value: InitialValue

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return critics around the initial value, and a near-uniform policy."""
        actor = networks.action_network(spec, self.hidden_sizes, generator)
        critics = twins.twin_action_critics(spec, self.hidden_sizes, generator, self.initial_value)
        return State(actor, critics, critics, adam_init(actor), adam_init(critics))

    def actor_loss(self, actor: Network, critics: Network, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the weighted negative log-likelihood of the data's actions, and their weights."""
        values = twins.action_values(critics, batch.observation).amin(0)
        logits = networks.apply(actor, batch.observation)
        own = (logits.detach().softmax(-1) * values).sum(-1)
        advantage = at_action(values, batch.action) - own
        weight = advantage_weight(advantage, self.form, self.inverse_temperature)
        likelihood = negative_log_likelihood(logits, batch.action)
        return weighted_mean(weight * likelihood, batch.weight), weight

    def target(self, state: State, batch: Batch) -> Tensor:
        """Return what both critics are fitted to ``[batch]``."""
        values = twins.action_values(state.target_critics, batch.next_observation).amin(0)
        policy = networks.apply(state.actor, batch.next_observation).softmax(-1)
        return bellman_target(batch, (policy * values).sum(-1), self.discount)

    def critic_loss(self, critics: Network, target: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return both critics' mean squared errors, summed, and their values ``[2, batch]``."""
        values = twins.action_values(critics, batch.observation)
        taken = at_action(values, batch.action.expand(values.shape[:-1]))
        return weighted_mean(((taken - target) ** 2).sum(0), batch.weight), taken

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of the actor and one of the critics, both from the state as it is."""
        gradient, (actor_loss, weight) = torch.func.grad_and_value(self.actor_loss, has_aux=True)(
            state.actor, state.critics, batch
        )
        actor, actor_optimizer = adam(
            gradient, state.actor_optimizer, state.actor, self.learning_rate
        )
        target = self.target(state, batch)
        gradient, (bellman_loss, values) = torch.func.grad_and_value(
            self.critic_loss, has_aux=True
        )(state.critics, target, batch)
        critics, critic_optimizer = adam(
            gradient, state.critic_optimizer, state.critics, self.learning_rate
        )
        metrics = {
            "actor_loss": actor_loss,
            "bellman_loss": bellman_loss,
            "action_weight": weighted_mean(weight, batch.weight),
            "value": weighted_mean(values.mean(0), batch.weight),
        }
        target_critics = networks.polyak_average(state.target_critics, critics, self.polyak)
        return State(actor, critics, target_critics, actor_optimizer, critic_optimizer), metrics

    def policy(self, state: State, observation: Tensor) -> Categorical:
        """Return the actor."""
        return Categorical(networks.apply(state.actor, observation))

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor:
        """Return the lower of both critics', as the actor's advantages are of."""
        states = torch.arange(len(policy), device=policy.device)
        return twins.action_values(state.critics, states).amin(0)
