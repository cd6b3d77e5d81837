"""What a source of data must give: a task, and what can be said of it before it is loaded."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.data.behavior import KnownBehavior
from bench.data.datasets import OfflineDataset
from bench.types import ActionKind, WorldKind
from bench.worlds.base import Environment


@dataclass(frozen=True, eq=False)
class Task:
    """A dataset together with the world it came from, before anything is taken away.

    Attributes:
        environment: Where policies are evaluated.
        data: The full dataset.
        behavior_value: Value of the behavior policy in the environment's units of value.
        behavior_occupancy: ``[states, actions]`` where the MDP is known, else None.
        behavior_policy: How likely it took which action where; None where nobody knows.
    """

    environment: Environment
    data: OfflineDataset
    behavior_value: float
    behavior_occupancy: np.ndarray | None
    behavior_policy: KnownBehavior | None = None


class Facts(NamedTuple):
    """What can be said of a source's data before it is loaded.

    Attributes:
        tabular: Whether the environment is a finite MDP with known tables.
        action_kind: ``discrete`` or ``continuous``.
        has_comparator: Whether a reference policy's action is known at every observation.
        observation_names: Names of a vector observation's dimensions.
        num_transitions: Their number.
        can_evaluate: Whether there is an environment to evaluate policies in.
        slab_dimension: The dimension that a slab is cut out of where nobody names one; None is the
            first one.
        own_world: Whether the world is one of this project's, not a simulator of others or a file.
        table_shape: Numbers of states and of actions where both are numbered and known.
        collected: Whether the data is made here, in memory, rather than read from a file.
    """

    tabular: bool
    action_kind: ActionKind
    has_comparator: bool
    observation_names: tuple[str, ...]
    num_transitions: int
    can_evaluate: bool
    slab_dimension: str | None = None
    own_world: bool = True
    table_shape: tuple[int, int] | None = None
    collected: bool = False

    @property
    def kind(self) -> WorldKind:
        """The kind of world, by which settings are chosen for learners."""
        if self.action_kind == "continuous":
            return "continuous" if self.own_world else "mujoco"
        return "vector" if self.observation_names else "table"


class DataSource(ABC):
    """Settings from which a dataset is made or read."""

    @abstractmethod
    def load(self, name: str, seed: int, discount: float, cache: Path | None) -> Task:
        """Return the task that the seed names, using or filling the cache folder if given."""

    def recipe(self) -> dict[str, Any]:
        """Return what, beside the configuration, decides the content: a version or a file hash."""
        return {}

    def worse_recipe(self, dataset_id: str) -> dict[str, Any]:
        """Return what decides the content of the dataset that ``coverage=quality`` takes from."""
        del dataset_id
        return {}

    def environment_name(self, name: str) -> str:
        """Return the environment's name in records and figures; `name` is the dataset group's."""
        return name

    @abstractmethod
    def facts(self) -> Facts:
        """Return what a plan checks before anything is loaded."""

    def check_here(self) -> None:  # noqa: B027  (most need nothing)
        """Raise ``MissingData`` where something that the data is made with is not installed."""

    def check_discount(self, discount: float) -> None:
        """Raise ``ValueError`` where the world's anchors do not hold for a discount."""
        del discount

    def check_worse(self, epsilon: float, dataset_id: str | None) -> None:
        """Raise ``ValueError`` if the source cannot supply episodes of such a worse policy."""
        del epsilon, dataset_id
        raise ValueError("coverage=quality needs a source that can supply worse episodes")
