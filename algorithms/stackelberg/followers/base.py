"""What every follower does: it remembers, answers the leader's policy, and says where it moves."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms.networks import Network
from algorithms.stackelberg.game.game import Units
from algorithms.stackelberg.game.implicit import LeaderGradient
from algorithms.stackelberg.game.kernels import Kernel
from algorithms.stackelberg.game.terms import KernelLoss, Terms
from algorithms.stackelberg.leaders import Leader
from bench.types import ActionKind, Batch, DataSummary, EnvSpec

# Variants of an update; a follower that answers exactly knows the first alone.
LEAD, WARM_START, LEAD_AND_SOLVE = 0, 1, 2


class Turn(NamedTuple):
    """What a follower answers to.

    Attributes:
        terms: The terms of the game.
        actor: The leader's parameters.
        memory: What the follower remembers.
        summary: What is known of the data.
        batch: One minibatch, several, or None, as the follower asks for.
        scale: Units of values.
        leader: How the actor's outputs are read.
        noise: What a leader that draws its actions draws them by.
    """

    terms: Terms
    actor: Network
    memory: Any
    summary: DataSummary
    batch: Batch | None
    scale: Units
    leader: Leader
    noise: dict[str, Tensor]


class Played(NamedTuple):
    """A round as it was played: the leader's gradient, what the follower remembers, the logs."""

    gradient: LeaderGradient
    memory: Any
    metrics: dict[str, Tensor]


class WarmStart(NamedTuple):
    """A step of cloning the data's actions and of evaluating them.

    Attributes:
        cloning: The leader's gradient.
        memory: What the follower remembers.
        metrics: The logs.
        rate: Of the leader's step; None is that by which it leads.
    """

    cloning: Network
    memory: Any
    metrics: dict[str, Tensor]
    rate: float | Tensor | None = None


@dataclass(frozen=True)
class Follower(ABC):
    """Settings of a follower with its pure functions, written for a single run."""

    name: ClassVar[str]
    """What settings call it."""

    tabular_only: ClassVar[bool] = False
    """Whether it needs the counts of a tabular task."""

    action_kind: ClassVar[ActionKind] = "discrete"
    """Which kind of actions it values."""

    def check(self, kernel: Kernel, kernel_loss: KernelLoss, ridge: float | None) -> None:
        """Refuse terms that this follower cannot play by.

        Raises:
            ValueError: With what is wrong and what would be right.
        """
        del kernel, ridge
        if kernel_loss == "u":
            raise ValueError(
                "kernel_loss=u has no exact response, its curvature is indefinite: use "
                "kernel_loss=v or follower=neural"
            )

    def minibatches(self) -> int:
        """Return how many minibatches an update asks for."""
        return 1

    def phase(self, step: int, *, total: bool) -> int:
        """Return which variant of an update a step takes, where the leader knows the answer."""
        del step, total
        return LEAD

    def remember(self, spec: EnvSpec, kernel: Kernel, generator: torch.Generator) -> Any:
        """Return the memory before the first update."""
        del spec, kernel, generator
        return ()

    def warm_start(self, turn: Turn) -> WarmStart:
        """Return a step of cloning and evaluating the data's behavior, in phase `WARM_START`."""
        raise NotImplementedError(f"{type(self).__name__} needs no warm start.")

    @abstractmethod
    def play(self, turn: Turn, phase: int) -> Played:
        """Return the leader's gradient against the answer to its policy."""

    @abstractmethod
    def diagnose(self, turn: Turn, phase: int, *, total: bool) -> dict[str, Tensor]:
        """Return what is too dear to log at every update, of an answer to the leader as it is."""

    def critic_values(self, turn: Turn) -> Tensor | None:
        """Return the answer to the leader on a table's pairs, in the units of rewards.

        None for a follower that is no table: its answer hangs on minibatches.
        """
        del turn
        return None


def need_features(kernel: Kernel, follower: str) -> None:
    """Refuse a kernel that works on cells alone.

    Raises:
        ValueError: With what would be right.
    """
    if kernel == "normalized_delta":
        raise ValueError(
            "kernel=normalized_delta divides by the data's share of a cell, so it needs "
            "follower=table; normalized_feature is its like elsewhere"
        )
    if kernel == "delta":
        raise ValueError(f"kernel=delta has no features, which follower={follower} works with")
