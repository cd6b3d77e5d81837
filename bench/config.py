"""The settings of a run and of the harness, typed: defaults, identity, what cannot go together."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from algorithms.base import Algorithm
from bench import CONF
from bench.datasets import DataSource
from bench.encoding import Normalization
from bench.environments import World
from bench.typed import STRICT, ConfigError, checked, typed_object
from bench.types import Count, Discount, Fraction, Seed

# Becomes a folder or a file's name.
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


class DatasetConfig(BaseModel):
    """What every dataset group has, whatever its source."""

    model_config = STRICT
    name: Name
    source: DataSource
    discount: Discount
    seed: Seed
    normalization: Normalization


class CoverageConfig(BaseModel):
    """A degradation and how strong it is."""

    model_config = STRICT
    name: Name
    degrade: Callable[..., Any]
    severity: Fraction


class TrainingConfig(BaseModel):
    """The settings of a run that belong to no group."""

    model_config = STRICT
    seed: Seed
    num_updates: Count
    batch_size: Count | Literal["full"]
    eval_every: Count
    eval_episodes: Count


class RunConfig(TrainingConfig):
    """Everything that can change a run's result, typed."""

    algorithm: Algorithm
    algorithm_name: Name
    dataset: DatasetConfig
    coverage: CoverageConfig


class LauncherConfig(BaseModel):
    """How a sweep's runs are brought together on this machine."""

    model_config = STRICT
    cohort_size: Count
    retry_failed: bool
    dry_run: bool


class HarnessConfig(BaseModel):
    """Everything about a run that cannot change its result."""

    model_config = STRICT
    experiment_name: Name
    results_dir: Path
    device: Literal["cpu", "cuda", "auto"]
    compile: Literal["auto", "on", "off"]
    launcher: LauncherConfig


GROUPS = ("algorithm", "dataset", "coverage")
NOTHING_REMOVED = {"name": "none", "target": "bench.degradations.none", "severity": 0.0}


def run_config(settings: Mapping[str, Any]) -> RunConfig:
    """Return the typed run of settings whose defaults are filled in (see `fill_defaults`).

    Raises:
        ConfigError: If a setting is unknown, missing, of the wrong type or out of range.
    """
    algorithm, dataset, coverage = (dict(_mapping(settings, key)) for key in GROUPS)
    training = {key: value for key, value in settings.items() if key not in GROUPS}
    checked(TrainingConfig, training, "", other_keys=(*GROUPS, *HarnessConfig.model_fields))
    common = {key: dataset.pop(key) for key in DatasetConfig.model_fields if key in dataset}
    source = typed_object(dataset, "dataset", DatasetConfig.model_fields, DataSource)
    applied = {key: coverage.pop(key) for key in ("name", "severity") if key in coverage}
    degrade = typed_object(coverage, "coverage", other_keys=("name", "severity"))
    parts = {
        "dataset": checked(DatasetConfig, {**common, "source": source}, "dataset"),
        "coverage": checked(CoverageConfig, {**applied, "degrade": degrade}, "coverage"),
        "algorithm_name": algorithm.pop("name", None),
        "algorithm": typed_object(algorithm, "algorithm", ("name",), Algorithm),
    }
    config: RunConfig = checked(RunConfig, {**training, **parts}, "")
    _check_together(config)
    return config


def fill_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with every default that depends on another setting filled in.

    ``dataset.seed`` defaults to the seed and ``algorithm.discount`` to the dataset's.
    """
    algorithm, dataset = (dict(_mapping(settings, key)) for key in ("algorithm", "dataset"))
    if dataset.get("seed") is None and settings.get("seed") is not None:
        dataset["seed"] = settings["seed"]
    if algorithm.get("discount") is None and dataset.get("discount") is not None:
        algorithm["discount"] = dataset["discount"]
    return {**settings, "algorithm": algorithm, "dataset": dataset}


def run_id(settings: Mapping[str, Any], config: RunConfig) -> str:
    """Return the hash of resolved settings and the data's recipe, 16 hexadecimal digits."""
    identity = {"settings": _canonical(settings), "recipe": config.dataset.source.recipe()}
    text = json.dumps(identity, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _mapping(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = settings.get(key)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} is {value!r}, but should name a file of conf/{key}/.")
    return value


def _canonical(value: Any) -> Any:
    """Return the value with whole floats and ints alike, so that 1 and 1.0 are one setting."""
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 2**53 else value
    return value


def _check_together(config: RunConfig) -> None:
    """Refuse settings that are fine alone and impossible together."""
    names = {
        "algorithm": config.algorithm_name,
        "dataset": config.dataset.name,
        "coverage": config.coverage.name,
    }
    for group, name in names.items():
        known = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        if name not in known:
            raise ConfigError(
                f"{group}.name is {name!r}, but should be one of: {', '.join(known)}."
            )
    keywords = getattr(config.coverage.degrade, "keywords", {})
    if config.coverage.name == "none" and config.coverage.severity > 0:
        raise ConfigError(
            f"coverage.severity is {config.coverage.severity}, but coverage=none takes nothing "
            "away: choose a degradation or leave the severity at 0."
        )
    world: World | None = getattr(config.dataset.source, "environment", None)
    if config.algorithm.tabular_only and not (world and world.tabular):
        raise ConfigError(
            f"algorithm={config.algorithm_name} needs a tabular dataset, "
            f"which dataset={config.dataset.name} is not."
        )
    cells = keywords.get("num_cells", 0)
    transitions = getattr(config.dataset.source, "num_transitions", None)
    if transitions is not None and world and not world.tabular and cells > transitions:
        raise ConfigError(
            f"coverage.num_cells is {cells}, but should be at most dataset.num_transitions, "
            f"which is {transitions}."
        )
    dimension = keywords.get("dimension")
    if dimension is not None and dimension not in (world.observation_names if world else ()):
        allowed = ", ".join(world.observation_names if world else ()) or "null, states have none"
        raise ConfigError(f"coverage.dimension is {dimension!r}, but should be one of: {allowed}.")
