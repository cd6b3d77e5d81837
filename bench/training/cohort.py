"""Cohort: runs trained together, one vmapped update for all of them.

The only file, beside replay and evaluation, that knows of a run axis. `vmap` and `grad` are traced
away once per phase of the update (``make_fx``), which leaves a flat list of tensor operations: a
cohort then costs little more than its arithmetic. Compiling that list is an option on top.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only, tree_unflatten

from algorithms.base import ActionDistribution, Algorithm
from bench import seeding
from bench.data.datasets import OfflineDataset
from bench.data.encoding import Encoder, Normalization, statistics
from bench.data.summary import summarize
from bench.training import compilation
from bench.training.replay import Replay
from bench.types import EnvSpec

Compile = Literal["auto", "on", "off"]


@dataclass(frozen=True, eq=False)
class Member:
    """One run of a cohort: its algorithm, its seed and its data (degraded and full)."""

    algorithm: Algorithm
    seed: int
    dataset: OfflineDataset
    full: OfflineDataset


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
        self.state = self._stack(states)
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
        self.metrics: dict[str, Tensor] = {}
        self._last: tuple[Any, int] | None = None  # batch and phase of the last update
        self._updates: dict[int, Callable[..., Any]] = {}

    def train(self, num_updates: int) -> Iterator[int]:
        """Make updates, yielding the number made so far after each."""
        for _ in range(num_updates):
            inputs = self._inputs()
            phase = self.algorithm.phase(self.step)
            if phase not in self._updates:
                self._updates[phase] = self._trace(phase, inputs)
            self.state, self.metrics = self._updates[phase](*inputs)
            self._last = inputs[3], phase
            self.step += 1
            yield self.step

    def snapshot(self) -> dict[str, Any]:
        """Return all that updates change, as tensors and plain values."""
        return {
            "step": self.step,
            "state": tree_flatten(self.state)[0],
            "metrics": self.metrics,
            "noise": [generator.get_state() for generator in self.noise_generators],
            "replay": self.replay.snapshot(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a snapshot of a cohort of the same members; what follows is bit-identical.

        Raises:
            ValueError: If the snapshot is of other members.
        """
        leaves, structure = tree_flatten(self.state)
        if [_shape(x) for x in leaves] != [_shape(x) for x in saved["state"]]:
            raise ValueError("The snapshot is of other members.")
        if saved["step"] > 0:
            # The uninterrupted cohort traced its first update from the initial state, whose
            # strides may differ from those of later ones; another graph could round differently.
            first = self.algorithm.phase(0)
            self._updates[first] = self._trace(first, self._inputs())
        to_device = partial(torch.Tensor.to, device=self.device)
        self.step = saved["step"]
        self.state = tree_unflatten(tree_map_only(Tensor, to_device, saved["state"]), structure)
        self.metrics = tree_map_only(Tensor, to_device, saved["metrics"])
        for generator, state in zip(self.noise_generators, saved["noise"], strict=True):
            generator.set_state(state)
        self.replay.restore(saved["replay"])

    def diagnose(self) -> dict[str, Tensor]:
        """Return what the algorithm says of its state when asked, ``[run]`` by name.

        Draws nothing and changes nothing, so how often it is asked cannot change a result. Before
        the first update there is nothing to say.
        """
        if self._last is None:
            return {}
        batch, phase = self._last
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

    def _inputs(self) -> tuple[Any, ...]:
        """Return what the next update is given; draws its minibatch and noise."""
        return (
            self.hyperparameters, self.state, self.summary, self.replay.next(), self._noise(),
        )  # fmt: skip

    def _trace(self, phase: int, example: tuple[Any, ...]) -> Callable[..., Any]:
        """Return the update of one phase as a flat graph of tensor operations."""

        def one_run(hyperparameters: Any, state: Any, summary: Any, batch: Any, noise: Any) -> Any:
            algorithm = replace(self.algorithm, **hyperparameters)
            return algorithm.update(state, summary, batch, noise, phase)

        leaves, structure = tree_flatten(example)
        present = [isinstance(leaf, Tensor) for leaf in leaves]
        out_structure: Any = None

        def flat(*tensors: Tensor) -> list[Tensor]:
            nonlocal out_structure
            supply = iter(tensors)
            filled = [next(supply) if p else leaf for p, leaf in zip(present, leaves, strict=True)]
            mapped = torch.func.vmap(one_run, in_dims=_axes(example))
            result, out_structure = tree_flatten(mapped(*tree_unflatten(filled, structure)))
            return result

        graph = make_fx(flat)(*[x for x in leaves if isinstance(x, Tensor)])
        run = compilation.compile_graph(graph) if self.compiled else graph

        def update(*inputs: Any) -> Any:
            tensors = [x for x in tree_flatten(inputs)[0] if isinstance(x, Tensor)]
            with torch.no_grad():
                return tree_unflatten(run(*tensors), out_structure)

        return update

    def _noise(self) -> dict[str, Tensor]:
        """Return the next uniform noise ``[run, ...]`` by name, padded to the largest shape."""
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


def _pad_and_stack(tensors: list[Tensor]) -> Tensor:
    """Return ``[run, ...]`` of tensors that differ in size, zeros where one is smaller."""
    largest = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
    stacked = torch.zeros(len(tensors), *largest)
    for row, tensor in zip(stacked, tensors, strict=True):
        row[tuple(map(slice, tensor.shape))] = tensor
    return stacked


def _shape(leaf: Any) -> Any:
    return (leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else None
