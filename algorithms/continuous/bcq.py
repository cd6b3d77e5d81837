"""Batch-constrained Q-learning for continuous actions (Fujimoto et al. 2019, Algorithm 1).

    generator:    loss = E_data[ mean (a - D(s, z))^2 ] + kl_weight KL(z | s, a || N(0, 1)),
                  z ~ N(m, s^2) with m, s = E(s, a)
    perturbed:    c(s, z) = clip(b + perturbation tanh(X(s, b))),   b = D(s, z), |z| <= .5
    critics:      loss = sum_i E_data[ (y - Q_i(s, a))^2 ]
                  y = r + discount (1 - terminated) max over `num_target_actions` z of
                      smaller_weight min_i Q_target_i + (1 - smaller_weight) max_i Q_target_i
                  at (s', c_target(s', z))
    perturbation: loss = -E_data[ Q_1(s, c(s, z)) ]

It acts by the best of `num_actions` candidates c(s, z) for Q_1. KL is a mean over latent
dimensions, as in the authors' code.

Differences from the paper: the candidates' latents are drawn once, so that the policy is a
function of the observation; rewards are scaled by the world (`objectives.reward_scale`).
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
    Fraction,
    NonNegative,
    Positive,
    PositiveFraction,
)

# Of the encoder's log-std; of latents that actions are made of; of latents per action dimension.
LOG_STD_RANGE, LARGEST_LATENT, LATENTS = (-4.0, 15.0), 0.5, 2


class Generator(NamedTuple):
    """The variational autoencoder of the data's actions."""

    encoder: Network
    decoder: Network


class State(NamedTuple):
    """What is trained, the slow copies, the optimisers, latents to act by, scale of rewards."""

    generator: Generator
    perturbation: Network
    target_perturbation: Network
    critics: Network
    target_critics: Network
    generator_optimizer: AdamState
    perturbation_optimizer: AdamState
    critic_optimizer: AdamState
    latents: Tensor
    reward_scale: Tensor


@dataclass(frozen=True)
class BatchConstrainedQLearning(Algorithm):
    """The best of what a generator of the data's actions makes, a little perturbed."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    generator_sizes: tuple[Count, ...]
    perturbation: NonNegative
    num_actions: Count
    num_target_actions: Count
    smaller_weight: Fraction
    kl_weight: NonNegative
    polyak: PositiveFraction

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def noise_shapes(self, spec: EnvSpec, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the latents' noise."""
        one = (batch_size, LATENTS * spec.action_size)
        return {"encoder": one, "actor": one, "target": (self.num_target_actions, *one)}

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return random networks, the slow copies equal to them, and latents to act by."""
        size, latents = spec.observation_size + spec.action_size, LATENTS * spec.action_size
        decoded = (spec.observation_size + latents, *self.generator_sizes, spec.action_size)
        vae = Generator(
            networks.feed_forward((size, *self.generator_sizes, 2 * latents), generator),
            networks.feed_forward(decoded, generator),
        )
        perturbed = (size, *self.hidden_sizes, spec.action_size)
        perturbation = networks.feed_forward(perturbed, generator)
        critics = twins.twin_critics(spec, self.hidden_sizes, generator)
        optimizers = adam_init(vae), adam_init(perturbation), adam_init(critics)
        drawn = standard_normal(torch.rand(self.num_actions, latents, generator=generator))
        scale = reward_scale(spec)
        return State(
            vae, perturbation, perturbation, critics, critics, *optimizers, clipped(drawn), scale
        )

    def generator_loss(self, vae: Generator, batch: Batch, noise: Tensor) -> Tensor:
        """Return the error of reproduced actions plus what the latents tell, for uniform noise."""
        pair = torch.cat([batch.observation, batch.action], -1)
        mean, log_std = networks.apply(vae.encoder, pair).chunk(2, -1)
        log_std = log_std.clamp(*LOG_STD_RANGE)
        latent = mean + log_std.exp() * standard_normal(noise)
        error = (decoded(vae, batch.observation, latent) - batch.action) ** 2
        told = -0.5 * (1 + 2 * log_std - mean**2 - (2 * log_std).exp())
        return weighted_mean(error.mean(-1) + self.kl_weight * told.mean(-1), batch.weight)

    def candidates(
        self, vae: Generator, perturbation: Network, observation: Tensor, latent: Tensor
    ) -> Tensor:
        """Return perturbed actions ``[..., action_size]`` of observations and clipped latents."""
        action = decoded(vae, observation, latent)
        moved = networks.apply(perturbation, torch.cat([observation, action], -1)).tanh()
        return (action + self.perturbation * moved).clamp(-1, 1)

    def target(self, state: State, batch: Batch, noise: Tensor) -> Tensor:
        """Return what both critics are fitted to ``[batch]``, for uniform noise."""
        latent = clipped(standard_normal(noise))
        observation = batch.next_observation.expand(*latent.shape[:-1], -1)
        tried = self.candidates(state.generator, state.target_perturbation, observation, latent)
        values = twins.values_of_several(state.target_critics, batch.next_observation, tried)
        smaller, larger = values.amin(0), values.amax(0)
        value = torch.lerp(larger, smaller, self.smaller_weight).amax(0)
        return bellman_target(batch, value, self.discount)

    def critic_loss(self, critics: Network, target: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return both critics' mean squared errors, summed, and their values ``[2, batch]``."""
        values = twins.values(critics, batch.observation, batch.action)
        return weighted_mean(((values - target) ** 2).sum(0), batch.weight), values

    def perturbation_loss(
        self, perturbation: Network, vae: Generator, critics: Network, batch: Batch, noise: Tensor
    ) -> Tensor:
        """Return the first critic's value of perturbed actions, negated, for uniform noise."""
        latent = clipped(standard_normal(noise))
        action = self.candidates(vae, perturbation, batch.observation, latent)
        value = twins.values(twins.first(critics), batch.observation, action)
        return -weighted_mean(value, batch.weight)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of generator, critics and perturbation, in this order."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        rate = self.learning_rate
        gradient, generator_loss = torch.func.grad_and_value(self.generator_loss)(
            state.generator, batch, noise["encoder"]
        )
        vae, generator_optimizer = adam(gradient, state.generator_optimizer, state.generator, rate)
        target = self.target(state._replace(generator=vae), batch, noise["target"])
        gradient, (loss, values) = torch.func.grad_and_value(self.critic_loss, has_aux=True)(
            state.critics, target, batch
        )
        critics, critic_optimizer = adam(gradient, state.critic_optimizer, state.critics, rate)
        gradient = torch.func.grad(self.perturbation_loss)(
            state.perturbation, vae, critics, batch, noise["actor"]
        )
        perturbation, perturbation_optimizer = adam(
            gradient, state.perturbation_optimizer, state.perturbation, rate
        )
        metrics = {
            "generator_loss": generator_loss,
            "bellman_loss": loss,
            "value": weighted_mean(values.mean(0), batch.weight) / state.reward_scale,
        }
        new = state._replace(
            generator=vae,
            perturbation=perturbation,
            target_perturbation=networks.polyak_average(
                state.target_perturbation, perturbation, self.polyak
            ),
            critics=critics,
            target_critics=networks.polyak_average(state.target_critics, critics, self.polyak),
            generator_optimizer=generator_optimizer,
            perturbation_optimizer=perturbation_optimizer,
            critic_optimizer=critic_optimizer,
        )
        return new, metrics

    def policy(self, state: State, observation: Tensor) -> Deterministic:
        """Return the best of the candidates."""
        flat = observation.reshape(-1, observation.shape[-1])
        latent = state.latents.unsqueeze(1).expand(-1, len(flat), -1)
        repeated = flat.expand(len(latent), -1, -1)
        tried = self.candidates(state.generator, state.perturbation, repeated, latent)
        values = twins.values_of_several(twins.first(state.critics), flat, tried)
        best = values.argmax(0).reshape(1, -1, 1).expand(1, -1, tried.shape[-1])
        action = tried.gather(0, best).squeeze(0)
        return Deterministic(action.reshape(*observation.shape[:-1], -1))


def clipped(latent: Tensor) -> Tensor:
    """Return latents that are likely enough to stand for actions of the data."""
    return latent.clamp(-LARGEST_LATENT, LARGEST_LATENT)


def decoded(vae: Generator, observation: Tensor, latent: Tensor) -> Tensor:
    """Return the actions ``[..., action_size]`` that a generator makes of latents."""
    return networks.apply(vae.decoder, torch.cat([observation, latent], -1)).tanh()
