"""Implicit Q-learning (Kostrikov et al. 2022) for numbered actions.

    value:   loss = E_data[ |expectile - 1(u < 0)| u^2 ],  u = min_i Q_target_i(s, a) - V(s)
                                                                                      (equation 5)
    critics: loss = sum_i E_data[ (r + discount (1 - terminated) V(s') - Q_i(s, a))^2 ]
                                                                                      (equation 6)
    actor:   loss = -E_data[ min(exp(inverse_temperature u), 100) log pi(a | s) ]     (equation 7)

As in the authors' code critics and actor see the value function after its step.

Differences from the paper, which has continuous actions: pi is a softmax over numbered ones, and a
critic gives a value for each of them. Advantages are in the world's units of reward, which the
inverse temperature has to suit.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from algorithms import critics as twins
from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Categorical
from algorithms.networks import InitialValue, Network
from algorithms.objectives import (
    at_action,
    bellman_target,
    expectile_loss,
    negative_log_likelihood,
    weighted_mean,
)
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import Batch, Count, DataSummary, EnvSpec, Positive, PositiveFraction

# The largest weight of an action in the actor's loss.
LARGEST_WEIGHT = 100.0


class State(NamedTuple):
    """Actor, value function and twin critics with what moves them."""

    actor: Network
    value: Network
    critics: Network
    target_critics: Network
    actor_optimizer: AdamState
    value_optimizer: AdamState
    critic_optimizer: AdamState


@dataclass(frozen=True)
class ImplicitQLearning(Algorithm):
    """Values of the data's better actions, without asking for any other action's."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    polyak: PositiveFraction
    expectile: Annotated[float, Gt(0), Lt(1)]
    inverse_temperature: Positive
    initial_value: InitialValue

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return values around the initial one, and a near-uniform policy."""
        start = networks.initial_value(spec, self.initial_value)
        actor = networks.action_network(spec, self.hidden_sizes, generator)
        value = networks.value_network(spec, self.hidden_sizes, generator, start)
        critics = twins.twin_action_critics(spec, self.hidden_sizes, generator, self.initial_value)
        optimizers = adam_init(actor), adam_init(value), adam_init(critics)
        return State(actor, value, critics, critics, *optimizers)

    def value_loss(self, value: Network, target: Tensor, batch: Batch) -> Tensor:
        """Return the expectile loss to ``target[batch]``."""
        difference = target - networks.apply(value, batch.observation).squeeze(-1)
        return weighted_mean(expectile_loss(difference, self.expectile), batch.weight)

    def critic_loss(self, critics: Network, target: Tensor, batch: Batch) -> Tensor:
        """Return both critics' mean squared errors, summed."""
        values = taken(critics, batch)
        return weighted_mean(((values - target) ** 2).sum(0), batch.weight)

    def actor_loss(self, actor: Network, advantage: Tensor, batch: Batch) -> Tensor:
        """Return the weighted negative log-likelihood of the data's actions."""
        weight = (self.inverse_temperature * advantage).exp().clamp_max(LARGEST_WEIGHT)
        logits = networks.apply(actor, batch.observation)
        return weighted_mean(weight * negative_log_likelihood(logits, batch.action), batch.weight)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of the value function, the actor and the critics, in this order."""
        rate = self.learning_rate
        known = taken(state.target_critics, batch).amin(0)
        gradient, value_loss = torch.func.grad_and_value(self.value_loss)(state.value, known, batch)
        value, value_optimizer = adam(gradient, state.value_optimizer, state.value, rate)

        now = networks.apply(value, batch.observation).squeeze(-1)
        gradient, actor_loss = torch.func.grad_and_value(self.actor_loss)(
            state.actor, known - now, batch
        )
        actor, actor_optimizer = adam(gradient, state.actor_optimizer, state.actor, rate)

        following = networks.apply(value, batch.next_observation).squeeze(-1)
        target = bellman_target(batch, following, self.discount)
        gradient, bellman_loss = torch.func.grad_and_value(self.critic_loss)(
            state.critics, target, batch
        )
        critics, critic_optimizer = adam(gradient, state.critic_optimizer, state.critics, rate)
        target_critics = networks.polyak_average(state.target_critics, critics, self.polyak)
        metrics = {
            "value_loss": value_loss,
            "bellman_loss": bellman_loss,
            "actor_loss": actor_loss,
            "value": weighted_mean(now, batch.weight),
        }
        optimizers = actor_optimizer, value_optimizer, critic_optimizer
        return State(actor, value, critics, target_critics, *optimizers), metrics

    def policy(self, state: State, observation: Tensor) -> Categorical:
        """Return the actor."""
        return Categorical(networks.apply(state.actor, observation))

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor:
        """Return the lower of both online critics'; the actor is told of their slow copies."""
        states = torch.arange(len(policy), device=policy.device)
        return twins.action_values(state.critics, states).amin(0)


def taken(critics: Network, batch: Batch) -> Tensor:
    """Return the values of the data's actions ``[2, batch]``."""
    values = twins.action_values(critics, batch.observation)
    return at_action(values, batch.action.expand(values.shape[:-1]))
