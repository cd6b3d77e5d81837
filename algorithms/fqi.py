"""Fitted Q iteration with a neural regressor (Ernst 2005; Riedmiller 2005, neural fitted Q).

    Q_{k+1} = argmin_Q E_data[ (r + discount (1 - terminated) max_a' Q_k(s', a') - Q(s, a))^2 ]

One iteration is `target_interval` Adam updates against the frozen Q_k, the target critic.

Differences from the papers: minibatch Adam, warm-started from Q_k, instead of a regression from
scratch to convergence (`fqi_exact` does that); no clamping of targets. What the regressor says
where there is no data is its initial value as far as it does not generalise: `initial_value`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Greedy
from algorithms.networks import InitialValue, Network
from algorithms.objectives import at_action, bellman_target, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import Batch, Count, DataSummary, EnvSpec, Positive

SAME_ITERATION, NEW_ITERATION = 0, 1


class State(NamedTuple):
    """Critic, the frozen critic of the running iteration, and the optimiser."""

    critic: Network
    target_critic: Network
    optimizer: AdamState


@dataclass(frozen=True)
class FittedQIteration(Algorithm):
    """Neural fitted Q iteration with a frozen target."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    target_interval: Count
    initial_value: InitialValue

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return a critic around the initial value."""
        value = networks.initial_value(spec, self.initial_value)
        critic = networks.action_network(spec, self.hidden_sizes, generator, value)
        return State(critic, critic, adam_init(critic))

    def loss(self, critic: Network, target_critic: Network, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return the mean squared Bellman error to the frozen critic."""
        next_value = networks.apply(target_critic, batch.next_observation).amax(-1)
        target = bellman_target(batch, next_value, self.discount)
        value = at_action(networks.apply(critic, batch.observation), batch.action)
        loss = weighted_mean((target - value) ** 2, batch.weight)
        return loss, {"loss": loss, "value": weighted_mean(value, batch.weight)}

    def phase(self, step: int) -> int:
        """Return whether an iteration begins at this update."""
        return NEW_ITERATION if step % self.target_interval == 0 else SAME_ITERATION

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step; a new iteration begins every `target_interval` updates."""
        target_critic = state.critic if phase == NEW_ITERATION else state.target_critic
        gradient, metrics = torch.func.grad(self.loss, has_aux=True)(
            state.critic, target_critic, batch
        )
        critic, optimizer = adam(gradient, state.optimizer, state.critic, self.learning_rate)
        return State(critic, target_critic, optimizer), metrics

    def policy(self, state: State, observation: Tensor) -> Greedy:
        """Return the policy that is greedy in the critic."""
        return Greedy(networks.apply(state.critic, observation))

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor:
        """Return the critic's, by which it acts."""
        states = torch.arange(len(policy), device=policy.device)
        return networks.apply(state.critic, states)
