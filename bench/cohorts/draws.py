"""Draws: whole numbers for every run, by seed, stream and update; no order of asking matters."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bench import seeding

BITS = 31
# Numbers of a seed and stream that are made at a time. Part of what a seed means.
BLOCK = 2**14

Stream = Literal["row", "initial"]


class Draws:
    """Uniform whole numbers below 2^31, as many per update as a minibatch has transitions."""

    def __init__(self, seeds: list[int], count: int, device: torch.device):
        """Take the seed of each run and how many numbers of a stream an update needs."""
        self.seeds, self.count, self.device = list(dict.fromkeys(seeds)), count, device
        self.of_run = torch.tensor([self.seeds.index(seed) for seed in seeds], device=device)
        self.updates = max(1, BLOCK // max(1, count))
        self._blocks: dict[str, tuple[int, Tensor]] = {}

    def at(self, stream: Stream, step: int) -> Tensor:
        """Return an update's numbers ``[seed, count]``, int32; updates are counted from 0."""
        number, position = divmod(step, self.updates)
        known = self._blocks.get(stream)
        if known is None or known[0] != number:
            known = self._blocks[stream] = number, self._block(stream, number)
        return known[1][position]

    def _block(self, stream: Stream, number: int) -> Tensor:
        size = self.updates * self.count
        drawn = np.empty((self.updates, len(self.seeds), self.count), dtype=np.int32)
        for index, seed in enumerate(self.seeds):
            generator = seeding.numpy_generator("minibatch", seed, stream, number)
            # Twice 32 bits in each, of which the lowest is dropped.
            raw = generator.bit_generator.random_raw(-(-size // 2)).view(np.uint32)[:size]
            drawn[:, index] = (raw >> (32 - BITS)).reshape(self.updates, self.count)
        return torch.as_tensor(drawn).to(self.device)


def scaled(drawn: Tensor, of_run: Tensor, size: Tensor | int) -> Tensor:
    """Return whole numbers below each run's size ``[run, count]`` of draws ``[seed, count]``.

    In whole numbers, so that the probabilities of any two differ by a share of size / 2^31 at most.
    """
    return (drawn.index_select(0, of_run).long() * size) >> BITS
