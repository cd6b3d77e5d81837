"""The contract of an algorithm: hyperparameters and pure functions, written for a single run.

Nothing here or in a concrete algorithm knows of other runs: the cohort maps `update` over runs
with ``torch.func.vmap``. What follows from that for whoever writes an algorithm:

* no Python branch on a tensor and no ``.item()``; branching on `phase` is fine, it is a plain int;
* a numbered state is its index: `networks.apply` takes observations of either kind;
* continuous actions are in [-1, 1] per dimension: the harness scales the data's and the policy's;
* randomness is an input: name the shapes in `noise_shapes`, receive standard uniform numbers;
* float hyperparameters may arrive as 0-d tensors, since they may differ between runs;
* clip gradients inside `update`, per run; every mean over a batch is weighted by ``batch.weight``.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from algorithms.distributions import ActionDistribution
from bench.types import ActionKind, Batch, DataSummary, Discount, EnvSpec

Metrics = dict[str, Tensor]


@dataclass(frozen=True)
class Algorithm(ABC):
    """Hyperparameters of one algorithm with its pure functions.

    Attributes:
        discount: Discount factor of the learner; null in a YAML means the dataset's.
    """

    discount: Discount

    num_minibatches: ClassVar[int] = 1
    """Minibatches an update asks for: 0 gives ``batch=None``, above 1 adds a leading axis."""

    tabular_only: ClassVar[bool] = False
    """Whether the algorithm needs the counts of a tabular task."""

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("discrete",)
    """Kinds of actions that this class can choose; another may be named for other worlds."""

    def noise_shapes(self, spec: EnvSpec, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the uniform noise in [0, 1) that `update` wants, by name."""
        del spec, batch_size
        return {}

    def minibatches(self, spec: EnvSpec) -> int:
        """Return `num_minibatches`; an algorithm may want others in some worlds."""
        del spec
        return self.num_minibatches

    def phase(self, step: int) -> int:
        """Return which variant of `update` the step, counted from 0, takes.

        An update is traced once per phase and sees the phase instead of the step, so whatever
        changes from step to step by rule (a target copied every so often) must be said here; what
        changes gradually (a schedule) belongs into the state. It may depend on settings that all
        runs of a cohort share, so not on a float.
        """
        del step
        return 0

    @abstractmethod
    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> Any:
        """Return the initial state, a NamedTuple or dict of tensors."""

    @abstractmethod
    def update(
        self,
        state: Any,
        summary: DataSummary,
        batch: Batch,
        noise: dict[str, Tensor],
        phase: int,
    ) -> tuple[Any, Metrics]:
        """Return the next state and scalar metrics; pure."""

    def diagnose(
        self, state: Any, summary: DataSummary, batch: Batch, phase: int
    ) -> dict[str, Tensor]:
        """Return further scalar metrics of a state, those that an update can do without.

        Asked for once per evaluation, with the batch and the phase of the update that led to the
        state, so they may cost what would be too much for every update; pure.
        """
        del state, summary, batch, phase
        return {}

    @abstractmethod
    def policy(self, state: Any, observation: Tensor) -> ActionDistribution:
        """Return the action distribution at observations as they come in a batch.

        Those are states' numbers ``[...]``, int64, or vectors ``[..., observation_size]``.
        """

    def critic_values(self, state: Any, summary: DataSummary, policy: Tensor) -> Tensor | None:
        """Return what the critic says of a table's pairs, None where there is no critic.

        Asked for once a run is trained, of that run alone, so that it decides nothing of what a
        learner becomes and is not in the fingerprint of its code (bench/store/code.py).

        Args:
            state: Of one run.
            summary: Of its data.
            policy: Probabilities ``[states, num_actions]``, float64. A critic that answers policies
                answers this one; any other says what it was trained to, whatever the policy.

        Returns:
            ``[states, num_actions]``, in the units of rewards that the learner sees.
        """
        del state, summary, policy
        return None

    @property
    def tabular_critic(self) -> bool:
        """Whether those are a table's, which any values could be: no network's hidden layers."""
        return not getattr(self, "hidden_sizes", ())
