"""Leaders: what a policy network's outputs mean, for a game and for the world.

A leader is its network's parameters; what stands here is how they are read. A game on numbered
actions knows a policy by probabilities, one on continuous actions by the actions that it takes: its
own, or one that noise draws of it, differentiable in the outputs.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import Tensor

from algorithms import networks
from algorithms.distributions import (
    LOG_STD_RANGE,
    ActionDistribution,
    Categorical,
    ClippedNormal,
    Deterministic,
    TanhNormal,
)
from algorithms.networks import Network
from algorithms.objectives import negative_log_likelihood, weighted_mean
from bench.types import ActionKind, Batch, EnvSpec

LeaderName = Literal["categorical", "deterministic", "gaussian", "clipped_gaussian"]


class Leader(ABC):
    """How the outputs of a policy network ``[..., outputs]`` are read."""

    action_kind: ClassVar[ActionKind] = "continuous"
    draws: ClassVar[bool] = False
    """Whether a game needs noise to know what the policy does."""

    def network(
        self, spec: EnvSpec, hidden_sizes: tuple[int, ...], generator: torch.Generator
    ) -> Network:
        """Return a policy network in its initial state."""
        outputs = (1 + self.draws) * spec.action_size
        return networks.feed_forward((spec.observation_size, *hidden_sizes, outputs), generator)

    @abstractmethod
    def policy(self, outputs: Tensor) -> ActionDistribution:
        """Return the policy."""

    @abstractmethod
    def choices(self, outputs: Tensor, noise: Tensor | None) -> Tensor:
        """Return what a game knows of the policy at points, float64.

        Probabilities ``[points, num_actions]`` or actions ``[points, action_size]``.
        """

    @abstractmethod
    def surprise(self, outputs: Tensor, action: Tensor) -> Tensor:
        """Return what cloning makes small ``[batch]``, given the data's actions."""

    def cloning_loss(self, actor: Network, batch: Batch) -> Tensor:
        """Return how far the policy is from having taken the data's actions."""
        outputs = networks.apply(actor, batch.observation)
        return weighted_mean(self.surprise(outputs, batch.action), batch.weight)


class CategoricalLeader(Leader):
    """A softmax over numbered actions."""

    action_kind: ClassVar[ActionKind] = "discrete"

    def network(
        self, spec: EnvSpec, hidden_sizes: tuple[int, ...], generator: torch.Generator
    ) -> Network:
        """Return logits that are all but equal."""
        return networks.action_network(spec, hidden_sizes, generator)

    def policy(self, outputs: Tensor) -> Categorical:
        """Return the softmax of the outputs."""
        return Categorical(outputs)

    def choices(self, outputs: Tensor, noise: Tensor | None) -> Tensor:
        """Return the probabilities."""
        return outputs.double().softmax(-1)

    def surprise(self, outputs: Tensor, action: Tensor) -> Tensor:
        """Return the negative log-likelihood."""
        return negative_log_likelihood(outputs, action)


class DeterministicLeader(Leader):
    """The tanh of the outputs."""

    def policy(self, outputs: Tensor) -> Deterministic:
        """Return the one action."""
        return Deterministic(outputs.tanh())

    def choices(self, outputs: Tensor, noise: Tensor | None) -> Tensor:
        """Return the one action."""
        return outputs.double().tanh()

    def surprise(self, outputs: Tensor, action: Tensor) -> Tensor:
        """Return the squared error, a mean over dimensions."""
        return ((outputs.tanh() - action) ** 2).mean(-1)


class GaussianLeader(Leader):
    """The tanh of independent normal numbers, means first in the outputs."""

    draws: ClassVar[bool] = True

    def policy(self, outputs: Tensor) -> TanhNormal | ClippedNormal:
        """Return the distribution."""
        return TanhNormal.of(outputs)

    def choices(self, outputs: Tensor, noise: Tensor | None) -> Tensor:
        """Return one action for each point, drawn by noise of its shape; without noise the mode."""
        policy = self.policy(outputs.double())
        return policy.mode() if noise is None else policy.sample(noise.double())

    def surprise(self, outputs: Tensor, action: Tensor) -> Tensor:
        """Return the negative log-likelihood."""
        return -self.policy(outputs).log_prob(action)


class ClippedGaussianLeader(GaussianLeader):
    """Independent normal numbers around the tanh of the outputs' first half, clipped to the box.

    A tanh of normal numbers takes a bound for a place far out, where it is flat: whoever clones
    actions of which some are at a bound by its likelihood is late and off.
    """

    def policy(self, outputs: Tensor) -> ClippedNormal:
        """Return the distribution."""
        mean, log_std = outputs.chunk(2, -1)
        return ClippedNormal(mean.tanh(), log_std.clamp(*LOG_STD_RANGE))


LEADERS: dict[LeaderName, Leader] = {
    "categorical": CategoricalLeader(),
    "deterministic": DeterministicLeader(),
    "gaussian": GaussianLeader(),
    "clipped_gaussian": ClippedGaussianLeader(),
}
