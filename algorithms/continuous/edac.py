"""SAC-N and EDAC (An et al. 2021): soft actor-critic that believes the lowest of many critics.

    critics: loss = sum_i E_data[ (y - Q_i(s, a))^2 ] + penalty,   i = 1 .. N = `num_critics`
             y    = r + discount (1 - terminated) (min_i Q_target_i(s', b) - w log pi(b|s'))
    actor:   loss = E_data[ w log pi(c|s) - min_i Q_i(s, c) ],   b ~ pi(s'), c ~ pi(s)
    w:       tuned so that the entropy becomes minus the number of dimensions
    penalty: diversity E_data[ sum_{i != j} g_i . g_j ] / (N - 1)                (equation 5)
             g_i = the direction of d Q_i(s, a) / d a, of length 1

The minimum over N critics of normal errors lies by nearly sqrt(2 log N) standard deviations below
their mean: critics differ where data says little, so N is how pessimistic this is. With aligned
directions all critics rise together off the data, and their minimum with them; EDAC keeps them
apart and needs fewer. Without `diversity` it is SAC-N. As in the authors' code the sum is divided
by N - 1, which is N times the paper's mean, since critics' errors are summed as well.

Differences from the paper: rewards are scaled by the world (`objectives.reward_scale`).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import critics as ensembles
from algorithms import entropy, networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import TanhNormal
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


class State(NamedTuple):
    """Actor, weight of its entropy, critics, what moves them, and the scale of rewards."""

    actor: Network
    log_entropy_weight: Tensor
    critics: Network
    target_critics: Network
    actor_optimizer: AdamState
    entropy_optimizer: AdamState
    critic_optimizer: AdamState
    reward_scale: Tensor


@dataclass(frozen=True)
class EnsembleSAC(Algorithm):
    """Soft actor-critic against the lowest of `num_critics`, which may be kept apart."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    num_critics: Count
    initial_log_entropy_weight: float
    polyak: PositiveFraction
    diversity: NonNegative | None

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def __post_init__(self) -> None:
        """Refuse a single critic that is to be kept apart.

        Raises:
            ValueError: With what would be right.
        """
        if self.num_critics == 1 and self.diversity is not None:
            raise ValueError("diversity needs num_critics of 2 or more to keep apart, or be null")

    def noise_shapes(self, spec: EnvSpec, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the noise in the policy's actions."""
        return dict.fromkeys(("actor", "target"), (batch_size, spec.action_size))

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return random networks, the slow critics equal to the others."""
        sizes = (spec.observation_size, *self.hidden_sizes, 2 * spec.action_size)
        actor = networks.feed_forward(sizes, generator)
        critics = ensembles.ensemble(spec, self.hidden_sizes, generator, self.num_critics)
        weight = torch.full((), float(self.initial_log_entropy_weight))
        optimizers = adam_init(actor), adam_init(weight), adam_init(critics)
        return State(actor, weight, critics, critics, *optimizers, reward_scale(spec))

    def target(self, state: State, batch: Batch, noise: Tensor) -> Tensor:
        """Return what all critics are fitted to ``[batch]``, for uniform noise."""
        policy = _policy(state.actor, batch.next_observation)
        following, log_prob = policy.sample_with_log_prob(noise)
        values = ensembles.values(state.target_critics, batch.next_observation, following)
        value = values.amin(0) - state.log_entropy_weight.exp() * log_prob
        return bellman_target(batch, value, self.discount)

    def penalty(self, critics: Network, batch: Batch) -> Tensor:
        """Return how aligned the critics' slopes are, times `diversity`, ``[]``."""
        if self.diversity is None:
            return torch.zeros_like(batch.reward[0])
        # Each critic has actions of its own, so that one derivative has all of their slopes.
        observation, action = (
            x.expand(self.num_critics, *x.shape) for x in (batch.observation, batch.action)
        )

        def total(action: Tensor) -> Tensor:
            return ensembles.values(critics, observation, action).sum()

        slopes = torch.func.grad(total)(action)
        size = (slopes**2).sum(-1, keepdim=True).clamp_min(1e-20).sqrt()
        unit = slopes / size
        # sum over i != j of g_i . g_j is what is left of |sum_i g_i|^2.
        aligned = (unit.sum(0) ** 2).sum(-1) - (unit**2).sum((0, -1))
        return self.diversity * weighted_mean(aligned, batch.weight) / (self.num_critics - 1)

    def critic_loss(self, critics: Network, target: Tensor, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return all critics' mean squared errors, summed, and the penalty."""
        values = ensembles.values(critics, batch.observation, batch.action)
        bellman = weighted_mean(((values - target) ** 2).sum(0), batch.weight)
        penalty = self.penalty(critics, batch)
        metrics = {
            "bellman_loss": bellman,
            "penalty": penalty,
            "value": weighted_mean(values.mean(0), batch.weight),
            "disagreement": weighted_mean(values.std(0, correction=0), batch.weight),
        }
        return bellman + penalty, metrics

    def actor_loss(
        self, actor: Network, state: State, batch: Batch, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the entropy's worth less the value of the policy, and its mean log-density."""
        action, log_prob = _policy(actor, batch.observation).sample_with_log_prob(noise)
        value = ensembles.values(state.critics, batch.observation, action).amin(0)
        loss = state.log_entropy_weight.exp() * log_prob - value
        return weighted_mean(loss, batch.weight), weighted_mean(log_prob, batch.weight)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step each, all of them from the state as it is."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        target = self.target(state, batch, noise["target"])
        gradient, metrics = torch.func.grad(self.critic_loss, has_aux=True)(
            state.critics, target, batch
        )
        critics, critic_optimizer = adam(
            gradient, state.critic_optimizer, state.critics, self.learning_rate
        )
        gradient, log_prob = torch.func.grad(self.actor_loss, has_aux=True)(
            state.actor, state, batch, noise["actor"]
        )
        actor, actor_optimizer = adam(
            gradient, state.actor_optimizer, state.actor, self.learning_rate
        )
        size = batch.action.shape[-1]
        weight, entropy_optimizer = entropy.tuned(
            state.log_entropy_weight, -log_prob, -size, state.entropy_optimizer, self.learning_rate
        )
        target_critics = networks.polyak_average(state.target_critics, critics, self.polyak)
        metrics |= {
            "value": metrics["value"] / state.reward_scale,
            "disagreement": metrics["disagreement"] / state.reward_scale,
            "entropy": -log_prob,
            "entropy_weight": weight.exp(),
        }
        optimizers = actor_optimizer, entropy_optimizer, critic_optimizer
        scale = state.reward_scale
        return State(actor, weight, critics, target_critics, *optimizers, scale), metrics

    def policy(self, state: State, observation: Tensor) -> TanhNormal:
        """Return the actor."""
        return _policy(state.actor, observation)


def _policy(actor: Network, observation: Tensor) -> TanhNormal:
    return TanhNormal.of(networks.apply(actor, observation))
