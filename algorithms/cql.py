"""Conservative Q-learning for discrete actions (Kumar et al. 2020, equation 4, the H variant).

    loss = E_data[ huber(y - Q(s, a)) ] + conservatism E_data[ logsumexp_a Q(s, a) - Q(s, a_data) ]
    y    = r + discount (1 - terminated) Q_target(s', argmax_a' Q(s', a'))        (double DQN)

Differences from the paper: the target critic is a Polyak average instead of a periodic copy, and
the critic predicts means where the official Atari code predicts quantiles (QR-DQN).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Greedy
from algorithms.networks import InitialValue, Network
from algorithms.objectives import (
    at_action,
    bellman_target,
    huber,
    negative_log_likelihood,
    weighted_mean,
)
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import Batch, Count, DataSummary, EnvSpec, NonNegative, Positive, PositiveFraction


class State(NamedTuple):
    """Critic, its slow copy and the optimiser."""

    critic: Network
    target_critic: Network
    optimizer: AdamState


@dataclass(frozen=True)
class ConservativeQLearning(Algorithm):
    """Double DQN with a penalty on values above the data's actions."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    conservatism: NonNegative
    polyak: PositiveFraction
    initial_value: InitialValue

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return a critic around the initial value and its copy."""
        value = networks.initial_value(spec, self.initial_value)
        critic = networks.action_network(spec, self.hidden_sizes, generator, value)
        return State(critic, critic, adam_init(critic))

    def loss(self, critic: Network, target: Tensor, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return the Huber Bellman error plus the conservative penalty."""
        values = networks.apply(critic, batch.observation)
        value = at_action(values, batch.action)
        bellman = weighted_mean(huber(target - value), batch.weight)
        # logsumexp_a Q(s, a) - Q(s, a_data) is the cross-entropy of the data under softmax(Q).
        penalty = weighted_mean(negative_log_likelihood(values, batch.action), batch.weight)
        metrics = {
            "bellman_loss": bellman,
            "conservative_penalty": penalty,
            "value": weighted_mean(value, batch.weight),
        }
        return bellman + self.conservatism * penalty, metrics

    def target(self, critic: Network, target_critic: Network, batch: Batch) -> Tensor:
        """Return the double DQN target ``[batch]``."""
        chosen = networks.apply(critic, batch.next_observation).argmax(-1)
        next_value = at_action(networks.apply(target_critic, batch.next_observation), chosen)
        return bellman_target(batch, next_value, self.discount)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step and let the target critic follow."""
        target = self.target(state.critic, state.target_critic, batch)
        gradient, metrics = torch.func.grad(self.loss, has_aux=True)(state.critic, target, batch)
        critic, optimizer = adam(gradient, state.optimizer, state.critic, self.learning_rate)
        target_critic = networks.polyak_average(state.target_critic, critic, self.polyak)
        return State(critic, target_critic, optimizer), metrics

    def policy(self, state: State, observation: Tensor) -> Greedy:
        """Return the policy that is greedy in the critic."""
        return Greedy(networks.apply(state.critic, observation))

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor:
        """Return the online critic's, by which it acts."""
        states = torch.arange(len(policy), device=policy.device)
        return networks.apply(state.critic, states)
