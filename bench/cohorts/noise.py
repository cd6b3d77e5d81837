"""Noise: uniform numbers for every run, update after update, by the run's own generator.

What a run draws hangs on its seed, its shapes and the number of the update, on nothing beside it.
Many updates' numbers are drawn at a time: a generator takes longer to be called than to draw.
"""

import math

import torch
from torch import Tensor

from bench import seeding
from bench.cohorts.stacking import pad_and_stack

# Numbers of a run that are drawn at a time, if an update takes fewer; part of no result.
BLOCK = 2**13

Shapes = dict[str, tuple[int, ...]]


class Noise:
    """Numbers in [0, 1) ``[run, ...]`` by name, zeros where a run asks for fewer than another."""

    def __init__(self, shapes: list[Shapes], seeds: list[int], device: torch.device):
        """Take what an update of each run asks for, the same names, and the runs' seeds."""
        self.shapes, self.device = shapes, device
        self.sizes = [sum(map(math.prod, own.values())) for own in shapes]
        self.ahead = max(1, BLOCK // max(1, *self.sizes))
        self._generators = [seeding.torch_generator("noise", seed) for seed in seeds]
        # What was drawn last, ``[update, run, ...]`` by name, how many of its updates are over, and
        # the states of the generators before it.
        self._block: dict[str, Tensor] = {}
        self._over, self._before = self.ahead, self._states()

    def next(self) -> dict[str, Tensor]:
        """Return the numbers of the next update."""
        if not self.shapes[0]:
            return {}
        if self._over == self.ahead:
            self._draw()
        self._over += 1
        return {name: block[self._over - 1] for name, block in self._block.items()}

    def states(self) -> list[Tensor]:
        """Return the generators' states from which the next update's numbers follow."""
        if self._over == self.ahead:
            return self._states()
        found = []
        for state, size in zip(self._before, self.sizes, strict=True):
            generator = torch.Generator()
            generator.set_state(state)
            torch.rand(self._over * size, generator=generator)
            found.append(generator.get_state())
        return found

    def restore(self, states: list[Tensor]) -> None:
        """Go on from such states."""
        for generator, state in zip(self._generators, states, strict=True):
            generator.set_state(state)
        self._over = self.ahead

    def _states(self) -> list[Tensor]:
        return [generator.get_state() for generator in self._generators]

    def _draw(self) -> None:
        """Draw for the next updates."""
        self._before, self._over = self._states(), 0
        parts = []
        for own, size, generator in zip(self.shapes, self.sizes, self._generators, strict=True):
            drawn = torch.rand(self.ahead, size, generator=generator)
            split = drawn.split([math.prod(shape) for shape in own.values()], 1)
            parts.append([x.view(-1, *shape) for x, shape in zip(split, own.values(), strict=True)])
        self._block = {
            name: _by_update(list(of_runs)).to(self.device)
            for name, of_runs in zip(self.shapes[0], zip(*parts, strict=True), strict=True)
        }


def _by_update(of_runs: list[Tensor]) -> Tensor:
    """Return ``[update, run, ...]`` of what each run draws ``[update, ...]``."""
    if len({x.shape for x in of_runs}) == 1:
        return torch.stack(of_runs, 1)
    return pad_and_stack(of_runs).transpose(0, 1).contiguous()
