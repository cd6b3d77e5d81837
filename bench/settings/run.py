"""The settings of a run, typed: their defaults and a run's identity."""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field

from algorithms.base import Algorithm
from bench import CONF
from bench.data.degradations import Degradation
from bench.data.encoding import Normalization
from bench.data.sensing import Sensing
from bench.data.sources import DataSource, Task
from bench.measures.coverage import EstimatesWhere
from bench.settings.typed import STRICT, ConfigError, checked, typed_object
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
    hidden: Annotated[tuple[str, ...], Field(strict=False)] = ()
    history: Count = 1

    @property
    def sensing(self) -> Sensing:
        """What an agent gets to see of observations."""
        return Sensing(self.hidden, self.history)

    def load(self, cache: Path | None) -> Task:
        """Return the task, its data collected or read, as an agent senses it."""
        return self.sensing(self.source.load(self.name, self.seed, self.discount, cache))

    @property
    def environment_name(self) -> str:
        """The environment's name in records and figures."""
        return self.sensing.title(self.source.environment_name(self.name))


class CoverageConfig(BaseModel):
    """What every degradation has, whatever its own settings."""

    model_config = STRICT
    name: Name
    severity: Fraction
    degrade: Callable[..., Any]


class TrainingConfig(BaseModel):
    """The settings of a run that belong to no group."""

    model_config = STRICT
    seed: Seed
    num_updates: Count
    batch_size: Count | Literal["full"]
    eval_every: Count
    eval_episodes: Count
    coverage_estimates: EstimatesWhere


class RunConfig(TrainingConfig):
    """Everything that can change a run's result, typed."""

    algorithm: Algorithm
    algorithm_name: Name
    dataset: DatasetConfig
    coverage: Degradation


GROUPS = ("algorithm", "dataset", "coverage")
# What changes no result is read by bench/harness.py.
HARNESS_KEYS = ("experiment_name", "results_dir", "device", "compile", "launcher", "tracking")
NOTHING_REMOVED = {"name": "none", "target": "bench.data.degradations.none", "severity": 0.0}


def run_config(settings: Mapping[str, Any]) -> RunConfig:
    """Return the typed run of settings whose defaults are filled in (see `fill_defaults`).

    Raises:
        ConfigError: If a setting is unknown, missing, of the wrong type or out of range.
    """
    algorithm, dataset, coverage = (dict(_mapping(settings, key)) for key in GROUPS)
    training = {key: value for key, value in settings.items() if key not in GROUPS}
    checked(TrainingConfig, training, "", other_keys=(*GROUPS, *HARNESS_KEYS))
    common = {key: dataset.pop(key) for key in DatasetConfig.model_fields if key in dataset}
    source = typed_object(dataset, "dataset", DatasetConfig.model_fields, DataSource)
    parts = {
        "dataset": checked(DatasetConfig, {**common, "source": source}, "dataset"),
        "coverage": _degradation(coverage, "coverage"),
        "algorithm_name": algorithm.pop("name", None),
        "algorithm": typed_object(algorithm, "algorithm", ("name",), Algorithm),
    }
    config: RunConfig = checked(RunConfig, {**training, **parts}, "")
    return config


def fill_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with every default that depends on another setting filled in.

    ``dataset.seed`` defaults to the seed, ``algorithm.discount`` to the dataset's, and a
    degradation named inside another one has the settings of its file.
    """
    algorithm, dataset, coverage = (dict(_mapping(settings, key)) for key in GROUPS)
    if dataset.get("seed") is None and settings.get("seed") is not None:
        dataset["seed"] = settings["seed"]
    if algorithm.get("discount") is None and dataset.get("discount") is not None:
        algorithm["discount"] = dataset["discount"]
    filled = {"algorithm": algorithm, "dataset": dataset, "coverage": _with_steps(coverage)}
    return {**settings, **filled}


def _with_steps(coverage: dict[str, Any]) -> dict[str, Any]:
    """Return a degradation's settings with those of the degradations in it filled in."""
    if isinstance(coverage.get("steps"), list):
        coverage["steps"] = [_step(step, "coverage.steps") for step in coverage["steps"]]
    if coverage.get("of") is not None:
        coverage["of"] = _step(coverage["of"], "coverage.of")
    return coverage


def _step(step: Any, where: str) -> dict[str, Any]:
    given = {"name": step} if isinstance(step, str) else step
    known = known_names("coverage")
    if not isinstance(given, Mapping) or given.get("name") not in known:
        raise ConfigError(
            f"{where} holds {step!r}, but should name a degradation, as in "
            f"{{name: thin, severity: 0.5}}; known are: {', '.join(known)}."
        )
    # A step's severity is a share of the whole's.
    settings = {**_file("coverage", given["name"]), "severity": 1.0, **given}
    return _with_steps(settings)


def _degradation(settings: dict[str, Any], where: str) -> Degradation:
    """Return the typed degradation, those inside it made first."""
    settings = dict(settings)
    applied = {key: settings.pop(key) for key in ("name", "severity") if key in settings}
    if isinstance(settings.get("steps"), list):
        steps = [_degradation(step, f"{where}.steps") for step in settings["steps"]]
        settings["steps"] = tuple(steps)
    if isinstance(settings.get("of"), Mapping):
        settings["of"] = _degradation(settings["of"], f"{where}.of")
    degrade = typed_object(settings, where, other_keys=("name", "severity"))
    found: CoverageConfig = checked(CoverageConfig, {**applied, "degrade": degrade}, where)
    return Degradation(found.name, found.degrade, found.severity)


def run_id(settings: Mapping[str, Any], config: RunConfig) -> str:
    """Return the hash of resolved settings and the data's recipe, 16 hexadecimal digits."""
    identity = {"settings": _canonical(settings), "recipe": config.dataset.source.recipe()}
    text = json.dumps(identity, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def known_names(group: str) -> tuple[str, ...]:
    """Return the names that a group's files give, in order."""
    return tuple(sorted(path.stem for path in (CONF / group).glob("*.yaml")))


@cache
def _file(group: str, name: str) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((CONF / group / f"{name}.yaml").read_text())
    return settings


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
