"""Implicit Q-learning in JAX: the update of algorithms/continuous/iql.py."""

import math
from typing import Any

import jax.numpy as jnp

from bench.peers.pieces import adam, apply, bellman_target, polyak_average, values
from bench.peers.transitions import Transitions

OPTIMIZED = {"actor_optimizer": "actor", "value_optimizer": "value", "critic_optimizer": "critics"}


def update(
    algorithm: Any, state: Any, batch: Transitions, noise: Any, phase: int
) -> tuple[Any, Any]:
    """Return the state after one update and the loss of the critics before it."""
    rate = algorithm.learning_rate
    known = values(state.target_critics, batch.observation, batch.action).min(0)

    def value_loss(value: Any) -> Any:
        difference = known - apply(value, batch.observation)[..., 0]
        weight = jnp.where(difference < 0, 1 - algorithm.expectile, algorithm.expectile)
        return (weight * difference**2).mean()

    value, value_optimizer, _ = adam(value_loss, state.value, state.value_optimizer, rate)
    advantage = known - apply(value, batch.observation)[..., 0]

    def actor_loss(actor: Any) -> Any:
        weight = jnp.minimum(jnp.exp(algorithm.inverse_temperature * advantage), 100.0)
        log_std = jnp.clip(actor.log_std, -5.0, 2.0)
        deviation = (batch.action - jnp.tanh(apply(actor.mean, batch.observation))) / jnp.exp(
            log_std
        )
        density = -0.5 * deviation**2 - log_std - 0.5 * math.log(2 * math.pi)
        return -(weight * density.sum(-1)).mean()

    actor, actor_optimizer, _ = adam(actor_loss, state.actor, state.actor_optimizer, rate)
    following = apply(value, batch.next_observation)[..., 0]
    target = bellman_target(batch, following, algorithm.discount)

    def critic_loss(critics: Any) -> Any:
        error = values(critics, batch.observation, batch.action) - target
        return (error**2).sum(0).mean()

    critics, optimizer, loss = adam(critic_loss, state.critics, state.critic_optimizer, rate)
    state = state._replace(
        actor=actor,
        value=value,
        critics=critics,
        target_critics=polyak_average(state.target_critics, critics, algorithm.polyak),
        actor_optimizer=actor_optimizer,
        value_optimizer=value_optimizer,
        critic_optimizer=optimizer,
    )
    return state, loss
