"""The update of a cohort's learner: as it is written, or as programs where that pays off."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from algorithms.base import Algorithm, Metrics
from bench.cohorts.replay import Replay
from bench.cohorts.stacking import axes, count_tensors
from bench.programs import compilation
from bench.programs.compilation import Mode
from bench.programs.graphs import Program, Traced
from bench.types import Batch

# An update's outputs.
STATE, METRICS = 0, 1
# Updates before rewritten programs are compared with plain ones.
MOVES = 3


class _Update:
    """One phase of an update: its programs, each made when first called."""

    def __init__(self, traced: Traced, names: tuple[str, ...], mode: Mode):
        """Take the traced function and the fields of a batch that it needs."""
        self.traced, self.names = traced, names
        self.compiler = compilation.compile_graph if mode == "compiled" else None
        self._programs: dict[int, tuple[Program, list[Tensor]]] = {}

    def program(self, output: int, fixed: Callable[[], Any]) -> tuple[Program, list[Tensor]]:
        """Return what computes one of the outputs, and what it needs of what never changes."""
        if output not in self._programs:
            program = self.traced.program(output, self.compiler)
            self._programs[output] = program, program.prepare(fixed())
        return self._programs[output]


class Updates:
    """All phases of a learner's update; unless plain, each is traced when it is first called."""

    def __init__(self, algorithm: Algorithm, replay: Replay, constant: Any, state: Any, mode: Mode):
        """Take what never changes, hyperparameters and summaries, and the initial states."""
        self.algorithm, self.replay, self.mode = algorithm, replay, mode
        # Every phase is traced on this, so that going on from a snapshot traces the same graphs.
        self.constant, self.initial = constant, state
        self.structure = tree_flatten(state)[1]
        self._updates: dict[int, _Update] = {}

    def state(self, leaves: list[Any], step: int, noise: dict[str, Tensor]) -> list[Any]:
        """Return the leaves of the states ``[run, ...]`` after an update, counted from 0.

        Of those before it: putting them together and taking them apart again takes as long as a
        third of a small update.
        """
        if self.mode == "plain":
            return tree_flatten(self._plain(STATE, leaves, step, noise))[0]
        made, given = self.program(step, noise)
        return made([*leaves, *given])

    def program(
        self, step: int, noise: dict[str, Tensor]
    ) -> tuple[Callable[[list[Any]], list[Any]], list[Tensor]]:
        """Return what makes an update of leaves and what is given beside them, and the latter."""
        program, prepared, drawn = self._ready(STATE, step, noise)
        return partial(program.leaves, prepared), [*noise.values(), *drawn.values()]

    def metrics(self, leaves: list[Any], step: int, noise: dict[str, Tensor]) -> Metrics:
        """Return what an update says of itself, ``[run]`` by name, of the leaves before it."""
        if self.mode == "plain":
            found: Metrics = self._plain(METRICS, leaves, step, noise)
            return found
        program, prepared, drawn = self._ready(METRICS, step, noise)
        told: Metrics = program(prepared, (tree_unflatten(leaves, self.structure), noise, drawn))
        return told

    def _plain(self, output: int, leaves: list[Any], step: int, noise: dict[str, Tensor]) -> Any:
        state = tree_unflatten(leaves, self.structure)
        with torch.no_grad():
            given = self.constant, state, self.replay.batch(step), noise
            return self._all_runs(self.algorithm.phase(step), *given)[output]

    def _ready(
        self, output: int, step: int, noise: dict[str, Tensor]
    ) -> tuple[Program, list[Tensor], dict[str, Tensor]]:
        """Return what computes an output, what of it never changes, and the numbers it draws."""
        phase = self.algorithm.phase(step)
        if phase not in self._updates:
            self._updates[phase] = self._trace(phase, noise)
        update = self._updates[phase]

        def fixed() -> Any:
            return self.constant, self.replay.feed(update.names) if update.names else None

        drawn = self.replay.drawn(update.names, step) if update.names else {}
        return *update.program(output, fixed), drawn

    def _all_runs(self, phase: int, *given: Any) -> Any:
        """Return all outputs of an update of every run, from what one of them is given, stacked."""

        def one_run(constant: Any, state: Any, batch: Any, noise: Any) -> Any:
            hyperparameters, summary = constant
            algorithm = replace(self.algorithm, **hyperparameters)
            return algorithm.update(state, summary, batch, noise, phase)

        return torch.func.vmap(one_run, in_dims=axes(given))(*given)

    def _trace(self, phase: int, noise: dict[str, Tensor]) -> _Update:
        """Return the update of one phase as programs."""
        every = Batch._fields if self.replay.num_minibatches else ()
        traced = Traced(
            lambda constant, varying: self._all_runs(phase, constant, *varying),
            self.constant,
            (self.initial, self.replay.batch(0), noise),
        )
        # Away from the ties and zeros of the beginning, which would hide a wrong rewriting.
        traced.let_examples_move(STATE, MOVES)
        names = _needed(traced, every, (self.constant, self.initial))
        if not names:
            return _Update(traced, (), self.mode)

        # The minibatch is made inside, of fields that are needed alone.
        source = Traced(
            lambda feed, drawn: ([self.replay.fields(names, feed, drawn)[name] for name in names],),
            self.replay.feed(names),
            self.replay.drawn(names, 0),
        )
        first = count_tensors((self.constant, self.initial))
        places = {
            first + i: names.index(name) if name in names else None for i, name in enumerate(every)
        }
        return _Update(traced.fed(source, places), names, self.mode)


def _needed(traced: Traced, fields: tuple[str, ...], before: Any) -> tuple[str, ...]:
    """Return which fields of a batch, whose leaves follow others, an update makes use of."""
    start = count_tensors(before)
    needs = traced.needs([STATE, METRICS])[start : start + len(fields)]
    return tuple(name for name, needed in zip(fields, needs, strict=True) if needed)
