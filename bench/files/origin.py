"""Where a dataset comes from: this project's own worlds, gymnasium's, or nothing but data."""

import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

from bench import worlds
from bench.data.collected import Collected
from bench.data.registered import Gymnasium
from bench.data.sources import DataSource
from bench.files.claims import gymnasium_claim, no_claim, spec_of
from bench.files.flat import Card, UnusableFile
from bench.files.gate.claim import Claim
from bench.files.source import FileSource
from bench.files.trusted import spec_told, trusted_spec
from bench.settings.typed import ConfigError, typed_object
from bench.worlds.base import World
from bench.worlds.simulators.recorded import RecordedEnvironment, Reference

# The metadata's key for what an export of this project says of itself.
KEY = "stackelberg_bench"


@dataclass(frozen=True)
class Origin:
    """A dataset collected by this project: by which settings, and of which instance.

    Attributes:
        source: The settings that it was collected with.
        seed: The seed that names the instance.
    """

    source: Collected
    seed: int


def origin_of(card: Card) -> Origin | None:
    """Return how this project collected a dataset, None if another one did.

    Raises:
        UnusableFile: If the metadata says so and cannot be understood.
    """
    said = card.metadata.get(KEY)
    if not isinstance(said, Mapping) or said.get("collected") is None:
        return None
    try:
        settings = said["collected"]
        _check_targets(settings)
        return Origin(typed_object(settings, "metadata", kind=Collected), int(said["seed"]))
    except (ConfigError, ImportError, KeyError, TypeError, ValueError) as error:
        raise UnusableFile(f"The metadata's {KEY} cannot be understood ({error})") from error


def claim_of(name: str, card: Card, discount: float, reference: Reference) -> Claim:
    """Return the world that a dataset's metadata names: the exact one if it is known here."""
    altered = _altered_rewards(card)
    origin = origin_of(card)
    if origin is not None:
        known = origin.source.environment.gymnasium_id
        environment = origin.source.environment_of(name, origin.seed, discount)
        alone = spec_of(name, card, discount, environment.spec.horizon)
        spec = None if known is None else copy.deepcopy(gymnasium.spec(known))
        return Claim(
            environment,
            RecordedEnvironment(alone, reference),
            spec,
            altered_rewards=altered,
            instance=origin,
            label=type(origin.source.environment).__name__,
        )
    try:
        evaluated, collected = (
            spec_told(card.metadata.get(key)) for key in ("eval_env_spec", "env_spec")
        )
    except ValueError as error:
        return no_claim(name, card, discount, reference, str(error))
    spec = evaluated or collected
    if spec is None:
        return no_claim(name, card, discount, reference)
    elsewhere = evaluated is not None and collected is not None and evaluated != collected
    claim = gymnasium_claim(name, card, discount, reference, spec)
    return replace(claim, elsewhere=elsewhere, altered_rewards=altered)


def collection_of(source: DataSource, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an export's metadata says of how its data was collected; nothing if unknown.

    `settings` are the source's as plain data.
    """
    if isinstance(source, Collected):
        names = ("target", *(f.name for f in fields(source)))
        return {"collected": {n: settings[n] for n in names}, "seed": settings["seed"]}
    if isinstance(source, FileSource):
        said = source.card().metadata.get(KEY)
        if isinstance(said, Mapping) and "collected" in said:
            return {"collected": said["collected"], "seed": said["seed"]}
    return {}


def gymnasium_spec_of(source: DataSource) -> GymnasiumSpec | None:
    """Return gymnasium's spec of the world that data comes from, None if it has none."""
    if isinstance(source, FileSource):
        return _gymnasium_spec(source.card())
    if isinstance(source, Gymnasium):
        source = source.collected
    if isinstance(source, Collected) and source.environment.gymnasium_id is not None:
        spec = copy.deepcopy(gymnasium.spec(source.environment.gymnasium_id))
        spec.max_episode_steps = source.max_steps
        return spec
    return None


def _gymnasium_spec(card: Card) -> GymnasiumSpec | None:
    said = card.metadata
    return trusted_spec(said.get("eval_env_spec")) or trusted_spec(said.get("env_spec"))


def _altered_rewards(card: Card) -> bool:
    """Return whether an export says that a degradation has altered its rewards."""
    said = card.metadata.get(KEY)
    done = said.get("degradations") if isinstance(said, Mapping) else None
    return isinstance(done, list) and any(str(one).startswith("rewards") for one in done)


def _check_targets(settings: Any) -> None:
    """Refuse settings that would make other than this project's objects; a file is not trusted."""
    if isinstance(settings, Mapping):
        if "target" in settings and not _is_own(settings["target"]):
            raise ValueError(f"it names {settings['target']!r}")
        for value in settings.values():
            _check_targets(value)


def _is_own(target: Any) -> bool:
    """Return whether a target is what collects, or one of this project's worlds."""
    if target == f"{Collected.__module__}.{Collected.__qualname__}":
        return True
    module, _, name = str(target).rpartition(".")
    if not module.startswith(f"{worlds.__name__}."):
        return False
    found = getattr(importlib.import_module(module), name, None)
    return isinstance(found, type) and issubclass(found, World)
