"""A critic's last layer that answers exactly, on features that its other layers learn.

    q(s, a) = base + phi(s, a) . w,    phi = (relu(f(s, a)), 1) / sqrt(num_features)

f is learned at every update, through a last layer psi_0 of its own and a slow copy, by the
follower's objective with the squared residual for the kernel loss: fitted evaluation of the
leader's policy, as pessimistic as 1 / lambda has it. Then w answers to phi as it is, drawn to psi_0
by the regularization. How w answers is part of the leader's total derivative, how phi will change
is not.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.networks import Network
from algorithms.optimizers import AdamState, adam, adam_init
from algorithms.stackelberg.followers.base import Played, Turn, WarmStart
from algorithms.stackelberg.followers.pairs import PairFollower, Prior
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import Points
from algorithms.stackelberg.game.kernels import Kernel
from algorithms.stackelberg.game.pairs import pair_game
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
        regularization: Of the last layer's distance from psi_0, in units of the multiplier, since
            moments of features that move are not exact and a least-squares fixed point makes much
            of that where they hardly vary.
        hidden_sizes: Of the layers below the features.
        learning_rate: Of the features in the warm start.
        leading_rate: Of the features while the leader leads; 0 leaves them as they are.
        polyak: Of the slow copy.
    """

    hidden_sizes: tuple[Count, ...]
    learning_rate: Positive
    leading_rate: NonNegative
    polyak: PositiveFraction

    name: ClassVar[str] = "features"

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

    def prior(self, turn: Turn) -> Prior:
        """Return the layer that the features are learned through, and what holds it."""
        last = turn.memory.critic[-1]
        layer = torch.cat([last["weight"].flatten(), last["bias"].flatten()])
        multiplier = turn.terms.multiplier(turn.summary.num_transitions.double())
        return Prior(self.regularization * multiplier, layer.double() * self.num_features**0.5)

    def warm_start(self, turn: Turn) -> WarmStart:
        """Return a step of cloning; the features take one of evaluating the leader."""
        warm = super().warm_start(turn)
        learned, loss = self._learned(turn, self.learning_rate, torch.zeros_like(turn.scale.base))
        return warm._replace(
            memory=learned.memory, metrics=warm.metrics | {"evaluation_loss": loss}
        )

    def play(self, turn: Turn, phase: int) -> Played:
        """Let the features learn, then answer as `PairFollower` does."""
        if self.leading_rate > 0:
            # As a share of the residual's weight.
            pessimism = 1 / turn.terms.multiplier(turn.summary.num_transitions.double())
            turn, _ = self._learned(turn, self.leading_rate, pessimism)
        return super().play(turn, phase)

    def _features(self, critic: Network, observation: Tensor, action: Tensor) -> Tensor:
        learned = networks.apply(critic[:-1], _inputs(observation, action)).relu()
        whole = torch.cat([learned, torch.ones_like(learned[..., :1])], dim=-1)
        return whole / self.num_features**0.5

    def _learned(self, turn: Turn, rate: float, pessimism: Tensor) -> tuple[Turn, Tensor]:
        """Return the turn after one Adam step of the critic, with its squared residual.

        The step is down the squared residual, in which later values are the slow copy's and targets
        stay within the range of returns, plus so much of the follower's pessimism.
        """
        batch, terms, scale, memory = turn.batch, turn.terms, turn.scale, turn.memory
        assert batch is not None
        # Features stay the same for a tilted answer: what is compared is how the last layer moves.
        aims = replace(terms.aims, tilt=None)
        taken = _inputs(batch.observation, batch.action)
        game = pair_game(batch, taken, terms.discount, scale.width)
        places = Points(batch.observation, batch.next_observation, batch.initial_observation)

        def chosen(name: str, observation: Tensor) -> Tensor:
            outputs = networks.apply(turn.actor, observation)
            return _inputs(observation, turn.leader.choices(outputs, turn.noise.get(name)))

        def q(critic: Network, pairs: Tensor) -> Tensor:
            return scale.base + networks.apply(critic, pairs).squeeze(-1).double()

        policy = Points(*(chosen(name, x) for name, x in places._asdict().items()))
        later = game.bootstrap * q(memory.slow_critic, policy.following)
        target = (game.reward + later).clamp(scale.v_min, scale.v_max)

        def loss(critic: Network) -> tuple[Tensor, Tensor]:
            error = (game.weight * (q(critic, taken) - target) ** 2).sum()
            against = aims.follower(game, policy, lambda pairs: q(critic, pairs))
            return error + pessimism * against, error

        gradient, error = torch.func.grad(loss, has_aux=True)(memory.critic)
        critic, optimizer = adam(gradient, memory.optimizer, memory.critic, rate)
        slow = networks.polyak_average(memory.slow_critic, critic, self.polyak)
        memory = memory._replace(critic=critic, slow_critic=slow, optimizer=optimizer)
        return turn._replace(memory=memory), error


def _inputs(observation: Tensor, action: Tensor) -> Tensor:
    return torch.cat([observation, action.to(observation.dtype)], dim=-1)
