"""d3rlpy's own updates on the same data: networks, batch and candidate actions are of our sizes.

All else is d3rlpy's, its sampling of minibatches too, and so is what an update does: its settings
differ from ours, the arithmetic hardly. It trains one run at a time.
"""

import logging
from contextlib import redirect_stderr
from dataclasses import fields
from io import StringIO
from typing import Any, cast

import numpy as np

from algorithms.base import Algorithm
from bench.peers.transitions import Transitions

NAMES = {
    ("cql", "discrete"): "DiscreteCQLConfig",
    ("bcq", "discrete"): "DiscreteBCQConfig",
    ("td3_bc", "continuous"): "TD3PlusBCConfig",
    ("iql", "continuous"): "IQLConfig",
    ("cql", "continuous"): "CQLConfig",
}


class D3rlpyRun:
    """One run of d3rlpy's learner."""

    def __init__(self, name: str, algorithm: Algorithm, data: Transitions, batch_size: int):
        """Take the name of its settings' class, our learner and the data."""
        d3rlpy = _quiet()
        kind, ours = getattr(d3rlpy.algos, name), cast(Any, algorithm)
        encoder = d3rlpy.models.VectorEncoderFactory(list(ours.hidden_sizes))
        known = {field.name for field in fields(kind)}
        sized = {f: encoder for f in known if f.endswith("encoder_factory")}
        if "n_action_samples" in known and hasattr(ours, "num_actions"):
            sized["n_action_samples"] = ours.num_actions
        self.learner = kind(batch_size=batch_size, **sized).create(device=False)
        self.data, self.batch_size = dataset_of(data), batch_size
        self.learner.build_with_dataset(self.data)

    def train(self, number: int) -> None:
        """Make updates."""
        for _ in range(number):
            self.learner.update(self.data.sample_transition_batch(self.batch_size))


def _quiet() -> Any:
    """Return the package, which tells of every step that it takes, silenced."""
    # gym, which it imports, prints a page on being unmaintained.
    with redirect_stderr(StringIO()):
        import d3rlpy
    import structlog

    warnings_alone = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(wrapper_class=warnings_alone)
    return d3rlpy


def dataset_of(data: Transitions) -> Any:
    """Return the transitions as d3rlpy's episodes."""
    d3rlpy = _quiet()
    left = np.any(data.next_observation[:-1] != data.observation[1:], axis=1)
    ends = np.append(left, True)
    terminals = data.terminated
    return d3rlpy.dataset.MDPDataset(
        data.observation, data.action, data.reward, terminals, ends * (1 - terminals)
    )
