"""The actor of soft actor-critic (Haarnoja et al. 2018), for learners that differ in their critics.

    loss = E[ w log pi(b|s) - value(s, b) ],   b ~ pi(s)
    w:     tuned so that the entropy becomes minus the number of dimensions of an action

What of its critics a learner believes is its own: the lowest, the first, with or without entropy.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import entropy, networks
from algorithms.distributions import TanhNormal
from algorithms.networks import Network
from algorithms.objectives import weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import Batch, EnvSpec


class SoftActor(NamedTuple):
    """A tanh-normal policy, the logarithm of its entropy's weight, and what moves both."""

    network: Network
    log_entropy_weight: Tensor
    optimizer: AdamState
    entropy_optimizer: AdamState

    def policy(self, observation: Tensor) -> TanhNormal:
        """Return the distribution of actions at observations ``[..., observation_size]``."""
        return policy(self.network, observation)


def new_actor(
    spec: EnvSpec,
    hidden_sizes: tuple[int, ...],
    log_entropy_weight: float,
    generator: torch.Generator,
) -> SoftActor:
    """Return an actor of a random network."""
    sizes = (spec.observation_size, *hidden_sizes, 2 * spec.action_size)
    network = networks.feed_forward(sizes, generator)
    weight = torch.full((), float(log_entropy_weight))
    return SoftActor(network, weight, adam_init(network), adam_init(weight))


def policy(network: Network, observation: Tensor) -> TanhNormal:
    """Return the policy of a network whose outputs are means and log-stds."""
    return TanhNormal.of(networks.apply(network, observation))


def improved(
    actor: SoftActor,
    value: Callable[[Tensor], Tensor],
    batch: Batch,
    noise: Tensor,
    learning_rate: float | Tensor,
) -> tuple[SoftActor, Tensor]:
    """Return the actor after one Adam step of it and of its entropy's weight.

    Args:
        actor: Before it.
        value: Of actions ``[batch, action_size]`` at the batch's observations, ``[batch]``.
        batch: Whose weights are those of the mean.
        noise: Uniform, ``[batch, action_size]``.
        learning_rate: Of both steps.

    Returns:
        The actor, and the mean log-density ``[]`` of the actions drawn from what it was before.
    """

    def loss(network: Network) -> tuple[Tensor, Tensor]:
        action, log_prob = policy(network, batch.observation).sample_with_log_prob(noise)
        lost = actor.log_entropy_weight.exp() * log_prob - value(action)
        return weighted_mean(lost, batch.weight), weighted_mean(log_prob, batch.weight)

    gradient, log_prob = torch.func.grad(loss, has_aux=True)(actor.network)
    network, optimizer = adam(gradient, actor.optimizer, actor.network, learning_rate)
    wanted = -batch.action.shape[-1]
    weight, entropy_optimizer = entropy.tuned(
        actor.log_entropy_weight, -log_prob, wanted, actor.entropy_optimizer, learning_rate
    )
    return SoftActor(network, weight, optimizer, entropy_optimizer), log_prob
