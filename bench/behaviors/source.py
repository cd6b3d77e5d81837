"""Data of an environment of gymnasium's, collected by policies that have been trained there."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium

from bench.behaviors.kept import REPLAY, Card, card_of, digest_of, replay_of
from bench.behaviors.worlds import TrainedEnvironment, TrainedWorld
from bench.data.behavior import Component
from bench.data.collected import Collected
from bench.data.datasets import OfflineDataset
from bench.data.registered import MAX_STEPS, Gymnasium
from bench.data.sources import DataSource, Facts, Task
from bench.data.storage import Storage
from bench.errors import MissingData
from bench.types import Count, NonNegative

UNIFORM: tuple[Component, ...] = ({"epsilon": 1.0, "share": 1.0},)
ALONE: tuple[Component, ...] = ({"epsilon": 0.0, "share": 1.0},)
HALVES: tuple[Component, ...] = ({"epsilon": 0.0, "share": 0.5}, {"epsilon": 1.0, "share": 0.5})
# Half of the transitions by the medium policy, half by the expert, as D4RL has it.
MEDIUM_EXPERT = "medium_expert"
# Behaviors that are no policy of their own.
MIXTURES = {"random": UNIFORM, "mixed": HALVES}


@dataclass(frozen=True)
class Trained(DataSource):
    """Episodes by trained policies, or what one saw in its training.

    Attributes:
        id: As in ``gymnasium.make``.
        behavior: ``random``, ``mixed`` (half expert, half random), ``medium_replay`` (the latest
            `num_transitions` that training had seen when it reached ``medium``), ``medium_expert``
            (half of the transitions by either), or the name of a kept policy: ``expert``,
            ``medium``, ``return_1000``, ...
        behavior_noise: Standard deviation of the normal noise on policies' actions, in half ranges.
        num_transitions: Their number; of a replay at most that many.
        max_steps: Of an episode; null is the environment's own limit.
    """

    id: str
    behavior: str
    behavior_noise: NonNegative
    num_transitions: Count
    max_steps: Count | None

    def __post_init__(self) -> None:
        """Refuse what cannot be collected."""
        bare = self.untrained
        if bare.facts().action_kind != "continuous":
            raise ValueError(
                f"id is {self.id!r}, whose actions are numbered: see dataset=gymnasium"
            )
        card = self.card
        if card is None and self.behavior != "random":
            raise MissingData(
                self.environment_name(""),
                f"behavior={self.behavior} of {self.id} has not been trained yet: "
                f"`python -m bench behave dataset.id={self.id}` does it",
            )
        known = ["random", "mixed", REPLAY, MEDIUM_EXPERT, *(card.policies if card else ())]
        if self.behavior not in known:
            raise ValueError(
                f"behavior is {self.behavior!r}, but should be one of: {', '.join(known)}"
            )

    @property
    def card(self) -> Card | None:
        """How the policies were trained, None if they were not."""
        return card_of(self.id)

    @property
    def untrained(self) -> Gymnasium:
        """The source of uniformly random data."""
        return Gymnasium(self.id, None, None, UNIFORM, self.num_transitions, self.max_steps)

    def collected(self, card: Card) -> Collected:
        """Return the source that collects."""
        policy = self.behavior if self.behavior in card.policies else "expert"
        mixture = MIXTURES.get(self.behavior, ALONE)
        return Collected(self.world(card, policy), mixture, self.num_transitions, self.limit)

    def world(self, card: Card, policy: str) -> TrainedWorld:
        """Return the world in which a policy acts."""
        return TrainedWorld(self.id, policy, self.behavior_noise, digest_of(card))

    @property
    def limit(self) -> int:
        """Most steps of an episode."""
        return self.max_steps or gymnasium.spec(self.id).max_episode_steps or MAX_STEPS

    def recipe(self) -> dict[str, Any]:
        """Return what data depends on beside the settings: versions, and the training."""
        digest = None if self.card is None else digest_of(self.card)
        return {**self.untrained.recipe(), "training": digest}

    def environment_name(self, name: str) -> str:
        """Return the environment's id with the behavior."""
        return f"{self.id}_{self.behavior}"

    def facts(self) -> Facts:
        """Return what the environment and the training say."""
        card = self.card
        if card is None:
            return self.untrained.facts()
        facts = self.collected(card).facts()
        if self.behavior != REPLAY:
            return facts
        return facts._replace(num_transitions=min(card.replay, self.num_transitions))

    def load(self, name: str, seed: int, discount: float, cache: Path | None) -> Task:
        """Collect the dataset, or read it from where it is."""
        card, name = self.card, self.environment_name(name)
        if card is None:
            return self.untrained.load(name, seed, discount, cache)
        environment = self.world(card, "expert").environment(name, seed, discount, self.limit)
        if self.behavior == REPLAY:
            task = self._replayed(environment, seed)
        elif self.behavior == MEDIUM_EXPERT:
            task = self._joined(environment, seed, discount, cache)
        else:
            task = self.collected(card).load(name, seed, discount, cache)
        storage = task.data.storage
        known = replace(
            storage, comparator_action=environment.reference_action(storage.observation)
        )
        told = environment.reference._asdict()
        data = replace(
            task.data, storage=known, provenance={**task.data.provenance, "reference": told}
        )
        return replace(task, environment=environment, data=data)

    def _replayed(self, environment: TrainedEnvironment, seed: int) -> Task:
        """Return the latest of what training had seen; its episodes are the behavior's value."""
        whole = replay_of(self.id)
        latest = slice(max(0, len(whole) - self.num_transitions), None)
        columns = {name: column[latest] for name, column in whole.columns.items()}
        storage = Storage(comparator_action=None, **columns)
        provenance = {"source": "replay", "seed": seed, **self.recipe()}
        data = OfflineDataset.full(storage, environment.spec, provenance)
        return Task(environment, data, float(data.episode_returns.mean()), None)

    def _joined(
        self, environment: TrainedEnvironment, seed: int, discount: float, cache: Path | None
    ) -> Task:
        """Return the data of both policies; its episodes are the behavior's value."""
        half = self.num_transitions // 2
        sizes = {"medium": half, "expert": self.num_transitions - half}
        parts = [
            replace(self, behavior=policy, num_transitions=size)
            .load("", seed, discount, cache)
            .data
            for policy, size in sizes.items()
        ]
        storage = parts[0].storage.followed_by(parts[1].storage)
        provenance = {"source": "joined", "seed": seed, "of": [p.provenance for p in parts]}
        data = OfflineDataset.full(storage, environment.spec, provenance)
        return Task(environment, data, float(data.episode_returns.mean()), None)

    def check_worse(self, epsilon: float, dataset_id: str | None) -> None:
        """Refuse a policy that is not worse than this dataset's."""
        card = self.card
        if card is None or self.behavior in (REPLAY, MEDIUM_EXPERT):
            super().check_worse(epsilon, dataset_id)
        else:
            self.collected(card).check_worse(epsilon, dataset_id)
