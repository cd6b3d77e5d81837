"""Runs trained by an update in JAX: scanned, vmapped, their data where the arithmetic is.

They begin with the networks of a cohort of ours and draw their own minibatches and noise, by JAX's
generator.
"""

from functools import partial
from operator import attrgetter
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from torch import Tensor
from torch.utils._pytree import tree_map_only

from algorithms.base import Algorithm
from bench.cohorts.cohort import Cohort
from bench.peers.transitions import Transitions


class JaxRuns:
    """The runs of a cohort, trained by other code."""

    def __init__(
        self,
        peer: ModuleType,
        algorithm: Algorithm,
        cohort: Cohort,
        data: Transitions,
        batch_size: int,
    ):
        """Take the file of the update, its settings, whose networks to begin with, and the data."""
        self.state = initial(peer, cohort.state)
        shapes = algorithm.noise_shapes(cohort.spec, batch_size)
        self.data = jax.tree.map(jnp.asarray, data)
        self.keys = jax.random.split(jax.random.key(0), cohort.num_runs)
        # A learner of which every other update is another one has them written out in turn.
        self.cycle = getattr(algorithm, "policy_interval", 1)

        def some(number: int, state: Any, key: Any, data: Transitions) -> Any:
            def turn(state: Any, key: Any) -> tuple[Any, Any]:
                losses = []
                for step, own in enumerate(jax.random.split(key, self.cycle)):
                    rows, *others = jax.random.split(own, 1 + len(shapes))
                    at = jax.random.randint(rows, (batch_size,), 0, len(data.reward))
                    batch = Transitions(*(column[at] for column in data))
                    noise = {
                        name: jax.random.uniform(noise_key, shape)
                        for (name, shape), noise_key in zip(shapes.items(), others, strict=True)
                    }
                    phase = algorithm.phase(step)
                    state, loss = peer.update(algorithm, state, batch, noise, phase)
                    losses.append(loss)
                return state, jnp.stack(losses)

            key, own = jax.random.split(key)
            state, losses = jax.lax.scan(turn, state, jax.random.split(own, number // self.cycle))
            return state, key, losses.reshape(-1)

        def all_runs(number: int, state: Any, keys: Any, data: Transitions) -> Any:
            return jax.vmap(partial(some, number), (0, 0, None))(state, keys, data)

        self._train = jax.jit(all_runs, static_argnums=0, donate_argnums=1)

    def train(self, number: int) -> np.ndarray:
        """Make updates, a multiple of `cycle`; return the losses before each ``[run, number]``."""
        self.state, self.keys, losses = self._train(number, self.state, self.keys, self.data)
        return np.asarray(losses)


def initial(peer: ModuleType, state: Any) -> Any:
    """Return a cohort's state ``[run, ...]`` with optax's optimizers instead of ours."""
    arrays = tree_map_only(Tensor, lambda leaf: jnp.asarray(leaf.numpy(force=True)), state)
    start = jax.vmap(optax.adam(0.0).init)
    for optimizer, of in peer.OPTIMIZED.items():
        arrays = _replaced(arrays, optimizer.split("."), start(attrgetter(of)(arrays)))
    return arrays


def _replaced(state: Any, path: list[str], new: Any) -> Any:
    """Return nested named tuples with another value where a path of names leads."""
    name, *inner = path
    return state._replace(**{name: _replaced(getattr(state, name), inner, new) if inner else new})
