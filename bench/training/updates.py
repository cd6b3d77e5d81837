"""The update of a learner as programs, called on some of a cohort's runs at a time."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from algorithms.base import Algorithm
from bench.training import compilation
from bench.training.graphs import Program, Traced
from bench.training.replay import Replay
from bench.training.stacking import axes, count_tensors
from bench.types import Batch

# An update's outputs.
STATE, METRICS = 0, 1
# Updates before rewritten programs are compared with plain ones.
MOVES = 3


@dataclass(eq=False)
class Part:
    """Some of a cohort's runs, whose updates are made one after the other's.

    Attributes:
        runs: Which of the cohort's.
        constant: Their hyperparameters and summaries.
        state: The learners' states ``[run, ...]``.
        before: Those that the last update started from; None before the first.
        prepared: By phase and output, what programs need of what never changes.
    """

    runs: slice
    constant: Any
    state: Any
    before: Any = None
    prepared: dict[Any, list[Tensor]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """The number of its runs."""
        return int(self.runs.stop - self.runs.start)


class _Update:
    """One phase of an update for a number of runs: its programs, made when first called."""

    def __init__(self, traced: Traced, names: tuple[str, ...], compiled: bool):
        """Take the traced function and the fields of a batch that it needs."""
        self.traced, self.names = traced, names
        self.compiler = compilation.compile_graph if compiled else None
        self._programs: dict[int, Program] = {}

    def program(self, output: int) -> Program:
        """Return what computes one of the outputs."""
        if output not in self._programs:
            self._programs[output] = self.traced.program(output, self.compiler)
        return self._programs[output]


class Updates:
    """All phases of a learner's update, each traced when it is first called."""

    def __init__(self, algorithm: Algorithm, replay: Replay, parts: list[Part], compiled: bool):
        """Take what the parts of a cohort share; the parts hold their initial states."""
        self.algorithm, self.replay, self.compiled = algorithm, replay, compiled
        # Every phase is traced on these, so that going on from a snapshot traces the same graphs.
        self.examples = {part.length: (part, part.state) for part in parts}
        self._updates: dict[tuple[int, int], _Update] = {}

    def call(self, part: Part, output: int, state: Any, step: int, noise: dict[str, Tensor]) -> Any:
        """Return one output of an update, counted from 0, from a state of a part of the runs."""
        phase = self.algorithm.phase(step)
        noise = {name: x[part.runs] for name, x in noise.items()}
        key = part.length, phase
        if key not in self._updates:
            self._updates[key] = self._trace(phase, part.length, noise)
        update = self._updates[key]
        program = update.program(output)
        if (phase, output) not in part.prepared:
            feed = self.replay.feed(update.names, part.runs) if update.names else None
            part.prepared[phase, output] = program.prepare((part.constant, feed))
        drawn = self.replay.drawn(update.names, step) if update.names else {}
        return program(part.prepared[phase, output], (state, noise, drawn))

    def _trace(self, phase: int, length: int, noise: dict[str, Tensor]) -> _Update:
        """Return the update of one phase for so many runs as programs."""
        part, state = self.examples[length]
        every = Batch._fields if self.replay.num_minibatches else ()
        batch = None
        if every:
            feed = self.replay.feed(every, part.runs)
            batch = Batch(**self.replay.fields(every, feed, self.replay.drawn(every, 0)))

        def one_run(constant: Any, state: Any, batch: Any, noise: Any) -> Any:
            hyperparameters, summary = constant
            algorithm = replace(self.algorithm, **hyperparameters)
            return algorithm.update(state, summary, batch, noise, phase)

        def update(constant: Any, varying: Any) -> Any:
            given = constant, *varying
            return torch.func.vmap(one_run, in_dims=axes(given))(*given)

        traced = Traced(update, part.constant, (state, batch, noise))
        # Away from the ties and zeros of the beginning, which would hide a wrong rewriting.
        traced.let_examples_move(STATE, MOVES)
        names = _needed(traced, every, (part.constant, state))
        if not names:
            return _Update(traced, (), self.compiled)

        # The minibatch is made inside, of fields that are needed alone.
        source = Traced(
            lambda feed, drawn: ([self.replay.fields(names, feed, drawn)[name] for name in names],),
            self.replay.feed(names, part.runs),
            self.replay.drawn(names, 0),
        )
        first = count_tensors((part.constant, state))
        places = {
            first + i: names.index(name) if name in names else None for i, name in enumerate(every)
        }
        return _Update(traced.fed(source, places), names, self.compiled)


def _needed(traced: Traced, fields: tuple[str, ...], before: Any) -> tuple[str, ...]:
    """Return which fields of a batch, whose leaves follow others, an update makes use of."""
    start = count_tensors(before)
    needs = traced.needs([STATE, METRICS])[start : start + len(fields)]
    return tuple(name for name, needed in zip(fields, needs, strict=True) if needed)
