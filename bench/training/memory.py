"""How many runs fit into memory together."""

import os
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from bench.training.cohort import Cohort
from bench.training.replay import DRAWS_AHEAD

# Of the whole memory, not of what happens to be free: the same command should make the same
# cohorts. The other half is for datasets, the interpreter and everybody else.
SHARE = 0.5
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
# Parameters before and after an update, their gradients, and a temporary of the optimiser.
COPIES_OF_STATE = 4
# Forward and backward activations of the few networks that an update evaluates on a batch.
COPIES_OF_ACTIVATIONS = 4


def budget(device: str, sharers: int) -> int:
    """Return the bytes that a cohort may take where `sharers` processes share the memory."""
    if device == "cuda":
        total = torch.cuda.get_device_properties(0).total_memory
    else:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        total = min([total, *_container_limits()])
    return int(total * SHARE / sharers)


def bytes_per_run(cohort: Cohort) -> int:
    """Return an estimate of what one more run like those of the cohort takes in training.

    Rather too much: 1.7 to 2.6 times what was measured for networks of width 64 and 256.
    """
    runs = cohort.num_runs
    state = sum(map(_bytes, _tensors(cohort.state)))
    summary = sum(map(_bytes, _tensors(cohort.summary)))
    replay = cohort.replay
    rows = replay.batch_size * replay.num_minibatches
    own_columns = sum(map(_bytes, (replay.rows, *replay.run_columns.values())))
    sizes = (column[:1].numel() * 4 for column in replay.columns.values())
    # An observation of a discrete world arrives as one number and is one-hot in the batch.
    batch = rows * (sum(sizes) + 3 * cohort.spec.observation_size * 4)
    draws = 0 if replay.fixed is not None else DRAWS_AHEAD * 2 * rows * 8
    activations = rows * 4 * sum(leaf.shape[-1] for leaf in _tensors(cohort.state) if leaf.dim())
    noise = sum(4 * _count(shape) for shape in cohort.noise_shapes[0].values())
    return (
        (COPIES_OF_STATE * state + 2 * summary + own_columns) // runs
        + 2 * batch
        + draws
        + COPIES_OF_ACTIVATIONS * activations
        + noise
    )


def equal_parts(count: int, at_most: int) -> list[int]:
    """Return the sizes of as few consecutive parts as possible, equal up to one."""
    parts = -(-count // max(1, at_most))
    return [count * (i + 1) // parts - count * i // parts for i in range(parts)]


def _container_limits() -> list[int]:
    found = []
    for path in LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            found.append(int(text))
    return found


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _count(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
