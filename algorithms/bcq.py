"""Batch-constrained Q-learning for discrete actions (Fujimoto et al. 2019, arXiv 1910.01708).

    allowed(s) = { a : G(a|s) / max_b G(b|s) > threshold }                       (equation 17)
    loss = E_data[ huber(y - Q(s, a)) ] + E_data[ -log G(a|s) ] + logit_penalty E_data[ mean logits^2 ]
    y    = r + discount (1 - terminated) Q_target(s', argmax_{a' allowed} Q(s', a'))

Acts greedily in Q among the allowed actions. G and Q are separate networks.

Differences from the paper: an action exactly at the threshold is allowed (so that threshold 1 leaves
the likeliest one); the original's convolutional torso, shared by G and Q, is for images.
"""  # noqa: E501

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
from bench.types import (
    Batch,
    Count,
    DataSummary,
    EnvSpec,
    Fraction,
    NonNegative,
    Positive,
    PositiveFraction,
)


class Networks(NamedTuple):
    """What is trained: the critic Q and the imitation logits of G."""

    critic: Network
    imitation: Network


class State(NamedTuple):
    """Trained networks, the critic's slow copy and the optimiser."""

    online: Networks
    target_critic: Network
    optimizer: AdamState


@dataclass(frozen=True)
class BatchConstrainedQLearning(Algorithm):
    """Double DQN over the actions that an imitation model finds likely enough."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    threshold: Fraction
    logit_penalty: NonNegative
    polyak: PositiveFraction
    initial_value: InitialValue

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return a critic around the initial value, its copy, and near-uniform imitation."""
        value = networks.initial_value(spec, self.initial_value)
        critic = networks.action_network(spec, self.hidden_sizes, generator, value)
        imitation = networks.action_network(spec, self.hidden_sizes, generator)
        online = Networks(critic, imitation)
        return State(online, critic, adam_init(online))

    def allowed_values(self, online: Networks, observation: Tensor) -> Tensor:
        """Return Q ``[..., num_actions]``, minus infinity where G finds the action too unlikely."""
        logits = networks.apply(online.imitation, observation)
        relative = (logits - logits.amax(-1, keepdim=True)).exp()
        # >= keeps the likeliest action allowed at threshold 1; elsewhere the two agree.
        allowed = relative >= self.threshold
        return networks.apply(online.critic, observation).masked_fill(~allowed, -torch.inf)

    def loss(self, online: Networks, target: Tensor, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return the Huber Bellman error plus the regularised imitation loss."""
        value = at_action(networks.apply(online.critic, batch.observation), batch.action)
        bellman = weighted_mean(huber(target - value), batch.weight)
        logits = networks.apply(online.imitation, batch.observation)
        cloning = weighted_mean(negative_log_likelihood(logits, batch.action), batch.weight)
        size = weighted_mean((logits**2).mean(-1), batch.weight)
        metrics = {
            "bellman_loss": bellman,
            "imitation_loss": cloning,
            "value": weighted_mean(value, batch.weight),
        }
        return bellman + cloning + self.logit_penalty * size, metrics

    def target(self, online: Networks, target_critic: Network, batch: Batch) -> Tensor:
        """Return the constrained double DQN target ``[batch]``."""
        chosen = self.allowed_values(online, batch.next_observation).argmax(-1)
        next_value = at_action(networks.apply(target_critic, batch.next_observation), chosen)
        return bellman_target(batch, next_value, self.discount)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step on both networks and let the target critic follow."""
        target = self.target(state.online, state.target_critic, batch)
        gradient, metrics = torch.func.grad(self.loss, has_aux=True)(state.online, target, batch)
        online, optimizer = adam(gradient, state.optimizer, state.online, self.learning_rate)
        target_critic = networks.polyak_average(state.target_critic, online.critic, self.polyak)
        return State(online, target_critic, optimizer), metrics

    def policy(self, state: State, observation: Tensor) -> Greedy:
        """Return the greedy policy among the allowed actions."""
        return Greedy(self.allowed_values(state.online, observation))

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor:
        """Return the online critic's, of actions that are not allowed too."""
        states = torch.arange(len(policy), device=policy.device)
        return networks.apply(state.online.critic, states)
