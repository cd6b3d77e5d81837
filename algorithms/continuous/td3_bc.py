"""TD3+BC (Fujimoto and Gu 2021): TD3 (Fujimoto et al. 2018) whose actor also clones the data.

    actor:   loss = -lambda E_data[ Q_1(s, pi(s)) ] + E_data[ (pi(s) - a)^2 ]           (equation 3)
             lambda = alpha / E_data[ |Q_1(s, pi(s))| ], a constant to the gradient   (equation 5)
    critics: loss = sum_i E_data[ (y - Q_i(s, a))^2 ]
             y = r + discount (1 - terminated) min_i Q_target_i(s', a')
             a' = clip(pi_target(s') + clip(policy_noise N(0, 1), noise_clip))

Actor and targets move at every `policy_interval`-th update. The squared error is a mean over the
dimensions of an action, noise is in half ranges of it, as in the authors' code.

Differences from the paper: rewards are scaled by the world (`objectives.reward_scale`), to which
lambda is blind but Adam's steps of the critics are not.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import critics as twins
from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Deterministic, standard_normal
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
class TD3BC(Algorithm):
    """Twin critics, a delayed actor that stays near the data's actions, smoothed targets."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    polyak: PositiveFraction
    alpha: Positive
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
        critics = twins.twin_critics(spec, self.hidden_sizes, generator)
        optimizers = adam_init(actor), adam_init(critics)
        return State(actor, actor, critics, critics, *optimizers, reward_scale(spec))

    def target(self, state: State, batch: Batch, noise: Tensor) -> Tensor:
        """Return what both critics are fitted to ``[batch]``, for uniform noise."""
        drawn = self.policy_noise * standard_normal(noise)
        smoothing = drawn.clamp(-self.noise_clip, self.noise_clip)
        intended = _act(state.target_actor, batch.next_observation)
        following = (intended + smoothing).clamp(-1, 1)
        value = twins.values(state.target_critics, batch.next_observation, following).amin(0)
        return bellman_target(batch, value, self.discount)

    def critic_loss(self, critics: Network, target: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return both critics' mean squared errors, summed, and their values ``[2, batch]``."""
        values = twins.values(critics, batch.observation, batch.action)
        return weighted_mean(((values - target) ** 2).sum(0), batch.weight), values

    def actor_loss(self, actor: Network, critics: Network, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return the normalised value of the policy, negated, plus its distance from the data."""
        action = _act(actor, batch.observation)
        value = twins.values(twins.first(critics), batch.observation, action)
        size = weighted_mean(value.abs(), batch.weight).detach()
        # A batch without any weight has values of size zero.
        weight = self.alpha / size.clamp_min(1e-12)
        cloning = weighted_mean(((action - batch.action) ** 2).mean(-1), batch.weight)
        loss = -weight * weighted_mean(value, batch.weight) + cloning
        return loss, {"cloning_loss": cloning, "value_weight": weight}

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of the critics and, in its phase, one of the actor."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        target = self.target(state, batch, noise["target"])
        gradient, (loss, values) = torch.func.grad_and_value(self.critic_loss, has_aux=True)(
            state.critics, target, batch
        )
        critics, critic_optimizer = adam(
            gradient, state.critic_optimizer, state.critics, self.learning_rate
        )
        value = weighted_mean(values.mean(0), batch.weight) / state.reward_scale
        metrics = {"bellman_loss": loss, "value": value}
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
