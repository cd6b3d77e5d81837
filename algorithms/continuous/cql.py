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
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import critics as twins
from algorithms import entropy, networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import TanhNormal
from algorithms.networks import Network
from algorithms.objectives import bellman_target, reward_scale, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
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


class State(NamedTuple):
    """Actor, weight of its entropy, twin critics, what moves them, and the scale of rewards."""

    actor: Network
    log_entropy_weight: Tensor
    critics: Network
    target_critics: Network
    actor_optimizer: AdamState
    entropy_optimizer: AdamState
    critic_optimizer: AdamState
    reward_scale: Tensor


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

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return random networks, the slow critics equal to the others."""
        sizes = (spec.observation_size, *self.hidden_sizes, 2 * spec.action_size)
        actor = networks.feed_forward(sizes, generator)
        critics = twins.twin_critics(spec, self.hidden_sizes, generator)
        weight = torch.full((), float(self.initial_log_entropy_weight))
        optimizers = adam_init(actor), adam_init(weight), adam_init(critics)
        return State(actor, weight, critics, critics, *optimizers, reward_scale(spec))

    def target(self, state: State, batch: Batch, noise: Tensor) -> Tensor:
        """Return what both critics are fitted to ``[batch]``, for uniform noise."""
        following = _policy(state.actor, batch.next_observation).sample(noise)
        value = twins.values(state.target_critics, batch.next_observation, following).amin(0)
        return bellman_target(batch, value, self.discount)

    def candidates(
        self, actor: Network, batch: Batch, noise: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the actions ``[3 n, batch, action_size]`` and their log-densities."""
        uniform = 2 * noise["uniform"] - 1
        density = torch.full_like(uniform[..., 0], -math.log(2) * uniform.shape[-1])
        here, next_ = (
            _policy(actor, observation).sample_with_log_prob(noise[name])
            for name, observation in (
                ("here", batch.observation), ("next", batch.next_observation)
            )
        )  # fmt: skip
        actions, densities = zip((uniform, density), here, next_, strict=True)
        return torch.cat(actions), torch.cat(densities)

    def critic_loss(
        self, critics: Network, target: Tensor, tried: tuple[Tensor, Tensor], batch: Batch
    ) -> tuple[Tensor, Metrics]:
        """Return both critics' mean squared errors plus their conservative penalties."""
        values = twins.values(critics, batch.observation, batch.action)
        actions, log_density = tried
        elsewhere = twins.values_of_several(critics, batch.observation, actions) - log_density
        bellman = weighted_mean(((values - target) ** 2).sum(0), batch.weight)
        penalty = weighted_mean((elsewhere.logsumexp(1) - values).sum(0), batch.weight)
        metrics = {
            "bellman_loss": bellman,
            "conservative_penalty": penalty,
            "value": weighted_mean(values.mean(0), batch.weight),
        }
        return bellman + self.conservatism * penalty, metrics

    def actor_loss(
        self, actor: Network, state: State, batch: Batch, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the entropy's worth less the value of the policy, and its mean log-density."""
        action, log_prob = _policy(actor, batch.observation).sample_with_log_prob(noise)
        value = twins.values(state.critics, batch.observation, action).amin(0)
        loss = state.log_entropy_weight.exp() * log_prob - value
        return weighted_mean(loss, batch.weight), weighted_mean(log_prob, batch.weight)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step each, all of them from the state as it is."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        target = self.target(state, batch, noise["target"])
        tried = self.candidates(state.actor, batch, noise)
        gradient, metrics = torch.func.grad(self.critic_loss, has_aux=True)(
            state.critics, target, tried, batch
        )
        critics, critic_optimizer = adam(
            gradient, state.critic_optimizer, state.critics, self.learning_rate
        )
        gradient, log_prob = torch.func.grad(self.actor_loss, has_aux=True)(
            state.actor, state, batch, noise["actor"]
        )
        actor, actor_optimizer = adam(
            gradient, state.actor_optimizer, state.actor, self.actor_learning_rate
        )
        size = batch.action.shape[-1]
        weight, entropy_optimizer = entropy.tuned(
            state.log_entropy_weight, -log_prob, -size, state.entropy_optimizer,
            self.actor_learning_rate,
        )  # fmt: skip
        target_critics = networks.polyak_average(state.target_critics, critics, self.polyak)
        metrics |= {
            "value": metrics["value"] / state.reward_scale,
            "entropy": -log_prob,
            "entropy_weight": weight.exp(),
        }
        optimizers = actor_optimizer, entropy_optimizer, critic_optimizer
        scale = state.reward_scale
        return State(actor, weight, critics, target_critics, *optimizers, scale), metrics

    def policy(self, state: State, observation: Tensor) -> TanhNormal:
        """Return the actor."""
        return _policy(state.actor, observation)


def _policy(actor: Network, observation: Tensor) -> TanhNormal:
    return TanhNormal.of(networks.apply(actor, observation))
