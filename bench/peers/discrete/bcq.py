"""Batch-constrained Q-learning in JAX: the update of algorithms/bcq.py."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from bench.peers.pieces import adam, apply, at_action, bellman_target, polyak_average
from bench.peers.transitions import Transitions

OPTIMIZED = {"optimizer": "online"}


def update(
    algorithm: Any, state: Any, batch: Transitions, noise: Any, phase: int
) -> tuple[Any, Any]:
    """Return the state after one update and the loss before it."""
    online, next_observation = state.online, batch.next_observation
    logits = apply(online.imitation, next_observation)
    allowed = jnp.exp(logits - logits.max(-1, keepdims=True)) >= algorithm.threshold
    chosen = jnp.where(allowed, apply(online.critic, next_observation), -jnp.inf).argmax(-1)
    following = at_action(apply(state.target_critic, next_observation), chosen)
    target = bellman_target(batch, following, algorithm.discount)

    def loss(online: Any) -> Any:
        value = at_action(apply(online.critic, batch.observation), batch.action)
        logits = apply(online.imitation, batch.observation)
        cloning = jax.nn.logsumexp(logits, -1) - at_action(logits, batch.action)
        size = (logits**2).mean(-1)
        bellman = optax.huber_loss(value, target)
        return (bellman + cloning + algorithm.logit_penalty * size).mean()

    online, optimizer, value = adam(loss, online, state.optimizer, algorithm.learning_rate)
    target_critic = polyak_average(state.target_critic, online.critic, algorithm.polyak)
    return state._replace(online=online, target_critic=target_critic, optimizer=optimizer), value
