"""What datasets from files have in common, whatever the format of the file."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from bench.data.datasets import OfflineDataset, Reserve
from bench.data.sources import DataSource, Facts, Task
from bench.data.storage import Storage
from bench.files.flat import Card, Flat, UnusableFile, accessible, card_of, flattened
from bench.files.gate.believed import believed, judged
from bench.files.gate.claim import Claim
from bench.files.gate.verdict import Trust, Verdict
from bench.worlds.base import Environment
from bench.worlds.simulators.recorded import OWN_SETTINGS, RecordedEnvironment, Reference
from bench.worlds.simulators.rescaled import Rescaled

# Datasets whose columns stay in memory between runs (larger columns are mapped in any case).
OPEN_AT_ONCE = 4
# Datasets of which it is remembered what a plan asks for; a plan must not open files per run.
CARDS = 1024
# For what does not depend on it; worlds with continuous actions refuse some that are nearer to 1.
ANY_DISCOUNT = 0.9


@dataclass(frozen=True)
class FileSource(DataSource):
    """A dataset of a public collection by its id.

    Attributes:
        id: The dataset's name in its collection; names the environment in records and figures.
        random_return: Return of a random policy, 0 of the score; null is the published one.
        expert_return: Return of an expert policy, 100 of the score; null is the published one.
        trust: What is done with the world that is named for the data: ``check`` compares the two
            and refuses what disagrees, ``refuse`` takes no world, ``ignore`` takes it all the same.
    """

    id: str
    random_return: float | None
    expert_return: float | None
    trust: Trust

    @abstractmethod
    def key(self) -> str:
        """Return a name for all that the flat columns depend on, the file's hash among it."""

    @abstractmethod
    def convert(self, folder: Path) -> Card:
        """Write the file's transitions as columns into a folder and return what is known of them.

        Raises:
            UnusableFile: If the file cannot serve.
        """

    @abstractmethod
    def published_reference(self, card: Card) -> Reference:
        """Return the returns that scores are scaled by where the settings give none."""

    @abstractmethod
    def claim(self, name: str, card: Card, discount: float) -> Claim:
        """Return the world that is named for the data, before the two are compared."""

    def other(self, dataset_id: str) -> Self:
        """Return another dataset that is read alike."""
        return replace(self, id=dataset_id)

    def reference(self, card: Card) -> Reference:
        """Return the returns that scores are scaled by."""
        published = self.published_reference(card)
        if self.random_return is None and self.expert_return is None:
            return published
        return Reference(
            published.random if self.random_return is None else self.random_return,
            published.expert if self.expert_return is None else self.expert_return,
            OWN_SETTINGS,
        )

    def environment_name(self, name: str) -> str:
        """Return the dataset's id: one group of settings serves all of them."""
        del name
        return self.id

    def flat(self) -> Flat:
        """Return the file's transitions, converted when they are first asked for.

        Raises:
            UnusableFile: If the file cannot serve; nothing is cached then.
        """
        key = self.key()
        with accessible():
            return flattened(key, partial(self._convert, key))

    def card(self) -> Card:
        """Return what is known of the file's transitions, which are not opened if need not be.

        Raises:
            UnusableFile: If the file cannot serve; nothing is cached then.
        """
        key = self.key()
        with accessible():
            return card_of(key, partial(self._convert, key))

    def _convert(self, key: str, folder: Path) -> Card:
        card = self.convert(folder)
        if self.key() != key:
            raise UnusableFile(f"{self.id} is being written to: try again when it is complete")
        return card

    def facts(self) -> Facts:
        """Return what the file says; it is fetched and converted if need be.

        Raises:
            UnusableFile: If there is no file that can serve.
        """
        return _facts(self, self.key())

    def load(self, name: str, seed: int, discount: float, cache: Path | None) -> Task:
        """Return the task; flat columns lie in the user's cache folder, `cache` is not used."""
        del name, cache
        opened = _opened(self, discount, self.key())
        provenance = {
            "source": type(self).__name__.lower(),
            "id": self.id,
            "seed": seed,
            "reference": _reference(self, opened)._asdict(),
            "crossing": opened.card.crossing,
            "world_check": opened.verdict.told(self.id, self.trust),
            **self.recipe(),
        }
        spec = opened.environment.spec
        data = OfflineDataset.full(opened.storage, spec, provenance, opened.reserve)
        value, occupancy = self.behavior(opened.card, opened.environment, opened.storage)
        return Task(opened.environment, data, value, occupancy)

    def behavior(
        self, card: Card, environment: Environment, storage: Storage
    ) -> tuple[float, np.ndarray | None]:
        """Return the behavior policy's value, and its occupancy ``[states, actions]`` if known.

        Where nothing but the data tells of the policy, its value is the mean over the recorded
        episodes, in the environment's units: discounted where values are exact.
        """
        if environment.mdp is None and not environment.discounted:
            return card.mean_return, None
        weight = environment.spec.discount**storage.step
        first = np.unique(storage.episode, return_index=True)[1]
        return float(np.add.reduceat(weight * storage.reward, first).mean()), None

    def check_discount(self, discount: float) -> None:
        """Refuse a discount that the world of the data has no values for."""
        _check_discount(self, discount, self.key())

    def check_worse(self, epsilon: float, dataset_id: str | None) -> None:
        """Refuse a dataset that cannot replace this one's episodes by worse ones."""
        del epsilon
        if dataset_id is None:
            raise ValueError(
                "coverage=quality needs coverage.worse_id here, the id of a dataset of the same "
                "kind from a worse policy"
            )
        other = self.other(dataset_id)
        own, worse = _card(self, self.key()), _card(other, other.key())
        if own.shape != worse.shape:
            raise ValueError(
                f"coverage.worse_id is {dataset_id!r}, whose observations and actions are not "
                f"shaped like those of {self.id}"
            )
        if worse.mean_return >= own.mean_return:
            raise ValueError(
                f"coverage.worse_id is {dataset_id!r} with a mean return of {worse.mean_return:g}, "
                f"but should be worse than {self.id}, whose is {own.mean_return:g}"
            )
        if worse.num_transitions < own.num_transitions:
            raise ValueError(
                f"coverage.worse_id is {dataset_id!r} with {worse.num_transitions} transitions, "
                f"but should have at least as many as {self.id}, {own.num_transitions}"
            )

    def worse_recipe(self, dataset_id: str) -> dict[str, Any]:
        """Return the recipe of the other file."""
        return replace(self, id=dataset_id).recipe()

    def worse(self, epsilon: float, dataset_id: str | None, num_transitions: int) -> Storage:
        """Return the transitions of a worse dataset."""
        del num_transitions
        self.check_worse(epsilon, dataset_id)
        assert dataset_id is not None
        other = self.other(dataset_id)
        return _opened(other, ANY_DISCOUNT, other.key()).storage


class _Opened(NamedTuple):
    environment: Environment
    verdict: Verdict
    storage: Storage
    card: Card
    reserve: Reserve
    # Held so that the next to ask for the same columns finds them.
    flat: Flat


# In all of these the key, which has the file's hash, stands for the file's content.


@lru_cache(OPEN_AT_ONCE)
def _opened(source: FileSource, discount: float, key: str) -> _Opened:
    """Return a file's data with its world; runs that share it share one storage."""
    flat = source.flat()
    environment, verdict = _world(source, discount, key)
    storage = flat.storage
    if environment.has_reference_policy:
        comparator = environment.reference_action(storage.observation)
        storage = replace(storage, comparator_action=comparator)
    return _Opened(environment, verdict, storage, flat.card, Reserve(source.worse), flat)


@lru_cache(CARDS)
def _card(source: FileSource, key: str) -> Card:
    del key
    return source.card()


@lru_cache(CARDS)
def _world(source: FileSource, discount: float, key: str) -> tuple[Environment, Verdict]:
    """Return the world that policies are evaluated in, and what came of comparing it to the data.

    Raises:
        UnusableFile: If they disagree, and the file is to be checked.
    """
    card = _card(source, key)
    claim = source.claim(source.id, card, discount)
    if source.trust == "refuse":
        return believed(claim, Verdict.nothing("dataset.trust=refuse"), source.id, source.trust)
    with accessible():
        verdict = judged(claim, key, card, lambda: source.flat().storage)
    return believed(claim, verdict, source.id, source.trust)


def _reference(source: FileSource, opened: _Opened) -> Reference:
    """Return the returns that scores are scaled by, in terms of the recorded rewards."""
    environment = opened.environment
    world = environment.world if isinstance(environment, Rescaled) else environment
    if isinstance(world, RecordedEnvironment):
        return world.reference
    return source.reference(opened.card)


@lru_cache(CARDS)
def _check_discount(source: FileSource, discount: float, key: str) -> None:
    _world(source, discount, key)


@lru_cache(CARDS)
def _facts(source: FileSource, key: str) -> Facts:
    card, (environment, _) = _card(source, key), _world(source, ANY_DISCOUNT, key)
    whole = environment.world if isinstance(environment, Rescaled) else environment
    return Facts(
        tabular=environment.mdp is not None,
        action_kind=environment.spec.action_kind,
        has_comparator=environment.has_reference_policy,
        observation_names=environment.spec.observation_names,
        num_transitions=card.num_transitions,
        can_evaluate=environment.can_evaluate,
        own_world=not isinstance(whole, RecordedEnvironment),
        table_shape=(card.observation_size, card.num_actions)
        if card.discrete_observations and card.num_actions
        else None,
    )
