"""Cohort: runs trained together, one vmapped update for all of them.

With what lies beside it, and evaluation, it alone knows of a run axis. In all but short trainings
`vmap` and `grad` are traced away once per phase of the update, which leaves a flat list of tensor
operations, the making of the minibatch among them: a cohort then costs little more than its
arithmetic. Compiling that list is an option on top. Metrics are computed when somebody asks for
them, which is at evaluations.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import (
    tree_flatten,
    tree_map_only,
    tree_unflatten,
)  # fmt: skip

from algorithms.base import Algorithm
from algorithms.distributions import ActionDistribution
from bench import seeding
from bench.cohorts.at_once import AtOnce
from bench.cohorts.noise import Noise
from bench.cohorts.policies import Policies
from bench.cohorts.replay import Replay
from bench.cohorts.stacking import axes, stack, stack_algorithms
from bench.cohorts.updates import Updates
from bench.data.datasets import OfflineDataset
from bench.data.encoding import Encoder, Normalization, statistics
from bench.data.summary import padded, summarize
from bench.data.units import learners_spec
from bench.programs.compilation import Mode
from bench.programs.replaying import Capture, cuda_graphs
from bench.types import EnvSpec


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
        mode: Mode = "plain",
        at_once: int = 1,
        capture: Capture | None = None,
    ):
        """Initialise every run from its own generator.

        More updates than one `at_once` are for a GPU, which replays what it captures, and not for
        plain ones.

        Raises:
            ValueError: If the runs differ in more than seed, data and float hyperparameters.
        """
        self.device = torch.device(device)
        self.spec = members[0].dataset.spec
        self.algorithm, settings = stack_algorithms([m.algorithm for m in members])
        self.hyperparameters = {name: x.to(self.device) for name, x in settings.items()}
        self._check_specs([member.dataset.spec for member in members])
        fitted = [statistics(m.dataset, m.full, normalization) for m in members]
        self.encoder = Encoder(self.spec, *map(list, zip(*fitted, strict=True))).to(self.device)
        # Counts are large: only who asks for them gets them.
        counted = self.spec.observation_kind == "discrete" and self.algorithm.tabular_only
        summaries = [
            summarize(m.dataset, mean, scale, with_counts=counted)
            for m, (mean, scale) in zip(members, fitted, strict=True)
        ]
        seeds = [member.seed for member in members]
        states = [
            m.algorithm.init(
                learners_spec(m.dataset.spec), summary, seeding.torch_generator("init", m.seed)
            )
            for m, summary in zip(members, summaries, strict=True)
        ]
        self.summary = stack(padded(summaries), self.device)
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
        shapes = [self.algorithm.noise_shapes(self.spec, size) for size in sizes]
        self.noise = Noise(shapes, seeds, self.device)
        self.num_runs, self.step = len(members), 0
        self._drawn: dict[str, Tensor] = {}  # Noise of the last update.
        self.state = state = stack(states, self.device)
        constant = self.hyperparameters, self.summary
        self._updates = Updates(self.algorithm, self.replay, constant, state, mode)
        self._calls = AtOnce(self._updates, at_once, capture or cuda_graphs())
        self._policies = Policies(self.algorithm, self.hyperparameters)
        self._before: list[Any] | None = None  # Leaves that the last update started from.
        self._metrics: tuple[int, dict[str, Tensor]] = (0, {})

    @property
    def state(self) -> Any:
        """The states of all runs, ``[run, ...]``."""
        return tree_unflatten(self._kept_leaves(), self._structure)

    @state.setter
    def state(self, new: Any) -> None:
        self._leaves, self._structure = tree_flatten(new)

    @property
    def updates_at_once(self) -> int:
        """How many updates a call makes."""
        return self._calls.number

    @property
    def metrics(self) -> dict[str, Tensor]:
        """What the last update says of itself, ``[run]`` by name; computed when asked for."""
        if self._metrics[0] != self.step:
            assert self._before is not None
            told = self._updates.metrics(self._before, self.step - 1, self._drawn)
            # A metric may be a part of a state, which the next call makes another in place.
            self._metrics = self.step, {name: value.clone() for name, value in told.items()}
        return self._metrics[1]

    def train(self, num_updates: int, within: int | None = None) -> Iterator[int]:
        """Make updates, yielding the number made so far after each.

        Where several are one call, it is after those, which never go across a multiple of `within`.
        """
        end = self.step + num_updates
        while self.step < end:
            together = self._calls.starts_at(self.step, end, within)
            noise = [self.noise.next() for _ in range(self._calls.number if together else 1)]
            if together:
                self._before, self._leaves = self._calls(self._leaves, self.step, noise)
            else:
                self._before = self._leaves
                self._leaves = self._updates.state(self._leaves, self.step, noise[0])
            self._drawn = noise[-1]
            self.step += len(noise)
            yield self.step

    def snapshot(self) -> dict[str, Any]:
        """Return all that updates change, as tensors and plain values."""
        return {
            "step": self.step,
            "state": self._kept_leaves(),
            "metrics": self.metrics,
            "noise": self.noise.states(),
        }

    def _kept_leaves(self) -> list[Any]:
        """Return the leaves of the states, which the next call may replace in memory.

        Copies lie in memory as they do, which decides how numbers are added up.
        """
        return self._leaves if self._calls.number == 1 else copy.deepcopy(self._leaves)

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a snapshot of a cohort of the same members; what follows is bit-identical.

        Raises:
            ValueError: If the snapshot is of other members.
        """
        if [_shape(x) for x in self._leaves] != [_shape(x) for x in saved["state"]]:
            raise ValueError("The snapshot is of other members.")
        to_device = partial(torch.Tensor.to, device=self.device)
        self.step, self._before = saved["step"], None
        self._leaves = tree_map_only(Tensor, to_device, saved["state"])
        self._metrics = self.step, tree_map_only(Tensor, to_device, saved["metrics"])
        self.noise.restore(saved["noise"])

    def diagnose(self) -> dict[str, Tensor]:
        """Return what the algorithm says of its state when asked, ``[run]`` by name.

        Draws nothing and changes nothing, so how often it is asked cannot change a result. Before
        the first update of this process there is nothing to say.
        """
        says = type(self.algorithm).diagnose is not Algorithm.diagnose
        if not says or self._before is None:
            return {}
        phase, batch = self.algorithm.phase(self.step - 1), self.replay.batch(self.step - 1)
        given = self.hyperparameters, self.state, self.summary, batch

        def one_run(hyperparameters: Any, state: Any, summary: Any, batch: Any) -> Any:
            algorithm = replace(self.algorithm, **hyperparameters)
            return algorithm.diagnose(state, summary, batch, phase)

        # Not traced: it runs once where an update runs hundreds of times.
        with torch.no_grad():
            found: dict[str, Tensor] = torch.func.vmap(one_run, in_dims=axes(given))(*given)
        return found

    def policy(self, observation: np.ndarray, runs: slice = slice(None)) -> ActionDistribution:
        """Return the action distributions of some runs, or all, at raw ``[run, ..., (dim)]``."""
        encoded = self.encoder(torch.as_tensor(observation, device=self.device), runs)
        return self._policies(self._leaves, self._structure, encoded, runs)

    def critic_values(self, run: int, policy: np.ndarray) -> np.ndarray | None:
        """Return what one run's critic says of a policy, ``[states, num_actions]`` each.

        In float64 and in units of the rewards that learners see; None where there is no critic.

        Raises:
            ValueError: If it is of another shape.
        """
        own = tree_map_only(
            Tensor, lambda leaf: leaf[run], (self.hyperparameters, self.state, self.summary)
        )
        hyperparameters, state, summary = own
        algorithm = replace(self.algorithm, **hyperparameters)
        with torch.no_grad():
            asked = torch.as_tensor(policy, device=self.device)
            values = algorithm.critic_values(state, summary, asked)
        if values is not None and values.shape != asked.shape:
            raise ValueError(
                f"{type(algorithm).__name__}.critic_values should give one number for each state "
                f"and action, {tuple(asked.shape)}, and not {tuple(values.shape)}."
            )
        return None if values is None else values.double().cpu().numpy()

    def finite(self) -> np.ndarray:
        """Return per run whether all its parameters are finite, ``[run]``."""
        leaves = [x for x in self._leaves if x.is_floating_point()]
        ok = [torch.isfinite(leaf).reshape(self.num_runs, -1).all(1) for leaf in leaves]
        return torch.stack(ok).all(0).cpu().numpy()

    def _check_specs(self, specs: list[EnvSpec]) -> None:
        for spec in specs:
            # Instances of one family may differ in what a seed draws, never in shape.
            same = replace(
                spec,
                v_min=self.spec.v_min, v_max=self.spec.v_max,
                reward_min=self.spec.reward_min, reward_max=self.spec.reward_max,
                uniform_regret=self.spec.uniform_regret, uniform_value=self.spec.uniform_value,
            )  # fmt: skip
            if same != self.spec:
                raise ValueError(f"A cohort shares one environment, not {self.spec} and {spec}.")


def _shape(leaf: Any) -> Any:
    return (leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else None
