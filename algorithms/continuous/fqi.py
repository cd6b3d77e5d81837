"""Fitted Q iteration for continuous actions (Ernst et al. 2005; Riedmiller 2005).

    loss = E_data[ (r + discount (1 - terminated) max_a' Q_k(s', a') - Q(s, a))^2 ]

Q_k is frozen for `target_interval` updates, then Q_{k+1} = Q. There are two ways to the maximum
(`maximizer`), by which the policy acts as well:

    policy:  a network that is trained to maximise Q, frozen along with it (Hafner and Riedmiller
             2011: neural fitted Q iteration with continuous actions)
    sampled: the best of `num_actions` actions, drawn once, uniformly

Nothing keeps either to actions that the data has.

Differences from the papers: an iteration takes Adam steps on minibatches and starts from the last
one's networks; rewards are scaled by the world (`objectives.reward_scale`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import critics, networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Deterministic
from algorithms.networks import Network
from algorithms.objectives import bellman_target, reward_scale, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import ActionKind, Batch, Count, DataSummary, EnvSpec, Positive

SAME_ITERATION, NEW_ITERATION = 0, 1


@dataclass(frozen=True)
class Maximizer(ABC):
    """A way to the best action for a critic; what it keeps is its own."""

    @abstractmethod
    def init(
        self, spec: EnvSpec, hidden_sizes: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Any, Any]:
        """Return what says the best action, and what trains it."""

    @abstractmethod
    def best(self, kept: Any, critic: Network, observation: Tensor) -> Tensor:
        """Return the best actions ``[batch, action_size]`` at ``observation[batch, size]``."""

    def update(self, kept: Any, training: Any, critic: Network, batch: Batch) -> tuple[Any, Any]:
        """Return both after a step towards what is best for the critic."""
        del critic, batch
        return kept, training


@dataclass(frozen=True)
class Policy(Maximizer):
    """A network that is trained to maximise the critic."""

    learning_rate: Positive

    def init(
        self, spec: EnvSpec, hidden_sizes: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Network, AdamState]:
        """Return a network near the middle of the bounds, and its optimiser."""
        sizes = (spec.observation_size, *hidden_sizes, spec.action_size)
        actor = networks.feed_forward(sizes, generator)
        return actor, adam_init(actor)

    def best(self, kept: Network, critic: Network, observation: Tensor) -> Tensor:
        """Return the network's actions."""
        return networks.apply(kept, observation).tanh()

    def loss(self, actor: Network, critic: Network, batch: Batch) -> Tensor:
        """Return the mean value of the network's actions, negated."""
        action = self.best(actor, critic, batch.observation)
        return -weighted_mean(critics.values(critic, batch.observation, action), batch.weight)

    def update(
        self, kept: Network, training: AdamState, critic: Network, batch: Batch
    ) -> tuple[Network, AdamState]:
        """Take one Adam step."""
        gradient = torch.func.grad(self.loss)(kept, critic, batch)
        actor, optimizer = adam(gradient, training, kept, self.learning_rate)
        return actor, optimizer


@dataclass(frozen=True)
class Sampled(Maximizer):
    """The best of some actions, the same ones everywhere and always."""

    num_actions: Count

    def init(
        self, spec: EnvSpec, hidden_sizes: tuple[int, ...], generator: torch.Generator
    ) -> tuple[Tensor, tuple[()]]:
        """Return the actions ``[num_actions, action_size]``, uniform within the bounds."""
        drawn = torch.rand(self.num_actions, spec.action_size, generator=generator)
        return 2 * drawn - 1, ()

    def best(self, kept: Tensor, critic: Network, observation: Tensor) -> Tensor:
        """Return the best of them for the critic."""
        tried = kept.unsqueeze(1).expand(-1, len(observation), -1)
        chosen = critics.values_of_several(critic, observation, tried).argmax(0)
        return networks.rows(kept, chosen)


class State(NamedTuple):
    """Critic and maximizer, both as frozen for the running iteration, optimisers, reward scale."""

    critic: Network
    target_critic: Network
    maximizer: Any
    target_maximizer: Any
    optimizer: AdamState
    maximizer_training: Any
    reward_scale: Tensor


@dataclass(frozen=True)
class FittedQIteration(Algorithm):
    """Neural fitted Q iteration with a frozen target."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    target_interval: Count
    maximizer: Maximizer

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return a random critic, and a maximizer that is not trained yet."""
        sizes = (spec.observation_size + spec.action_size, *self.hidden_sizes, 1)
        critic = networks.feed_forward(sizes, generator)
        kept, training = self.maximizer.init(spec, self.hidden_sizes, generator)
        optimizer = adam_init(critic)
        return State(critic, critic, kept, kept, optimizer, training, reward_scale(spec))

    def phase(self, step: int) -> int:
        """Return whether an iteration begins at this update."""
        return NEW_ITERATION if step % self.target_interval == 0 else SAME_ITERATION

    def target(self, state: State, batch: Batch) -> Tensor:
        """Return what the critic is fitted to ``[batch]``."""
        following = self.maximizer.best(
            state.target_maximizer, state.target_critic, batch.next_observation
        )
        value = critics.values(state.target_critic, batch.next_observation, following)
        return bellman_target(batch, value, self.discount)

    def loss(self, critic: Network, target: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean squared Bellman error, and the mean value."""
        value = critics.values(critic, batch.observation, batch.action)
        error = weighted_mean((target - value) ** 2, batch.weight)
        return error, weighted_mean(value, batch.weight)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of critic and maximizer; now and then a new iteration begins."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        if phase == NEW_ITERATION:
            state = state._replace(target_critic=state.critic, target_maximizer=state.maximizer)
        target = self.target(state, batch)
        gradient, (loss, value) = torch.func.grad_and_value(self.loss, has_aux=True)(
            state.critic, target, batch
        )
        critic, optimizer = adam(gradient, state.optimizer, state.critic, self.learning_rate)
        kept, training = self.maximizer.update(
            state.maximizer, state.maximizer_training, critic, batch
        )
        state = state._replace(
            critic=critic, maximizer=kept, optimizer=optimizer, maximizer_training=training
        )
        return state, {"loss": loss, "value": value / state.reward_scale}

    def policy(self, state: State, observation: Tensor) -> Deterministic:
        """Return the maximizer's actions."""
        flat = observation.reshape(-1, observation.shape[-1])
        action = self.maximizer.best(state.maximizer, state.critic, flat)
        return Deterministic(action.reshape(*observation.shape[:-1], -1))
