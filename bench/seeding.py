"""Named random streams; the only place where seeds are derived.

Every stream is a function of its name and its keys alone. Nothing draws from a global generator,
so how often a run logs or evaluates cannot change its result, and the same seed gives the same
dataset draw, initial networks and evaluation episodes to every algorithm that is compared.
"""

import hashlib
import json
from typing import Literal

import numpy as np
import torch

Stream = Literal[
    "instance",
    "collect",
    "behavior",
    "degrade",
    "summary",
    "init",
    "minibatch",
    "noise",
    "evaluation",
    "coverage",
    "value_estimates",
]


def derive(stream: Stream, *keys: int | str) -> int:
    """Return the 63-bit seed of a stream; different names or keys give unrelated seeds."""
    # JSON tells 1 from "1" and quotes what a key might contain.
    text = json.dumps([stream, *keys])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(stream: Stream, *keys: int | str) -> np.random.Generator:
    """Return a fresh numpy generator of the stream."""
    return np.random.default_rng(derive(stream, *keys))


def torch_generator(stream: Stream, *keys: int | str) -> torch.Generator:
    """Return a fresh torch generator of the stream, on the CPU whatever the device of a run."""
    return torch.Generator().manual_seed(derive(stream, *keys))
