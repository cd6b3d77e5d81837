"""Advantage-weighted actor critic (AWAC; Nair et al. 2020), with CRR's weights.

    critics: loss = sum_i E_data[ (r + discount (1 - terminated) min_i Q_target_i(s', b) - Q_i(s, a))^2 ]
             b ~ pi(s')
    actor:   loss = -E_data[ w(A) log pi(a | s) ],   A = min_i Q_i(s, a) - V(s)
             V(s) = mean over `num_actions` actions b ~ pi(s) of min_i Q_i(s, b)
             w = min(exp(inverse_temperature A), 20)      `exp`,    both papers
             w = 1 where A > 0, else 0                    `binary`, CRR (Wang et al. 2020, eq. 3)

Weights are constants to the gradient, and A is against the policy's own value, not the data's. The
actor moves first, as in CRR's algorithm, along the critics as they are. pi is the tanh of a normal
distribution.

Differences from the papers: AWAC's code normalises weights over the batch, here they are clipped as
in CRR; CRR's critics are distributional; rewards are scaled by the world
(`objectives.reward_scale`).
"""  # noqa: E501

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import critics as twins
from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import TanhNormal
from algorithms.networks import Network
from algorithms.objectives import (
    WeightForm,
    advantage_weight,
    bellman_target,
    reward_scale,
    weighted_mean,
)
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import ActionKind, Batch, Count, DataSummary, EnvSpec, Positive, PositiveFraction


class State(NamedTuple):
    """Actor and twin critics with what moves them, and the scale of rewards."""

    actor: Network
    critics: Network
    target_critics: Network
    actor_optimizer: AdamState
    critic_optimizer: AdamState
    reward_scale: Tensor


@dataclass(frozen=True)
class AdvantageWeightedActorCritic(Algorithm):
    """Cloning of those actions of the data that are better than the policy's own."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    polyak: PositiveFraction
    form: WeightForm
    inverse_temperature: Positive
    num_actions: Count

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def noise_shapes(self, spec: EnvSpec, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the noise in the policy's actions."""
        one = (batch_size, spec.action_size)
        return {"target": one, "here": (self.num_actions, *one)}

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return random networks, the slow critics equal to the others."""
        sizes = (spec.observation_size, *self.hidden_sizes, 2 * spec.action_size)
        actor = networks.feed_forward(sizes, generator)
        critics = twins.twin_critics(spec, self.hidden_sizes, generator)
        optimizers = adam_init(actor), adam_init(critics)
        return State(actor, critics, critics, *optimizers, reward_scale(spec))

    def advantage(self, state: State, batch: Batch, noise: Tensor) -> Tensor:
        """Return how much better the data's actions are than the policy's, ``[batch]``."""
        drawn = _policy(state.actor, batch.observation).sample(noise)
        own = twins.values_of_several(state.critics, batch.observation, drawn).amin(0).mean(0)
        return twins.values(state.critics, batch.observation, batch.action).amin(0) - own

    def actor_loss(self, actor: Network, weight: Tensor, batch: Batch) -> Tensor:
        """Return the weighted negative log-likelihood of the data's actions."""
        log_prob = _policy(actor, batch.observation).log_prob(batch.action)
        return -weighted_mean(weight * log_prob, batch.weight)

    def target(self, state: State, batch: Batch, noise: Tensor) -> Tensor:
        """Return what both critics are fitted to ``[batch]``, for uniform noise."""
        following = _policy(state.actor, batch.next_observation).sample(noise)
        value = twins.values(state.target_critics, batch.next_observation, following).amin(0)
        return bellman_target(batch, value, self.discount)

    def critic_loss(self, critics: Network, target: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return both critics' mean squared errors, summed, and their values ``[2, batch]``."""
        values = twins.values(critics, batch.observation, batch.action)
        return weighted_mean(((values - target) ** 2).sum(0), batch.weight), values

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of the actor and one of the critics, both from the state as it is."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        advantage = self.advantage(state, batch, noise["here"])
        weight = advantage_weight(advantage, self.form, self.inverse_temperature)
        gradient, actor_loss = torch.func.grad_and_value(self.actor_loss)(
            state.actor, weight, batch
        )
        actor, actor_optimizer = adam(
            gradient, state.actor_optimizer, state.actor, self.learning_rate
        )
        target = self.target(state, batch, noise["target"])
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
            "value": weighted_mean(values.mean(0), batch.weight) / state.reward_scale,
        }
        target_critics = networks.polyak_average(state.target_critics, critics, self.polyak)
        optimizers = actor_optimizer, critic_optimizer
        return State(actor, critics, target_critics, *optimizers, state.reward_scale), metrics

    def policy(self, state: State, observation: Tensor) -> TanhNormal:
        """Return the actor."""
        return _policy(state.actor, observation)


def _policy(actor: Network, observation: Tensor) -> TanhNormal:
    return TanhNormal.of(networks.apply(actor, observation))
