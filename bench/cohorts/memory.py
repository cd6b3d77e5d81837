"""How many runs fit into memory together."""

import ctypes
import math
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from bench.cohorts import draws
from bench.cohorts import noise as noises
from bench.cohorts.cohort import Cohort
from bench.settings.sizes import largest_table, memory_here

# Of the whole memory, not of what happens to be free: the same command should make the same
# cohorts. The other half is for datasets, the interpreter and everybody else.
SHARE = 0.5
# Parameters before and after an update, their gradients, and a temporary of the optimiser.
COPIES_OF_STATE = 4
# Forward and backward activations of the few networks that an update evaluates on a batch.
COPIES_OF_ACTIVATIONS = 8
# Beside its observations: action, reward and the like, their places, and what was drawn for them.
NUMBERS_OF_ROW = 12
# Of the C library's `mallopt`, by its numbers: from which size on memory is the system's own, and
# how much may be free before it is given back.
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
LARGEST, HALF_A_HEAP = 2**31 - 1, 2**25


def budget(device: str, sharers: int) -> int:
    """Return the bytes that a cohort may take where `sharers` processes share the memory."""
    on_gpu = device == "cuda"
    total = torch.cuda.get_device_properties(0).total_memory if on_gpu else memory_here()
    return int(total * SHARE / sharers)


def keep_what_is_freed() -> None:
    """Let this process keep the memory of freed tensors, where the C library can be told so.

    An update frees what the next one asks for again. Given back to the system, each page of it is
    cleared and mapped anew at every update, which took a tenth of the time of wide cohorts.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    # Older libraries take no more than half of a heap. Told the second alone they would give all
    # larger memory back at once.
    if mallopt(MMAP_THRESHOLD, LARGEST) or mallopt(MMAP_THRESHOLD, HALF_A_HEAP):
        mallopt(TRIM_THRESHOLD, LARGEST)


def bytes_per_run(cohort: Cohort) -> int:
    """Return an estimate of what one more run like those of the cohort takes in training.

    Rather too much: 1.7 to 2.6 times what was measured for networks of width 64 and 256.
    """
    runs = cohort.num_runs
    state = sum(map(_bytes, _tensors(cohort.state)))
    summary = sum(map(_bytes, _tensors(cohort.summary))) + _tables(cohort)
    replay = cohort.replay
    rows = replay.batch_size * replay.num_minibatches
    width = cohort.spec.observation_size if cohort.encoder.standardises else 2
    batch = rows * 4 * (3 * width + NUMBERS_OF_ROW)
    own_rows = _bytes(replay.rows)
    drawn = 0 if replay.full else 2 * max(rows, draws.BLOCK) * 4
    layers = (leaf for leaf in _tensors(cohort.state) if leaf.dim() > 2)
    activations = rows * 4 * sum(leaf.shape[-1] for leaf in layers)
    asked = max(cohort.noise.sizes)
    # As drawn, and by update.
    noise = 2 * 4 * max(asked, noises.BLOCK) if asked else 0
    # Calls that are replayed hold their states and activations in memory of their own, and what
    # each of their updates is given.
    number = cohort.updates_at_once
    replayed = 0
    if number > 1:
        replayed = 3 * state // runs + COPIES_OF_ACTIVATIONS * activations
        replayed += number * 4 * (asked + (0 if replay.full else 2 * rows))
    return (
        (COPIES_OF_STATE * state + 4 * summary + own_rows) // runs
        + 2 * batch
        + drawn
        + COPIES_OF_ACTIVATIONS * activations
        + noise
        + replayed
    )


def _tables(cohort: Cohort) -> int:
    """Return the bytes of the tables that learners make of counts, transitions and rewards."""
    if cohort.summary.tabular is None:
        return 0
    runs, states, actions = cohort.summary.tabular.termination_counts.shape
    shape = largest_table(cohort.algorithm, (states, actions))
    return 2 * 4 * runs * math.prod(size for _, size in shape) if shape else 0


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
