"""The settings of a run, typed: their defaults and a run's identity."""

import hashlib
import json
import pickle
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from algorithms.base import Algorithm
from bench.data.degradations import Degradation
from bench.data.encoding import Normalization
from bench.data.sensing import Sensing
from bench.data.sources import DataSource, Task
from bench.measures.coverage import EstimatesWhere
from bench.measures.value_estimates.estimation import ValueEstimatesWhere
from bench.settings.groups import mapping
from bench.settings.typed import STRICT, checked, typed_object
from bench.types import Count, Discount, Fraction, Seed, Updates

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
    num_updates: Updates
    batch_size: Count | Literal["full"]
    eval_every: Count
    eval_episodes: Count
    coverage_estimates: EstimatesWhere
    value_estimates: ValueEstimatesWhere = "without_evaluation"
    precision: Literal["float32", "tf32"] = "float32"


class RunConfig(TrainingConfig):
    """Everything that can change a run's result, typed."""

    algorithm: Algorithm
    algorithm_name: Name
    dataset: DatasetConfig
    coverage: Degradation


GROUPS = ("algorithm", "dataset", "coverage")
# What changes no result is read by bench/sweeps/execution.py.
HARNESS_KEYS = (
    "experiment_name", "results_dir", "device", "compile", "updates_per_graph", "launcher",
    "tracking",
)  # fmt: skip
# Of a dataset's file alone: what behavior=medium is in this world.
HALFWAY = "halfway"
# Settings that a run's settings hold only where they are not as usual: they came later, and runs
# from before them are the same runs.
LATER = ("value_estimates", "precision")
# Most of what settings consist of; only whole numbers are written in two ways.
UNCHANGED = (str, float, bool)
# Of a plan most runs share their groups, so that of each few different ones are met at a time.
MET_AT_A_TIME = 4096
NOTHING_REMOVED = {"name": "none", "target": "bench.data.degradations.none", "severity": 0.0}


def run_config(settings: Mapping[str, Any]) -> RunConfig:
    """Return the typed run of resolved settings (bench/settings/resolution.py).

    Raises:
        ConfigError: If a setting is unknown, missing, of the wrong type or out of range.
    """
    groups = {key: mapping(settings, key) for key in GROUPS}
    training = {key: value for key, value in settings.items() if key not in GROUPS}
    checked(TrainingConfig, training, "", other_keys=(*GROUPS, *HARNESS_KEYS))
    dataset, coverage, (name, algorithm) = (
        typed_group(key, pickle.dumps(groups[key])) for key in ("dataset", "coverage", "algorithm")
    )
    parts = {"dataset": dataset, "coverage": coverage}
    parts |= {"algorithm_name": name, "algorithm": algorithm}
    config: RunConfig = checked(RunConfig, {**training, **parts}, "")
    return config


def data_source(dataset: Mapping[str, Any]) -> DataSource:
    """Return the source of a dataset's data; of the same settings, the same one.

    Raises:
        ConfigError: If a setting is unknown, missing, of the wrong type or out of range.
    """
    common = (*DatasetConfig.model_fields, HALFWAY)
    own = {key: value for key, value in dataset.items() if key not in common}
    source: DataSource = typed_group("source", pickle.dumps(own))
    return source


@lru_cache(MET_AT_A_TIME)
def typed_group(group: str, pickled: bytes) -> Any:
    """Return what is made of a group's settings, once of the same ones: runs share it.

    Pickled, settings are told apart in a microsecond, and come back exactly as they were.

    Raises:
        ConfigError: If a setting is unknown, missing, of the wrong type or out of range.
    """
    return MADE_OF[group](pickle.loads(pickled))


def _dataset(settings: dict[str, Any]) -> DatasetConfig:
    common = {key: settings[key] for key in DatasetConfig.model_fields if key in settings}
    values = {**common, "source": data_source(settings)}
    dataset: DatasetConfig = checked(DatasetConfig, values, "dataset")
    return dataset


def _source(settings: dict[str, Any]) -> DataSource:
    source: DataSource = typed_object(settings, "dataset", DatasetConfig.model_fields, DataSource)
    return source


def _algorithm(settings: dict[str, Any]) -> tuple[Any, Algorithm]:
    """Return a learner's name, not checked, and the learner."""
    name = settings.pop("name", None)
    return name, typed_object(settings, "algorithm", ("name",), Algorithm)


def _degradation(settings: dict[str, Any], where: str = "coverage") -> Degradation:
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


MADE_OF: dict[str, Callable[[dict[str, Any]], Any]] = {
    "algorithm": _algorithm,
    "dataset": _dataset,
    "source": _source,
    "coverage": _degradation,
}


def run_id(settings: Mapping[str, Any], config: RunConfig) -> str:
    """Return the hash of resolved settings and the data's recipe, 16 hexadecimal digits."""
    source = config.dataset.source
    dataset = dict(settings["dataset"])
    if "path" in dataset:
        # Wherever a file lies: its name and, in the recipe, its content's hash stand for it.
        dataset["path"] = source.environment_name("")
    named = {**settings, "dataset": dataset}
    texts = {key: _identity(pickle.dumps(value)) for key, value in named.items()}
    identity = {"settings": _object(texts), "recipe": _sorted_json(source.recipe())}
    if worse := worse_recipes(config):
        identity["worse"] = _sorted_json(worse)
    if not source.facts().can_evaluate:
        # Once there is a simulator, the run is another one.
        identity["evaluation"] = _sorted_json(None)
    return hashlib.sha256(_object(identity).encode()).hexdigest()[:16]


@lru_cache(MET_AT_A_TIME)
def _identity(pickled: bytes) -> str:
    """Return what stands for a setting or a group of them in the text that ids are hashes of."""
    return _sorted_json(_canonical(pickle.loads(pickled)))


def _object(members: Mapping[str, str]) -> str:
    """Return what `_sorted_json` writes of an object, whose members are JSON already."""
    return "{" + ", ".join(f'"{key}": {members[key]}' for key in sorted(members)) + "}"


def _sorted_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, allow_nan=False)


def worse_recipes(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Return the recipe of every dataset, by id, that a degradation takes worse episodes from."""
    named = (part.settings.get("worse_id") for part in config.coverage.parts())
    source = config.dataset.source
    return {name: source.worse_recipe(name) for name in named if name is not None}


def content(recipe: Mapping[str, Any]) -> str:
    """Return a hash of a recipe, which tells apart data of one name and the same settings."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    """Return the value with whole floats and ints alike, so that 1 and 1.0 are one setting."""
    if value is None or type(value) in UNCHANGED:
        return value
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < 2**53 else value
    return value
