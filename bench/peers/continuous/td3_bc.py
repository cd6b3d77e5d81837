"""TD3+BC in JAX: the update of algorithms/continuous/td3_bc.py."""

from typing import Any

import jax
import jax.numpy as jnp

from bench.peers.pieces import (
    adam,
    apply,
    bellman_target,
    polyak_average,
    standard_normal,
    values,
)
from bench.peers.transitions import Transitions

OPTIMIZED = {"actor_optimizer": "actor", "critic_optimizer": "critics"}


def update(
    algorithm: Any, state: Any, batch: Transitions, noise: Any, phase: int
) -> tuple[Any, Any]:
    """Return the state after one update and the loss of the critics before it."""
    rate, clip = algorithm.learning_rate, algorithm.noise_clip
    drawn = algorithm.policy_noise * standard_normal(noise["target"])
    intended = jnp.tanh(apply(state.target_actor, batch.next_observation))
    action = jnp.clip(intended + jnp.clip(drawn, -clip, clip), -1, 1)
    following = values(state.target_critics, batch.next_observation, action).min(0)
    target = bellman_target(batch, following, algorithm.discount)

    def critic_loss(critics: Any) -> Any:
        error = values(critics, batch.observation, batch.action) - target
        return (error**2).sum(0).mean()

    critics, optimizer, loss = adam(critic_loss, state.critics, state.critic_optimizer, rate)
    state = state._replace(critics=critics, critic_optimizer=optimizer)
    if phase == 0:
        return state, loss

    def actor_loss(actor: Any) -> Any:
        action = jnp.tanh(apply(actor, batch.observation))
        first = jax.tree.map(lambda parameter: parameter[0], critics)
        value = values(first, batch.observation, action)
        weight = algorithm.alpha / jax.lax.stop_gradient(jnp.abs(value).mean())
        return ((action - batch.action) ** 2).mean() - weight * value.mean()

    actor, optimizer, _ = adam(actor_loss, state.actor, state.actor_optimizer, rate)
    state = state._replace(
        actor=actor,
        actor_optimizer=optimizer,
        target_actor=polyak_average(state.target_actor, actor, algorithm.polyak),
        target_critics=polyak_average(state.target_critics, critics, algorithm.polyak),
    )
    return state, loss
