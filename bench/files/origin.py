"""Where a dataset comes from: this project's own worlds, gymnasium's, or nothing but data."""

import copy
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

from bench import worlds
from bench.data.collected import Collected
from bench.data.registered import Gymnasium
from bench.data.sources import DataSource
from bench.files.flat import Card, UnusableFile
from bench.files.source import FileSource, simulated, spec_of
from bench.files.trusted import is_registered, trusted_spec
from bench.settings.typed import ConfigError, typed_object
from bench.worlds.base import Environment, World
from bench.worlds.recorded import Reference
from bench.worlds.registered import own_world

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


def environment_of(name: str, card: Card, discount: float, reference: Reference) -> Environment:
    """Return the world of a dataset: the exact one if it is known here, else the best there is."""
    origin = origin_of(card)
    if origin is not None:
        environment = origin.source.environment_of(name, origin.seed, discount)
        if not _fits(environment, card):
            raise UnusableFile(f"The metadata's {KEY} is of another world than the data")
        return environment
    spec = _gymnasium_spec(card)
    horizon = (spec.max_episode_steps if spec else None) or card.longest_episode
    if spec is not None:
        world = _own_world(spec)
        if world is not None:
            environment = world.environment(name, 0, discount, horizon)
            if _fits(environment, card):
                return environment
    return simulated(spec_of(name, card, discount, horizon), reference, spec)


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


def _own_world(spec: GymnasiumSpec) -> World | None:
    """Return the world of this project that is the same as one of gymnasium's, if there is one."""
    if not is_registered(spec) or spec.additional_wrappers:
        return None
    if gymnasium.registry[spec.id].kwargs != spec.kwargs:
        return None
    return own_world(spec.id)


def _fits(environment: Environment, card: Card) -> bool:
    spec = environment.spec
    discrete = spec.observation_kind == "discrete"
    action_size = 0 if spec.action_bounds is None else len(spec.action_bounds[0])
    return (discrete, spec.observation_size, spec.num_actions, action_size) == card.shape


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
