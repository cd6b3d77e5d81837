"""Implicit Q-learning (Kostrikov et al. 2022) for continuous actions.

    value:   loss = E_data[ |expectile - 1(u < 0)| u^2 ],  u = min_i Q_target_i(s, a) - V(s)
                                                                                      (equation 5)
    critics: loss = sum_i E_data[ (r + discount (1 - terminated) V(s') - Q_i(s, a))^2 ]
                                                                                      (equation 6)
    actor:   loss = -E_data[ min(exp(inverse_temperature u), 100) log pi(a | s) ]     (equation 7)

As in the authors' code critics and actor see the value function after its step.

The policy is a normal distribution around a mean squashed by tanh, its actions clipped, as in the
authors' code. Squashed as a whole, as others have it, its regret on a tuning seed was higher on
`lqr` (.021 for .014) and lower on `swamp` (.35 for .54).

Differences from the paper: the actor's learning rate stays what it is, where theirs falls as a
cosine; no dropout; rewards are scaled by the world (`objectives.reward_scale`), where theirs are by
the returns of the data.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from algorithms import critics as twins
from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import LOG_STD_RANGE, ClippedNormal
from algorithms.networks import Network
from algorithms.objectives import bellman_target, expectile_loss, reward_scale, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import ActionKind, Batch, Count, DataSummary, EnvSpec, Positive, PositiveFraction

# The largest weight of an action in the actor's loss.
LARGEST_WEIGHT = 100.0


class Actor(NamedTuple):
    """The policy's mean before tanh, and a log-std ``[action_size]``, the same in all states."""

    mean: Network
    log_std: Tensor


class State(NamedTuple):
    """Actor, value function and twin critics with what moves them, and the scale of rewards."""

    actor: Actor
    value: Network
    critics: Network
    target_critics: Network
    actor_optimizer: AdamState
    value_optimizer: AdamState
    critic_optimizer: AdamState
    reward_scale: Tensor


@dataclass(frozen=True)
class ImplicitQLearning(Algorithm):
    """Values of the data's better actions, without asking for any other action's."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    polyak: PositiveFraction
    expectile: Annotated[float, Gt(0), Lt(1)]
    inverse_temperature: Positive

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return random networks and a policy of standard deviation 1."""
        inner = (spec.observation_size, *self.hidden_sizes)
        mean = networks.feed_forward((*inner, spec.action_size), generator)
        actor = Actor(mean, torch.zeros(spec.action_size))
        value = networks.feed_forward((*inner, 1), generator)
        critics = twins.twin_critics(spec, self.hidden_sizes, generator)
        optimizers = adam_init(actor), adam_init(value), adam_init(critics)
        return State(actor, value, critics, critics, *optimizers, reward_scale(spec))

    def value_loss(self, value: Network, target: Tensor, batch: Batch) -> Tensor:
        """Return the expectile loss to ``target[batch]``."""
        difference = target - networks.apply(value, batch.observation).squeeze(-1)
        return weighted_mean(expectile_loss(difference, self.expectile), batch.weight)

    def critic_loss(self, critics: Network, target: Tensor, batch: Batch) -> Tensor:
        """Return both critics' mean squared errors, summed."""
        values = twins.values(critics, batch.observation, batch.action)
        return weighted_mean(((values - target) ** 2).sum(0), batch.weight)

    def actor_loss(self, actor: Actor, advantage: Tensor, batch: Batch) -> Tensor:
        """Return the weighted negative log-likelihood of the data's actions."""
        weight = (self.inverse_temperature * advantage).exp().clamp_max(LARGEST_WEIGHT)
        log_prob = _distribution(actor, batch.observation).log_prob(batch.action)
        return -weighted_mean(weight * log_prob, batch.weight)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of the value function, the actor and the critics, in this order."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        known = twins.values(state.target_critics, batch.observation, batch.action).amin(0)
        gradient, value_loss = torch.func.grad_and_value(self.value_loss)(state.value, known, batch)
        value, value_optimizer = adam(
            gradient, state.value_optimizer, state.value, self.learning_rate
        )

        now = networks.apply(value, batch.observation).squeeze(-1)
        gradient, actor_loss = torch.func.grad_and_value(self.actor_loss)(
            state.actor, known - now, batch
        )
        actor, actor_optimizer = adam(
            gradient, state.actor_optimizer, state.actor, self.learning_rate
        )

        following = networks.apply(value, batch.next_observation).squeeze(-1)
        target = bellman_target(batch, following, self.discount)
        gradient, bellman_loss = torch.func.grad_and_value(self.critic_loss)(
            state.critics, target, batch
        )
        critics, critic_optimizer = adam(
            gradient, state.critic_optimizer, state.critics, self.learning_rate
        )
        target_critics = networks.polyak_average(state.target_critics, critics, self.polyak)
        metrics = {
            "value_loss": value_loss,
            "bellman_loss": bellman_loss,
            "actor_loss": actor_loss,
            "value": weighted_mean(now, batch.weight) / state.reward_scale,
        }
        optimizers = actor_optimizer, value_optimizer, critic_optimizer
        new = State(actor, value, critics, target_critics, *optimizers, state.reward_scale)
        return new, metrics

    def policy(self, state: State, observation: Tensor) -> ClippedNormal:
        """Return the actor."""
        return _distribution(state.actor, observation)


def _distribution(actor: Actor, observation: Tensor) -> ClippedNormal:
    mean = networks.apply(actor.mean, observation).tanh()
    return ClippedNormal(mean, actor.log_std.clamp(*LOG_STD_RANGE).expand(mean.shape))
