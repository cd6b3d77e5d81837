"""Conservative Q-learning in JAX: the update of algorithms/continuous/cql.py."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from bench.peers.pieces import (
    adam,
    apply,
    bellman_target,
    moved,
    polyak_average,
    standard_normal,
    values,
)
from bench.peers.transitions import Transitions

OPTIMIZED = {
    "actor.optimizer": "actor.network",
    "actor.entropy_optimizer": "actor.log_entropy_weight",
    "critic_optimizer": "critics",
}


def sample(actor: Any, observation: Any, uniform: Any) -> tuple[Any, Any]:
    """Return actions of the policy ``[..., action_size]`` and their log-densities ``[...]``."""
    mean, log_std = jnp.split(apply(actor, observation), 2, -1)
    log_std = jnp.clip(log_std, -5.0, 2.0)
    normal = standard_normal(uniform)
    before = mean + jnp.exp(log_std) * normal
    density = -0.5 * normal**2 - log_std - 0.5 * math.log(2 * math.pi)
    squashing = 2 * (math.log(2) - before - jax.nn.softplus(-2 * before))
    return jnp.tanh(before), (density - squashing).sum(-1)


def update(
    algorithm: Any, state: Any, batch: Transitions, noise: Any, phase: int
) -> tuple[Any, Any]:
    """Return the state after one update and the loss of the critics before it."""
    here, size = batch.observation, batch.action.shape[-1]
    action, _ = sample(state.actor.network, batch.next_observation, noise["target"])
    following = values(state.target_critics, batch.next_observation, action).min(0)
    target = bellman_target(batch, following, algorithm.discount)

    uniform = 2 * noise["uniform"] - 1, jnp.full(noise["uniform"].shape[:-1], -size * math.log(2))
    of_here = sample(state.actor.network, here, noise["here"])
    of_next = sample(state.actor.network, batch.next_observation, noise["next"])
    tried, density = map(jnp.concatenate, zip(uniform, of_here, of_next, strict=True))
    count = len(tried)

    def critic_loss(critics: Any) -> Any:
        value = values(critics, here, batch.action)
        everywhere = jnp.broadcast_to(here, (count, *here.shape)).reshape(-1, here.shape[-1])
        elsewhere = values(critics, everywhere, tried.reshape(-1, size))
        elsewhere = elsewhere.reshape(2, count, -1) - density
        penalty = jax.nn.logsumexp(elsewhere, 1) - value
        return ((value - target) ** 2 + algorithm.conservatism * penalty).sum(0).mean()

    def actor_loss(actor: Any) -> Any:
        action, log_prob = sample(actor, here, noise["actor"])
        value = values(state.critics, here, action).min(0)
        return (jnp.exp(state.actor.log_entropy_weight) * log_prob - value).mean(), log_prob.mean()

    critics, critic_optimizer, loss = adam(
        critic_loss, state.critics, state.critic_optimizer, algorithm.learning_rate
    )
    rate = algorithm.actor_learning_rate
    (_, log_prob), gradient = jax.value_and_grad(actor_loss, has_aux=True)(state.actor.network)
    network, optimizer = moved(gradient, state.actor.network, state.actor.optimizer, rate)
    weight, entropy_optimizer = moved(
        size - log_prob, state.actor.log_entropy_weight, state.actor.entropy_optimizer, rate
    )
    state = state._replace(
        actor=type(state.actor)(network, weight, optimizer, entropy_optimizer),
        critics=critics,
        target_critics=polyak_average(state.target_critics, critics, algorithm.polyak),
        critic_optimizer=critic_optimizer,
    )
    return state, loss
