"""A critic's last layer that answers exactly, on features that its other layers learn.

    q(s, a) = base + phi(s, a) . w,    phi = (tanh(f(s, a)), 1) / sqrt(num_features)

f is learned by fitted evaluation of the leader's policy, through a last layer of its own and a slow
copy, at every update; w answers to phi as it is then. How w answers is part of the leader's total
derivative, how phi will change is not.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.networks import Network
from algorithms.objectives import weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from algorithms.stackelberg.followers.base import Played, Turn, WarmStart
from algorithms.stackelberg.followers.pairs import PairFollower
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.kernels import Kernel
from bench.types import Count, EnvSpec, NonNegative, Positive, PositiveFraction


class FeatureMemory(NamedTuple):
    """What the follower remembers.

    Attributes:
        features: Random features of the kernel.
        moments: Of all batches so far.
        critic: The layers that make phi, and a last one that they learn through.
        slow_critic: Its slow copy.
        optimizer: The critic's.
    """

    features: data_moments.Features
    moments: data_moments.Moments
    critic: Network
    slow_critic: Network
    optimizer: AdamState


@dataclass(frozen=True)
class FeatureFollower(PairFollower):
    """A critic of learned features whose last layer answers exactly.

    Attributes:
        hidden_sizes: Of the layers below the features.
        learning_rate: Of the features in the warm start.
        leading_rate: Of the features while the leader leads; 0 leaves them as they are.
        polyak: Of the slow copy.
    """

    hidden_sizes: tuple[Count, ...]
    learning_rate: Positive
    leading_rate: NonNegative
    polyak: PositiveFraction

    def remember(self, spec: EnvSpec, kernel: Kernel, generator: torch.Generator) -> Any:
        """Return a critic that has seen nothing, and no moments."""
        features, _ = super().remember(spec, kernel, generator)
        width = spec.observation_size + spec.action_size
        sizes = (width, *self.hidden_sizes, self.num_features - 1, 1)
        critic = networks.feed_forward(sizes, generator)
        moments = data_moments.no_moments(self.num_features)
        return FeatureMemory(features, moments, critic, critic, adam_init(critic))

    def embed(self, turn: Turn, observation: Tensor, action: Tensor) -> Tensor:
        """Return the features of pairs ``[points, num_features]``, float64."""
        return self._features(turn.memory.critic, observation, action).double()

    def warm_start(self, turn: Turn) -> WarmStart:
        """Return a step of cloning; the features take one of evaluating the leader."""
        warm = super().warm_start(turn)
        learned, loss = self._learned(turn, self.learning_rate)
        return warm._replace(
            memory=learned.memory, metrics=warm.metrics | {"evaluation_loss": loss}
        )

    def play(self, turn: Turn, phase: int) -> Played:
        """Let the features learn, then answer as `PairFollower` does."""
        if self.leading_rate > 0:
            turn, _ = self._learned(turn, self.leading_rate)
        return super().play(turn, phase)

    def _features(self, critic: Network, observation: Tensor, action: Tensor) -> Tensor:
        pairs = torch.cat([observation, action.to(observation.dtype)], dim=-1)
        learned = networks.apply(critic[:-1], pairs).tanh()
        whole = torch.cat([learned, torch.ones_like(learned[..., :1])], dim=-1)
        return whole / self.num_features**0.5

    def _value(self, critic: Network, observation: Tensor, action: Tensor) -> Tensor:
        """Return what the features learn through, less the base ``[points]``."""
        features = self._features(critic, observation, action) * self.num_features**0.5
        return networks.apply(critic[-1:], features[..., :-1]).squeeze(-1)

    def _learned(self, turn: Turn, rate: float) -> tuple[Turn, Tensor]:
        """Return the turn after one Adam step of fitted evaluation, with its loss."""
        batch, scale, memory = turn.batch, turn.scale, turn.memory
        assert batch is not None
        outputs = networks.apply(turn.actor, batch.next_observation)
        following = turn.leader.choices(outputs, turn.noise.get("following"))
        base = scale.base.to(batch.reward.dtype)
        later = base + self._value(memory.slow_critic, batch.next_observation, following)
        going = turn.terms.discount.to(batch.reward.dtype) * (1 - batch.terminated)
        target = batch.reward / scale.width.to(batch.reward.dtype) + going * later - base

        def loss(critic: Network) -> Tensor:
            value = self._value(critic, batch.observation, batch.action)
            return weighted_mean((value - target) ** 2, batch.weight)

        gradient, size = torch.func.grad_and_value(loss)(memory.critic)
        critic, optimizer = adam(gradient, memory.optimizer, memory.critic, rate)
        slow = networks.polyak_average(memory.slow_critic, critic, self.polyak)
        memory = memory._replace(critic=critic, slow_critic=slow, optimizer=optimizer)
        return turn._replace(memory=memory), size
