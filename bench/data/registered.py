"""Data of any environment that is registered in gymnasium, collected here."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium

from bench.data.behavior import Component
from bench.data.collected import Collected
from bench.data.sources import DataSource, Facts, Task
from bench.types import Count
from bench.worlds.simulators.live import LiveEnvironment
from bench.worlds.simulators.policies import digest_of
from bench.worlds.simulators.registered import Registered

# Where gymnasium sets no limit of its own.
MAX_STEPS = 1000


@dataclass(frozen=True)
class Gymnasium(DataSource):
    """Episodes in an environment with numbered actions, or a box of them, by its id.

    Where no reference policy is known and none is brought they are uniformly random, since nothing
    else can be said of a world in general.

    Attributes:
        id: As in ``gymnasium.make``.
        expert_return: 100 of the normalised score; null is the brought policy's mean return.
        policy: One to collect with: package.module:function, or a zip of stable-baselines3.
        max_steps: Of an episode; null is the environment's own limit.
    """

    id: str
    expert_return: float | None
    policy: str | None
    behavior: tuple[Component, ...]
    num_transitions: Count
    max_steps: Count | None

    def __post_init__(self) -> None:
        """Refuse what cannot be collected."""
        _ = self.collected

    @cached_property
    def collected(self) -> Collected:
        """The source that collects."""
        world = Registered(self.id, self.expert_return, self.policy)
        limit = self.max_steps or gymnasium.spec(self.id).max_episode_steps or MAX_STEPS
        return Collected(world, self.behavior, self.num_transitions, limit)

    def recipe(self) -> dict[str, Any]:
        """Return the version of the collecting code and of gymnasium, whose worlds may change."""
        made = {**self.collected.recipe(), "gymnasium": gymnasium.__version__}
        return made if self.policy is None else {**made, "policy": digest_of(self.policy)}

    def facts(self) -> Facts:
        """Return what the environment says."""
        return self.collected.facts()

    def load(self, name: str, seed: int, discount: float, cache: Path | None) -> Task:
        """Collect the dataset, or read it from the cache."""
        task = self.collected.load(self.environment_name(name), seed, discount, cache)
        if not isinstance(task.environment, LiveEnvironment):
            return task
        provenance = {**task.data.provenance, "reference": task.environment.reference._asdict()}
        return replace(task, data=replace(task.data, provenance=provenance))

    def environment_name(self, name: str) -> str:
        """Return the id in place of the group's name."""
        return name.replace("gymnasium", self.id, 1)

    def check_discount(self, discount: float) -> None:
        """Refuse a discount that the world has no anchors for."""
        self.collected.check_discount(discount)

    def check_worse(self, epsilon: float, dataset_id: str | None) -> None:
        """Refuse a policy that is not worse than this dataset's."""
        self.collected.check_worse(epsilon, dataset_id)

    def halfway(self, discount: float) -> float:
        """Return the epsilon whose value is halfway from the uniform to the reference policy."""
        return self.collected.halfway(discount)
