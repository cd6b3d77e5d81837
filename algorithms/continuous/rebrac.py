"""ReBRAC (Tarasov et al. 2023, arXiv 2305.09836): TD3+BC whose penalties are decoupled.

    actor:   loss = -lambda E_data[ min_i Q_i(s, pi(s)) ] + actor_penalty E_data[ |pi(s) - a|^2 ]
             lambda = 1 / E_data[ |min_i Q_i(s, pi(s))| ], a constant to the gradient
    critics: loss = sum_i E_data[ (y - Q_i(s, a))^2 ]
             y = r + discount (1 - terminated) (min_i Q_slow_i(s', a') - critic_penalty |a' - b|^2)
             a' = clip(pi_target(s') + clip(policy_noise N(0, 1), noise_clip))

b is the action that the data takes at s'. Critics have a layer norm behind every hidden layer's
ReLU, the actor has none. Actor and targets move at every `policy_interval`-th update. Squared
distances are sums over an action's dimensions, as in the authors' code.

Differences from the paper: rewards are scaled by the world (`objectives.reward_scale`), the unit of
`critic_penalty`; where the data has no next step (an end, a hole in it) there is no penalty on a'.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Deterministic, standard_normal
from algorithms.networks import Network
from algorithms.objectives import bellman_target, reward_scale, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from algorithms.pieces import layer_norm
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

CRITICS, CRITICS_AND_ACTOR = 0, 1


class State(NamedTuple):
    """Actor and twin critics with their slow copies and optimisers, and the scale of rewards."""

    actor: Network
    target_actor: Network
    critics: Network
    target_critics: Network
    actor_optimizer: AdamState
    critic_optimizer: AdamState
    reward_scale: Tensor


@dataclass(frozen=True)
class ReBRAC(Algorithm):
    """Twin critics that are penalised for what their policy would do next, and a cloning actor."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    polyak: PositiveFraction
    actor_penalty: NonNegative
    critic_penalty: NonNegative
    policy_noise: NonNegative
    noise_clip: NonNegative
    policy_interval: Count

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def noise_shapes(self, spec: EnvSpec, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of the noise on the target policy's actions."""
        return {"target": (batch_size, spec.action_size)}

    def phase(self, step: int) -> int:
        """Return whether the actor moves at this update."""
        return CRITICS_AND_ACTOR if (step + 1) % self.policy_interval == 0 else CRITICS

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return random networks, the slow copies equal to them."""
        sizes = (spec.observation_size, *self.hidden_sizes, spec.action_size)
        actor = networks.feed_forward(sizes, generator)
        critics = layer_norm.twin_critics(spec, self.hidden_sizes, generator)
        moved_by = adam_init(actor), adam_init(critics)
        return State(actor, actor, critics, critics, *moved_by, reward_scale(spec))

    def target(self, state: State, batch: Batch, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return what both critics are fitted to and the penalty in it ``[batch]``."""
        drawn = self.policy_noise * standard_normal(noise)
        smoothing = drawn.clamp(-self.noise_clip, self.noise_clip)
        following = (_act(state.target_actor, batch.next_observation) + smoothing).clamp(-1, 1)
        value = layer_norm.values(state.target_critics, batch.next_observation, following).amin(0)
        away = ((following - batch.next_action) ** 2).sum(-1)
        penalty = self.critic_penalty * batch.followed * away
        return bellman_target(batch, value - penalty, self.discount), penalty

    def critic_loss(self, critics: Network, target: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return both critics' mean squared errors, summed, and their values ``[2, batch]``."""
        values = layer_norm.values(critics, batch.observation, batch.action)
        return weighted_mean(((values - target) ** 2).sum(0), batch.weight), values

    def actor_loss(self, actor: Network, critics: Network, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return the normalised value of the policy, negated, plus its distance from the data."""
        action = _act(actor, batch.observation)
        value = layer_norm.values(critics, batch.observation, action).amin(0)
        # A batch without any weight has values of size zero.
        size = weighted_mean(value.abs(), batch.weight).detach().clamp_min(1e-12)
        cloning = weighted_mean(((action - batch.action) ** 2).sum(-1), batch.weight)
        loss = -weighted_mean(value, batch.weight) / size + self.actor_penalty * cloning
        return loss, {"cloning_loss": cloning, "value_weight": 1 / size}

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of the critics and, in its phase, one of the actor."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        target, penalty = self.target(state, batch, noise["target"])
        gradient, (loss, values) = torch.func.grad_and_value(self.critic_loss, has_aux=True)(
            state.critics, target, batch
        )
        critics, critic_optimizer = adam(
            gradient, state.critic_optimizer, state.critics, self.learning_rate
        )
        metrics = {
            "bellman_loss": loss,
            "value": weighted_mean(values.mean(0), batch.weight) / state.reward_scale,
            "penalty": weighted_mean(penalty, batch.weight) / state.reward_scale,
        }
        state = state._replace(critics=critics, critic_optimizer=critic_optimizer)
        if phase == CRITICS:
            return state, metrics
        gradient, told = torch.func.grad(self.actor_loss, has_aux=True)(state.actor, critics, batch)
        actor, actor_optimizer = adam(
            gradient, state.actor_optimizer, state.actor, self.learning_rate
        )
        state = state._replace(
            actor=actor,
            actor_optimizer=actor_optimizer,
            target_actor=networks.polyak_average(state.target_actor, actor, self.polyak),
            target_critics=networks.polyak_average(state.target_critics, critics, self.polyak),
        )
        return state, metrics | told

    def policy(self, state: State, observation: Tensor) -> Deterministic:
        """Return the actor."""
        return Deterministic(_act(state.actor, observation))


def _act(actor: Network, observation: Tensor) -> Tensor:
    return networks.apply(actor, observation).tanh()
