"""Soft actor-critic (Haarnoja et al. 2018) as what CQL, EDAC and MOPO are built on.

critics: loss = sum_i E[ (y - Q_i(s, a))^2 ] + whatever a learner adds
actor:   loss = E[ w log pi(b|s) - min_i Q_i(s, b) ],   b ~ pi(s)
y:       r + discount (1 - terminated) (min_i Q_slow_i(s', a') - w log pi(a'|s')), or the learner's
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import critics as ensembles
from algorithms import networks
from algorithms.base import Metrics
from algorithms.networks import Network
from algorithms.objectives import bellman_target, reward_scale, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from algorithms.pieces.soft_actor import SoftActor, improved, new_actor
from bench.types import Batch, EnvSpec

# Of critics and their values [N, batch] of the data: what is added to their loss, and metrics, in
# place of those of the same name.
Addition = Callable[[Network, Tensor], tuple[Tensor | float, Metrics]]


class SoftActorCritic(NamedTuple):
    """Actor, critics with their slow copies and their optimiser, and the scale of rewards."""

    actor: SoftActor
    critics: Network
    target_critics: Network
    critic_optimizer: AdamState
    reward_scale: Tensor


def new_learner(
    spec: EnvSpec,
    hidden_sizes: tuple[int, ...],
    log_entropy_weight: float,
    generator: torch.Generator,
    num_critics: int = 2,
) -> SoftActorCritic:
    """Return random networks, the slow critics equal to the others."""
    actor = new_actor(spec, hidden_sizes, log_entropy_weight, generator)
    critics = ensembles.ensemble(spec, hidden_sizes, generator, num_critics)
    return SoftActorCritic(actor, critics, critics, adam_init(critics), reward_scale(spec))


def soft_target(
    learner: SoftActorCritic, batch: Batch, noise: Tensor, discount: float | Tensor
) -> Tensor:
    """Return ``y[batch]`` with the entropy in it, for uniform noise in the actions."""
    policy = learner.actor.policy(batch.next_observation)
    following, log_prob = policy.sample_with_log_prob(noise)
    values = ensembles.values(learner.target_critics, batch.next_observation, following)
    value = values.amin(0) - learner.actor.log_entropy_weight.exp() * log_prob
    return bellman_target(batch, value, discount)


def updated(
    learner: SoftActorCritic,
    target: Tensor,
    batch: Batch,
    noise: Tensor,
    rates: tuple[float | Tensor, float | Tensor],
    polyak: float | Tensor,
    addition: Addition,
) -> tuple[SoftActorCritic, Metrics]:
    """Return the learner after one Adam step of everything, all from what it was, and metrics.

    Args:
        learner: Before it.
        target: What all critics are fitted to, ``[batch]``.
        batch: Its rewards scaled.
        noise: Uniform, ``[batch, action_size]``, of the actor's actions.
        rates: Learning rates of the critics and of the actor.
        polyak: How far the slow critics follow.
        addition: To the critics' loss.
    """

    def critic_loss(critics: Network) -> tuple[Tensor, Metrics]:
        values = ensembles.values(critics, batch.observation, batch.action)
        bellman = weighted_mean(((values - target) ** 2).sum(0), batch.weight)
        added, told = addition(critics, values)
        value = weighted_mean(values.mean(0), batch.weight) / learner.reward_scale
        return bellman + added, {"bellman_loss": bellman, "value": value} | told

    def lowest(action: Tensor) -> Tensor:
        return ensembles.values(learner.critics, batch.observation, action).amin(0)

    gradient, metrics = torch.func.grad(critic_loss, has_aux=True)(learner.critics)
    critics, optimizer = adam(gradient, learner.critic_optimizer, learner.critics, rates[0])
    actor, log_prob = improved(learner.actor, lowest, batch, noise, rates[1])
    slow = networks.polyak_average(learner.target_critics, critics, polyak)
    metrics |= {"entropy": -log_prob, "entropy_weight": actor.log_entropy_weight.exp()}
    return SoftActorCritic(actor, critics, slow, optimizer, learner.reward_scale), metrics
