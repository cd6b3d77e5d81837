"""Several updates of a cohort as one call, which a GPU replays."""

import warnings
from collections import Counter
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from bench.cohorts.updates import Updates
from bench.programs.agreement import identical
from bench.programs.replaying import Capture, Replayed

# Of updates in a call: beyond it little is left of what a call costs.
MOST = 20
# Fewer are not worth a call: rather some of them one by one, up to the evaluation.
FEWEST = 4
# Kinds of calls, of phases in other orders, that are captured: each has memory of its own.
MOST_GRAPHS = 16
UNLIKE = "Replayed updates give other numbers than they should; they are made one by one, slower."

Leaves = list[Any]
Noise = dict[str, Tensor]


def fitting(eval_every: int) -> int:
    """Return how many updates a call should make, so that calls fill the time to an evaluation."""
    even = max(number for number in range(1, MOST + 1) if eval_every % number == 0)
    return even if even >= min(FEWEST, eval_every) else MOST


class AtOnce:
    """Makes a number of updates in a call: the same bits as one by one."""

    def __init__(self, updates: Updates, number: int, capture: Capture):
        """Take the updates, which may not be plain, how many a call makes, and what captures."""
        self.updates, self.number, self.capture = updates, number, capture
        # By the phases of a call.
        self._replayed: dict[tuple[int, ...], Replayed] = {}
        self._made: Counter[tuple[int, ...]] = Counter()

    def fits(self, step: int, end: int, within: int | None) -> bool:
        """Return whether a call from a step stays before an end and a multiple of `within`.

        Calls start at multiples of their number after that, so that few kinds of them are met.
        """
        past = step % within if within else step
        left = min(end - step, within - past if within else end - step)
        return 1 < self.number <= left and past % self.number == 0

    def __call__(self, leaves: Leaves, step: int, noise: list[Noise]) -> tuple[Leaves, Leaves]:
        """Return the states' leaves before the last update and after it, of those before all.

        They are good until the next call.
        """
        phases = tuple(self.updates.algorithm.phase(step + i) for i in range(self.number))
        if phases in self._replayed:
            found = self._replayed[phases](*leaves, *self._given(step, noise))
            return found[: len(leaves)], found[len(leaves) :]
        made = self._one_by_one(leaves, step, noise)
        self._made[phases] += 1
        # The second time, since the first leaves nothing to be set up in a capture.
        if self._made[phases] == 2 and len(self._replayed) < MOST_GRAPHS:
            replayed = self._captured(leaves, step, noise, [*made[0], *made[1]])
            if replayed is not None:
                self._replayed[phases] = replayed
        return made

    def _one_by_one(self, leaves: Leaves, step: int, noise: list[Noise]) -> tuple[Leaves, Leaves]:
        before = leaves
        for number, drawn in enumerate(noise):
            before, leaves = leaves, self.updates.state(leaves, step + number, drawn)
        return before, leaves

    def _given(self, step: int, noise: list[Noise]) -> list[Tensor]:
        """Return what the updates are given beside the states."""
        drawn = enumerate(noise, start=step)
        return [given for at, own in drawn for given in self.updates.program(at, own)[1]]

    def _captured(
        self, leaves: Leaves, step: int, noise: list[Noise], made: list[Tensor]
    ) -> Replayed | None:
        """Return updates like these captured; None, and a warning, if that does not work here."""
        parts = [self.updates.program(at, own) for at, own in enumerate(noise, start=step)]

        def together(*inputs: Tensor) -> Leaves:
            before, after, rest = [], list(inputs[: len(leaves)]), iter(inputs[len(leaves) :])
            for one, given in parts:
                before, after = after, one([*after, *islice(rest, len(given))])
            return [*before, *after]

        inputs = [*leaves, *self._given(step, noise)]
        try:
            replayed = Replayed(together, inputs, self.capture)
            if identical(made, replayed(*inputs)):
                return replayed
            problem = UNLIKE
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            cause = str(error).splitlines()[0]
            problem = f"Updates are made one by one, slower, since they cannot be replayed: {cause}"
        warnings.warn(problem, stacklevel=2)
        return None
