"""Behavior policies and seeded collection into datasets."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench import seeding
from bench.data.behavior import (
    Component,
    actor,
    by_clinician,
    halfway_epsilon,
    known_behavior,
    shares,
    simulated_value,
    tables,
)
from bench.data.datasets import OfflineDataset, Reserve
from bench.data.sources import DataSource, Facts, Task
from bench.data.storage import Storage
from bench.types import Count
from bench.worlds import exact
from bench.worlds.base import Environment, World, rollout
from bench.worlds.tabular import TabularEnvironment

# Part of every run's identity: raise it when the same settings would collect other data.
GENERATOR_VERSION = 1
EPISODES_PER_WAVE = 64


@dataclass(frozen=True)
class Collected(DataSource):
    """Data collected here: a mixture of episodes of epsilon-greedy behavior policies."""

    environment: World
    behavior: tuple[Component, ...]
    num_transitions: Count
    max_steps: Count

    def __post_init__(self) -> None:
        """Refuse an empty mixture."""
        if not self.behavior:
            raise ValueError("behavior must name at least one {epsilon, share}")
        if not self.environment.has_reference_policy and any(
            p["epsilon"] < 1 for p in self.behavior
        ):
            raise ValueError(
                "behavior needs a reference policy, which this world has not: epsilon should be 1"
            )
        if not self.environment.has_clinician and any(map(by_clinician, self.behavior)):
            raise ValueError(
                "behavior names the policy of clinicians, which this world does not know"
            )

    def recipe(self) -> dict[str, Any]:
        """Return the version of the collecting code."""
        return {"generator": GENERATOR_VERSION}

    def facts(self) -> Facts:
        """Return what the environment's family says."""
        return Facts(
            tabular=self.environment.tabular,
            action_kind=self.environment.action_kind,
            has_comparator=self.environment.has_reference_policy,
            observation_names=self.environment.observation_names,
            num_transitions=self.num_transitions,
            can_evaluate=True,
            slab_dimension=self.environment.slab_dimension,
            own_world=self.environment.own_world,
            table_shape=self.environment.table_shape,
            collected=True,
        )

    def load(self, name: str, seed: int, discount: float, cache: Path | None) -> Task:
        """Collect the dataset, or read it from the cache."""
        environment = self.environment_of(name, seed, discount)
        recipe = {
            "source": "collected",
            "name": name,
            "seed": seed,
            "discount": discount,
            "world": type(self.environment).__name__,
            # Data must not outlive a change in how seeds become streams.
            "stream": [seeding.derive("instance", seed), seeding.derive("collect", seed)],
            **asdict(self),
            **self.recipe(),
        }
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
        path = None if cache is None else cache / f"{name}-{digest}"
        storage = None if path is None else Storage.load(path)
        if storage is None:
            storage = collect(environment, self.behavior, self.num_transitions, seed)
            if path is not None:
                storage.save(path)
        reserve = Reserve(partial(self._collect_worse, environment, seed))
        data = OfflineDataset.full(storage, environment.spec, recipe, reserve)
        known = known_behavior(environment, self.behavior)
        return Task(environment, data, *self.behavior_of(environment), known)

    def environment_of(self, name: str, seed: int, discount: float) -> Environment:
        """Return the instance of the world that a seed names."""
        return self.environment.environment(name, seed, discount, self.max_steps)

    def halfway(self, discount: float) -> float:
        """Return the epsilon whose value is halfway from the uniform to the reference policy."""
        return halfway_epsilon(self.environment, discount, self.max_steps)

    def behavior_of(self, environment: Environment) -> tuple[float, np.ndarray | None]:
        """Return the behavior policy's value and, where the MDP is known, its occupancy."""
        if isinstance(environment, TabularEnvironment):
            return self._exact(environment)
        return simulated_value(environment, self.behavior), None

    def check_here(self) -> None:
        """Refuse a world that is not installed."""
        self.environment.check_here()

    def check_discount(self, discount: float) -> None:
        """Refuse a discount that the world has no anchors for."""
        self.environment.check_discount(discount)

    def check_worse(self, epsilon: float, dataset_id: str | None) -> None:
        """Refuse a policy that is not worse than this dataset's."""
        if dataset_id is not None:
            raise ValueError(
                f"coverage.worse_id is {dataset_id!r}, but data collected here has no id: "
                "set coverage.worse_epsilon"
            )
        own = float(shares(self.behavior) @ [part["epsilon"] for part in self.behavior])
        if epsilon <= own:
            raise ValueError(
                f"coverage.worse_epsilon is {epsilon:g}, but should be above the mean epsilon of "
                f"the dataset's own behavior, which is {own:g}"
            )

    def _collect_worse(
        self,
        environment: Environment,
        seed: int,
        epsilon: float,
        dataset_id: str | None,
        num_transitions: int,
    ) -> Storage:
        """Return episodes of an epsilon-greedy policy worse than this dataset's."""
        self.check_worse(epsilon, dataset_id)
        behavior: tuple[Component, ...] = ({"epsilon": epsilon, "share": 1.0},)
        return collect(environment, behavior, num_transitions, seed, "worse")

    def _exact(self, environment: TabularEnvironment) -> tuple[float, np.ndarray]:
        """Return exact value and occupancy of the mixture of episodes."""
        mdp, discount = environment.mdp, environment.spec.discount
        weights, policies = shares(self.behavior), tables(environment, self.behavior)
        value = weights @ exact.policy_value(mdp, policies, discount)
        occupancy = np.tensordot(weights, exact.occupancy(mdp, policies, discount), axes=1)
        return float(value), occupancy


def collect(
    environment: Environment,
    behavior: tuple[Component, ...],
    num_transitions: int,
    *keys: int | str,
) -> Storage:
    """Return exactly `num_transitions` transitions; the last episode is cut where they are full.

    Whole waves of episodes are collected and kept in order, so that short episodes are not
    favoured over long ones. `keys`, a seed first, name the random stream.
    """
    waves: list[dict[str, np.ndarray]] = []
    collected, episodes = 0, 0
    while collected < num_transitions:
        wave = _collect_wave(environment, behavior, keys, len(waves))
        wave["episode"] += episodes
        episodes += EPISODES_PER_WAVE
        collected += len(wave["action"])
        waves.append(wave)
    columns = {key: np.concatenate([wave[key] for wave in waves]) for key in waves[0]}
    columns = {key: column[:num_transitions] for key, column in columns.items()}
    _check_finite(columns)
    known = environment.has_reference_policy
    comparator = environment.reference_action(columns["observation"]) if known else None
    return Storage(comparator_action=comparator, **columns)


def _check_finite(columns: dict[str, np.ndarray]) -> None:
    """Refuse what is no number, or none in single precision, which learners get.

    Raises:
        ValueError: With the column.
    """
    for name, column in columns.items():
        with np.errstate(over="ignore"):
            if column.dtype.kind == "f" and not np.isfinite(column.astype(np.float32)).all():
                raise ValueError(f"The world gives a {name} that is no finite number in float32.")


def _collect_wave(
    environment: Environment,
    behavior: tuple[Component, ...],
    keys: tuple[int | str, ...],
    wave: int,
) -> dict[str, np.ndarray]:
    """Return the columns of one wave of complete episodes, ordered by episode and step."""
    world = seeding.numpy_generator("collect", *keys, "world", wave)
    choice = seeding.numpy_generator("collect", *keys, "behavior", wave)
    act = actor(environment, behavior, choice, EPISODES_PER_WAVE)
    simulator = environment.simulator([environment], [world], EPISODES_PER_WAVE)
    steps = list(rollout(simulator, act, environment.spec.horizon))
    active = np.stack([step.active[0] for step in steps], axis=1)  # [episode, time]

    def column(name: str) -> np.ndarray:
        # [time, 1, episode, ...] -> [episode, time, ...] -> flat, inactive steps dropped
        return np.stack([getattr(step, name)[0] for step in steps], axis=1)[active]

    episode, time = np.nonzero(active)
    return {
        "observation": column("observation"),
        "action": column("action"),
        "reward": column("reward"),
        "next_observation": column("next_observation"),
        "terminated": column("terminated"),
        "episode": episode,
        "step": time,
    }
