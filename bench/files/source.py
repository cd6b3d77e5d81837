"""What datasets from files have in common, whatever the format of the file."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

from bench.data.datasets import OfflineDataset, Reserve
from bench.data.sources import DataSource, Facts, Task
from bench.data.storage import Storage
from bench.files.flat import Card, Flat, UnusableFile, accessible, card_of, flattened
from bench.types import EnvSpec
from bench.worlds.base import Environment
from bench.worlds.live import LiveEnvironment
from bench.worlds.recorded import RecordedEnvironment, Reference
from bench.worlds.tabular import return_bounds

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
    """

    id: str
    random_return: float | None
    expert_return: float | None

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
    def environment(self, name: str, card: Card, discount: float) -> Environment:
        """Return the world that the data comes from, as far as it is known."""

    def reference(self, card: Card) -> Reference:
        """Return the returns that scores are scaled by."""
        published = self.published_reference(card)
        if self.random_return is None and self.expert_return is None:
            return published
        return Reference(
            published.random if self.random_return is None else self.random_return,
            published.expert if self.expert_return is None else self.expert_return,
            "the run's own settings",
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
        reference = self.reference(opened.card)
        provenance = {
            "source": type(self).__name__.lower(),
            "id": self.id,
            "seed": seed,
            "reference": reference._asdict(),
            "crossing": opened.card.crossing,
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
        other = replace(self, id=dataset_id)
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
        other = replace(self, id=dataset_id)
        return _opened(other, ANY_DISCOUNT, other.key()).storage


class _Opened(NamedTuple):
    environment: Environment
    storage: Storage
    card: Card
    reserve: Reserve
    # Held so that the next to ask for the same columns finds them.
    flat: Flat


# In all of these the key, which has the file's hash, stands for the file's content.


@lru_cache(OPEN_AT_ONCE)
def _opened(source: FileSource, discount: float, key: str) -> _Opened:
    """Return a file's data with its world; runs that share it share one storage."""
    del key
    flat = source.flat()
    environment = source.environment(source.id, flat.card, discount)
    storage = flat.storage
    if environment.has_reference_policy:
        comparator = environment.reference_action(storage.observation)
        storage = replace(storage, comparator_action=comparator)
    return _Opened(environment, storage, flat.card, Reserve(source.worse), flat)


@lru_cache(CARDS)
def _card(source: FileSource, key: str) -> Card:
    del key
    return source.card()


@lru_cache(CARDS)
def _check_discount(source: FileSource, discount: float, key: str) -> None:
    source.environment(source.id, _card(source, key), discount)


@lru_cache(CARDS)
def _facts(source: FileSource, key: str) -> Facts:
    card = _card(source, key)
    environment = source.environment(source.id, card, ANY_DISCOUNT)
    return Facts(
        tabular=environment.mdp is not None,
        action_kind=environment.spec.action_kind,
        has_comparator=environment.has_reference_policy,
        observation_names=environment.spec.observation_names,
        num_transitions=card.num_transitions,
        can_evaluate=environment.can_evaluate,
        own_world=not isinstance(environment, RecordedEnvironment),
        table_shape=(card.observation_size, card.num_actions)
        if card.discrete_observations and card.num_actions
        else None,
    )


def spec_of(name: str, card: Card, discount: float, horizon: int) -> EnvSpec:
    """Return what an algorithm may know of the world that a file's transitions come from.

    The bounds of value follow from the range of rewards in the whole file, whatever a degradation
    takes away later.
    """
    v_min, v_max = return_bounds(
        card.reward_min, card.reward_max, discount, card.reward_only_at_end
    )
    size = card.observation_size
    return EnvSpec(
        name=name,
        observation_kind="discrete" if card.discrete_observations else "vector",
        observation_size=size,
        num_actions=card.num_actions,
        discount=discount,
        horizon=horizon,
        reward_min=card.reward_min,
        reward_max=card.reward_max,
        v_min=v_min,
        v_max=v_max,
        observation_names=() if card.discrete_observations else tuple(f"x{i}" for i in range(size)),
        action_bounds=card.action_bounds,
    )


def simulated(
    spec: EnvSpec, reference: Reference, gymnasium_spec: GymnasiumSpec | None
) -> RecordedEnvironment:
    """Return the world of a file's transitions, to be acted in if gymnasium's can be made here."""
    if gymnasium_spec is None:
        return RecordedEnvironment(spec, reference)
    try:
        return LiveEnvironment.make(gymnasium_spec, spec, reference)
    except ValueError as error:
        # The data is still good.
        return RecordedEnvironment(spec, reference, why=str(error))
