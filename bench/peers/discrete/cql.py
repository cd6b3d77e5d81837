"""Conservative Q-learning in JAX: the update of algorithms/cql.py."""

from typing import Any

import jax
import optax

from bench.peers.pieces import adam, apply, at_action, bellman_target, polyak_average
from bench.peers.transitions import Transitions

OPTIMIZED = {"optimizer": "critic"}


def update(
    algorithm: Any, state: Any, batch: Transitions, noise: Any, phase: int
) -> tuple[Any, Any]:
    """Return the state after one update and the loss before it."""
    chosen = apply(state.critic, batch.next_observation).argmax(-1)
    following = at_action(apply(state.target_critic, batch.next_observation), chosen)
    target = bellman_target(batch, following, algorithm.discount)

    def loss(critic: Any) -> Any:
        values = apply(critic, batch.observation)
        value = at_action(values, batch.action)
        penalty = jax.nn.logsumexp(values, -1) - value
        return (optax.huber_loss(value, target) + algorithm.conservatism * penalty).mean()

    critic, optimizer, value = adam(loss, state.critic, state.optimizer, algorithm.learning_rate)
    target_critic = polyak_average(state.target_critic, critic, algorithm.polyak)
    return state._replace(critic=critic, target_critic=target_critic, optimizer=optimizer), value
