"""Cohort: runs trained together, one vmapped update for all of them.

The only file, beside replay and evaluation, that knows of a run axis. `vmap` and `grad` are traced
away once per phase of the update, which leaves a flat list of tensor operations, the making of the
minibatch among them: a cohort then costs little more than its arithmetic. Compiling that list is an
option on top. Runs are updated some at a time, as many as the processor's cache holds; metrics are
computed when somebody asks for them, which is at evaluations.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import (
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_map_only,
    tree_unflatten,
)  # fmt: skip

from algorithms.base import ActionDistribution, Algorithm
from bench import seeding
from bench.data.datasets import OfflineDataset
from bench.data.encoding import Encoder, Normalization, statistics
from bench.data.summary import summarize
from bench.training import compilation
from bench.training.graphs import Program, Traced
from bench.training.memory import part_lengths
from bench.training.replay import Replay
from bench.types import Batch, EnvSpec

# An update's outputs.
STATE, METRICS = 0, 1

Compile = Literal["auto", "on", "off"]


@dataclass(frozen=True, eq=False)
class Member:
    """One run of a cohort: its algorithm, its seed and its data (degraded and full)."""

    algorithm: Algorithm
    seed: int
    dataset: OfflineDataset
    full: OfflineDataset


@dataclass(eq=False)
class _Part:
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


class Cohort:
    """Runs stacked on a leading axis ``[run, ...]``, differing in seed, data and float settings."""

    def __init__(
        self,
        members: list[Member],
        batch_size: int | Literal["full"],
        normalization: Normalization = "data",
        device: torch.device | str = "cpu",
        compiled: bool = False,
    ):
        """Initialise every run from its own generator.

        Raises:
            ValueError: If the runs differ in more than seed, data and float hyperparameters.
        """
        self.device, self.compiled = torch.device(device), compiled
        self.spec = members[0].dataset.spec
        self.algorithm, settings = _stack_algorithms([m.algorithm for m in members])
        self.hyperparameters = {name: x.to(self.device) for name, x in settings.items()}
        self._check_specs([member.dataset.spec for member in members])
        fitted = [statistics(m.dataset, m.full, normalization) for m in members]
        self.encoder = Encoder(self.spec, *map(list, zip(*fitted, strict=True))).to(self.device)
        discrete = self.spec.observation_kind == "discrete"
        summaries = [
            summarize(m.dataset, mean, std, with_counts=discrete)
            for m, (mean, std) in zip(members, fitted, strict=True)
        ]
        seeds = [member.seed for member in members]
        states = [
            m.algorithm.init(m.dataset.spec, summary, seeding.torch_generator("init", m.seed))
            for m, summary in zip(members, summaries, strict=True)
        ]
        self.summary = self._stack(summaries)
        self.replay = Replay(
            [member.dataset for member in members],
            seeds,
            self.encoder,
            self.summary.initial_observations,
            batch_size,
            self.algorithm.minibatches(self.spec),
            self.device,
        )
        # With full batches a run draws noise for its own size, whatever the longest run's is.
        sizes = self.replay.sizes if batch_size == "full" else [batch_size] * len(members)
        self.noise_shapes = [self.algorithm.noise_shapes(self.spec, size) for size in sizes]
        self.noise_generators = [seeding.torch_generator("noise", seed) for seed in seeds]
        self.num_runs, self.step = len(members), 0
        self._noise: dict[str, Tensor] = {}
        self._parts = self._divided(self._stack(states))
        # Every phase is traced on these, so that going on from a snapshot traces the same graphs.
        self._examples = {_length(part.runs): part for part in self._parts}
        self._initial = {length: part.state for length, part in self._examples.items()}
        self._programs: dict[tuple[int, int], _Update] = {}
        self._whole: tuple[int, Any] | None = None
        self._metrics: tuple[int, dict[str, Tensor]] = (0, {})

    @property
    def state(self) -> Any:
        """The learners' states as they are now, ``[run, ...]``."""
        if self._whole is None or self._whole[0] != self.step:
            self._whole = self.step, _joined([part.state for part in self._parts])
        return self._whole[1]

    @property
    def metrics(self) -> dict[str, Tensor]:
        """What the last update says of itself, ``[run]`` by name; computed when asked for."""
        if self._metrics[0] != self.step:
            phase = self.algorithm.phase(self.step - 1)
            told = [self._call(part, phase, METRICS, part.before) for part in self._parts]
            self._metrics = self.step, _joined(told)
        return self._metrics[1]

    def train(self, num_updates: int) -> Iterator[int]:
        """Make updates, yielding the number made so far after each."""
        for _ in range(num_updates):
            self._noise = self._next_noise()
            phase = self.algorithm.phase(self.step)
            self.step += 1
            for part in self._parts:
                part.before = part.state
                part.state = self._call(part, phase, STATE, part.before)
            yield self.step

    def snapshot(self) -> dict[str, Any]:
        """Return all that updates change, as tensors and plain values."""
        return {
            "step": self.step,
            "state": tree_flatten(self.state)[0],
            "metrics": self.metrics,
            "noise": [generator.get_state() for generator in self.noise_generators],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a snapshot of a cohort of the same members; what follows is bit-identical.

        Raises:
            ValueError: If the snapshot is of other members.
        """
        leaves, structure = tree_flatten(self.state)
        if [_shape(x) for x in leaves] != [_shape(x) for x in saved["state"]]:
            raise ValueError("The snapshot is of other members.")
        to_device = partial(torch.Tensor.to, device=self.device)
        self.step = saved["step"]
        state = tree_unflatten(tree_map_only(Tensor, to_device, saved["state"]), structure)
        for part in self._parts:
            part.state, part.before = _of(state, part.runs), None
        self._whole = self.step, state
        self._metrics = self.step, tree_map_only(Tensor, to_device, saved["metrics"])
        for generator, noise in zip(self.noise_generators, saved["noise"], strict=True):
            generator.set_state(noise)

    def diagnose(self) -> dict[str, Tensor]:
        """Return what the algorithm says of its state when asked, ``[run]`` by name.

        Draws nothing and changes nothing, so how often it is asked cannot change a result. Before
        the first update of this process there is nothing to say.
        """
        says = type(self.algorithm).diagnose is not Algorithm.diagnose
        if not says or self._parts[0].before is None:
            return {}
        phase, batch = self.algorithm.phase(self.step - 1), self.replay.batch(self.step - 1)
        given = self.hyperparameters, self.state, self.summary, batch

        def one_run(hyperparameters: Any, state: Any, summary: Any, batch: Any) -> Any:
            algorithm = replace(self.algorithm, **hyperparameters)
            return algorithm.diagnose(state, summary, batch, phase)

        # Not traced: it runs once where an update runs hundreds of times.
        with torch.no_grad():
            found: dict[str, Tensor] = torch.func.vmap(one_run, in_dims=_axes(given))(*given)
        return found

    def policy(self, observation: np.ndarray) -> ActionDistribution:
        """Return the action distributions at raw observations ``[run, ..., (dim)]``."""
        encoded = self.encoder(torch.as_tensor(observation, device=self.device))

        def one_run(hyperparameters: Any, state: Any, x: Tensor) -> ActionDistribution:
            return replace(self.algorithm, **hyperparameters).policy(state, x)

        with torch.no_grad():
            return torch.func.vmap(one_run)(self.hyperparameters, self.state, encoded)

    def finite(self) -> np.ndarray:
        """Return per run whether all its parameters are finite, ``[run]``."""
        leaves = [x for x in tree_flatten(self.state)[0] if x.is_floating_point()]
        ok = [torch.isfinite(leaf).reshape(self.num_runs, -1).all(1) for leaf in leaves]
        return torch.stack(ok).all(0).cpu().numpy()

    def _divided(self, state: Any) -> list[_Part]:
        """Return the cohort in parts whose state stays in the processor's cache."""
        on_cpu = self.device.type == "cpu"
        lengths = part_lengths(state, self.num_runs) if on_cpu else [self.num_runs]
        parts, start = [], 0
        for length in lengths:
            runs = slice(start, start + length)
            constant = self.hyperparameters, self.summary
            parts.append(_Part(runs, _of(constant, runs), _of(state, runs)))
            start += length
        return parts

    def _call(self, part: _Part, phase: int, output: int, state: Any) -> Any:
        """Return one output of the update that led to the present step."""
        key = _length(part.runs), phase
        if key not in self._programs:
            self._programs[key] = self._trace(phase, key[0])
        update = self._programs[key]
        program = update.program(output)
        if (phase, output) not in part.prepared:
            feed = self.replay.feed(update.names, part.runs) if update.names else None
            part.prepared[phase, output] = program.prepare((part.constant, feed))
        drawn = self.replay.drawn(update.names, self.step - 1) if update.names else {}
        noise = {name: x[part.runs] for name, x in self._noise.items()}
        return program(part.prepared[phase, output], (state, noise, drawn))

    def _trace(self, phase: int, length: int) -> "_Update":
        """Return the update of one phase for so many runs as programs."""
        part, state = self._examples[length], self._initial[length]
        noise = {name: x[part.runs] for name, x in self._noise.items()}
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
            axes = _axes((constant, *varying))
            return torch.func.vmap(one_run, in_dims=axes)(constant, *varying)

        traced = Traced(update, part.constant, (state, batch, noise))
        names = _needed(traced, every, (part.constant, state))
        if not names:
            return _Update(traced, (), self.compiled)

        # The minibatch is made inside, of fields that are needed alone.
        source = Traced(
            lambda feed, drawn: ([self.replay.fields(names, feed, drawn)[name] for name in names],),
            self.replay.feed(names, part.runs),
            self.replay.drawn(names, 0),
        )
        first = _count((part.constant, state))
        places = {
            first + i: names.index(name) if name in names else None for i, name in enumerate(every)
        }
        return _Update(traced.fed(source, places), names, self.compiled)

    def _next_noise(self) -> dict[str, Tensor]:
        """Return the next uniform noise ``[run, ...]`` by name, padded to the largest shape."""
        if not self.noise_shapes[0]:
            return {}
        drawn = [
            {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
            for shapes, generator in zip(self.noise_shapes, self.noise_generators, strict=True)
        ]
        return {name: _pad_and_stack([d[name] for d in drawn]).to(self.device) for name in drawn[0]}

    def _stack(self, trees: list[Any]) -> Any:
        """Return one tree of ``[run, ...]`` tensors; absent leaves stay absent."""

        def stack(*leaves: Tensor | None) -> Tensor | None:
            present = [leaf for leaf in leaves if leaf is not None]
            return torch.stack(present).to(self.device) if present else None

        return tree_map(stack, *trees)

    def _check_specs(self, specs: list[EnvSpec]) -> None:
        for spec in specs:
            # Instances of one family may differ in what a seed draws, never in shape.
            same = replace(
                spec,
                v_min=self.spec.v_min, v_max=self.spec.v_max,
                reward_min=self.spec.reward_min, reward_max=self.spec.reward_max,
            )  # fmt: skip
            if same != self.spec:
                raise ValueError(f"A cohort shares one environment, not {self.spec} and {spec}.")


def _axes(tree: Any) -> Any:
    """Return the axis to map each leaf over; absent ones (no batch, no counts) have none."""
    return tree_map(lambda leaf: 0 if isinstance(leaf, Tensor) else None, tree)


def _stack_algorithms(algorithms: list[Algorithm]) -> tuple[Algorithm, dict[str, Tensor]]:
    """Return the shared algorithm and its float hyperparameters as ``[run]`` tensors."""
    floats = [
        f.name for f in fields(algorithms[0]) if isinstance(getattr(algorithms[0], f.name), float)
    ]
    first = algorithms[0]
    for other in algorithms:
        if replace(other, **{name: getattr(first, name) for name in floats}) != first:
            raise ValueError(f"A cohort shares all but float settings, not {first} and {other}.")
    stacked = {
        name: torch.tensor([getattr(a, name) for a in algorithms], dtype=torch.float32)
        for name in floats
    }
    return first, stacked


def _needed(traced: Traced, fields: tuple[str, ...], before: Any) -> tuple[str, ...]:
    """Return which fields of a batch, whose leaves follow others, an update makes use of."""
    start = _count(before)
    needs = traced.needs([STATE, METRICS])[start : start + len(fields)]
    return tuple(name for name, needed in zip(fields, needs, strict=True) if needed)


def _count(tree: Any) -> int:
    """Return the number of tensors in a tree."""
    return sum(isinstance(leaf, Tensor) for leaf in tree_leaves(tree))


def _of(tree: Any, runs: slice) -> Any:
    """Return the part of a cohort's tree that belongs to some runs."""
    return tree_map(lambda leaf: leaf[runs] if isinstance(leaf, Tensor) else leaf, tree)


def _joined(trees: list[Any]) -> Any:
    """Return the tree of all runs of those of some."""
    if len(trees) == 1:
        return trees[0]
    return tree_map(lambda *x: torch.cat(x) if isinstance(x[0], Tensor) else x[0], *trees)


def _length(runs: slice) -> int:
    return int(runs.stop - runs.start)


def _pad_and_stack(tensors: list[Tensor]) -> Tensor:
    """Return ``[run, ...]`` of tensors that differ in size, zeros where one is smaller."""
    largest = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
    stacked = torch.zeros(len(tensors), *largest)
    for row, tensor in zip(stacked, tensors, strict=True):
        row[tuple(map(slice, tensor.shape))] = tensor
    return stacked


def _shape(leaf: Any) -> Any:
    return (leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else None
