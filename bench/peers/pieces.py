"""What updates in JAX share: networks as nested tuples of arrays, laid out like ours, and Adam."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from bench.peers.transitions import Transitions


def apply(network: Any, x: Any) -> Any:
    """Return the output ``[..., out]``; of twins, whose weights are ``[2, in, out]``, of both."""
    *hidden, last = network
    for layer in hidden:
        x = jax.nn.relu(x @ layer["weight"] + layer["bias"])
    return x @ last["weight"] + last["bias"]


def values(critics: Any, observation: Any, action: Any) -> Any:
    """Return what critics of continuous actions say ``[2, batch]``, a single one ``[batch]``."""
    return apply(critics, jnp.concatenate([observation, action], -1))[..., 0]


def at_action(table: Any, action: Any) -> Any:
    """Return ``table[batch, actions]`` at ``action[batch]``; an index took a tenth longer."""
    return (table * jax.nn.one_hot(action, table.shape[-1])).sum(-1)


def bellman_target(batch: Transitions, following: Any, discount: float) -> Any:
    """Return ``r + discount (1 - terminated) following``."""
    return batch.reward + discount * (1 - batch.terminated) * following


def standard_normal(uniform: Any) -> Any:
    """Return normal numbers of uniform ones in [0, 1), by the inverse distribution."""
    largest = 1 - 2**-23
    return math.sqrt(2) * jax.lax.erf_inv(jnp.clip(2 * uniform - 1, -largest, largest))


def adam(
    loss: Callable[[Any], Any], parameters: Any, optimizer: Any, rate: float
) -> tuple[Any, Any, Any]:
    """Take one step down a loss; return parameters, Adam's state and the loss before it."""
    value, gradient = jax.value_and_grad(loss)(parameters)
    return *moved(gradient, parameters, optimizer, rate), value


def moved(gradient: Any, parameters: Any, optimizer: Any, rate: float) -> tuple[Any, Any]:
    """Return parameters and Adam's state after one step."""
    changes, optimizer = optax.adam(rate).update(gradient, optimizer)
    return optax.apply_updates(parameters, changes), optimizer


def polyak_average(target: Any, online: Any, polyak: float) -> Any:
    """Return ``target + polyak (online - target)``."""
    return optax.incremental_update(online, target, polyak)
