"""Several updates of a cohort as one call, which a GPU replays."""

import warnings
from collections import Counter
from itertools import islice
from typing import Any, Literal

from torch import Tensor

from bench.cohorts.updates import Updates
from bench.programs.agreement import identical
from bench.programs.compilation import Mode
from bench.programs.replaying import Capture, Replayed

# Of updates in a call: beyond it little is left of what a call costs.
MOST_UPDATES = 20
# How many calls take about as long to ask for as one update that is made by itself.
CALLS_OF_SINGLE = 10
# Kinds of calls, of phases in other orders, that are captured.
MOST_GRAPHS = 16
REFUSED = "Updates are made one by one, slower, since they cannot be replayed"

Leaves = list[Any]
Noise = dict[str, Tensor]


def updates_at_once(asked: int | Literal["auto"], eval_every: int, device: str, mode: Mode) -> int:
    """Return how many updates a call makes; `auto` is what asks least for those to an evaluation.

    More than one on a GPU alone, and not of plain updates.
    """
    if device != "cuda" or mode == "plain":
        return 1
    if asked != "auto":
        return min(asked, eval_every)

    def asking(number: int) -> int:
        return eval_every // number + CALLS_OF_SINGLE * (eval_every % number)

    return min(range(1, MOST_UPDATES + 1), key=asking)


class AtOnce:
    """Makes a number of updates in a call: the same bits as one by one."""

    def __init__(self, updates: Updates, number: int, capture: Capture):
        """Take the updates, how many a call makes, and what captures."""
        assert number == 1 or updates.mode != "plain"
        self.updates, self.number, self.capture = updates, number, capture
        # By the phases of a call.
        self._replayed: dict[tuple[int, ...], Replayed] = {}
        self._made: Counter[tuple[int, ...]] = Counter()
        self._captures = True

    def starts_at(self, step: int, end: int, within: int | None) -> bool:
        """Return whether a call from a step ends before an end and a multiple of `within`.

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
        room = self._captures and len(self._replayed) < MOST_GRAPHS
        if room and self._made[phases] == 2:
            try:
                self._replayed[phases] = self._captured(leaves, step, noise, [*made[0], *made[1]])
            except RuntimeError as error:
                # One that fails may leave memory behind.
                self._captures = False
                cause = (str(error) or type(error).__name__).splitlines()[0]
                warnings.warn(f"{REFUSED}: {cause}", stacklevel=2)
        return made

    def _one_by_one(self, leaves: Leaves, step: int, noise: list[Noise]) -> tuple[Leaves, Leaves]:
        # Laid out as a graph's inputs are: how numbers lie in memory decides how they are added up.
        before, leaves = leaves, [leaf.clone() for leaf in leaves]
        for number, drawn in enumerate(noise):
            before, leaves = leaves, self.updates.state(leaves, step + number, drawn)
        return before, leaves

    def _given(self, step: int, noise: list[Noise]) -> list[Tensor]:
        """Return what the updates are given beside the states."""
        drawn = enumerate(noise, start=step)
        return [given for at, own in drawn for given in self.updates.program(at, own)[1]]

    def _captured(
        self, leaves: Leaves, step: int, noise: list[Noise], made: list[Tensor]
    ) -> Replayed:
        """Return updates like these captured.

        Raises:
            RuntimeError: If that does not work, or gives other bits than were made.
        """
        parts = [self.updates.program(at, own) for at, own in enumerate(noise, start=step)]

        def together(*inputs: Tensor) -> Leaves:
            before, after, rest = [], list(inputs[: len(leaves)]), iter(inputs[len(leaves) :])
            for one, given in parts:
                before, after = after, one([*after, *islice(rest, len(given))])
            return [*before, *after]

        inputs = [*leaves, *self._given(step, noise)]
        replayed = Replayed(together, inputs, self.capture)
        if not identical(made, replayed(*inputs)):
            raise RuntimeError("they give other numbers than they should")
        return replayed
