"""From plain settings to typed objects, without a registry: a YAML names the class it configures.

Every setting is checked against the annotations of the class or function that will receive it.
Whatever is wrong ends in one `ConfigError`, whose sentence says what is allowed.
"""

import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from algorithms.base import Algorithm
from bench import CONF
from bench.datasets import DataSource
from bench.encoding import Normalization
from bench.environments import World
from bench.types import Count, Discount, Fraction, Seed

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


# Becomes a folder or a file's name.
Name = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]


class ConfigError(Exception):
    """A setting that cannot be used; the message is one sentence for the user."""


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


def typed_object(
    settings: Mapping[str, Any],
    where: str,
    other_keys: Iterable[str] = (),
    kind: type | None = None,
) -> Any:
    """Return what ``settings["target"]`` names, given the other settings.

    A class is constructed. A function gets its keyword-only parameters bound. Settings that are
    mappings with a target of their own are made first. `other_keys` are settings of the same group
    that are read elsewhere; they are only named in the message about an unknown one. `kind` is the
    class that the target must be of.
    """
    target = _import(settings, where)
    if kind is not None and not (inspect.isclass(target) and issubclass(target, kind)):
        raise ConfigError(
            f"{where}.target should name a subclass of {kind.__name__}, not {target.__name__}."
        )
    values = {
        key: typed_object(value, f"{where}.{key}")
        if isinstance(value, Mapping) and "target" in value
        else _tuples(value)
        for key, value in settings.items()
        if key != "target"
    }
    model = _model(target)
    validated = checked(model, values, where, other_keys)
    arguments = {name: getattr(validated, name) for name in model.model_fields}
    if not inspect.isclass(target):
        return partial(target, **arguments)
    try:
        return target(**arguments)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}.") from None


def checked(model: type[BaseModel], values: Any, where: str, other_keys: Iterable[str] = ()) -> Any:
    """Return the validated model; raise ``ConfigError`` with the first thing that is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        allowed = sorted({*model.model_fields, *other_keys})
        raise ConfigError(_sentence(error, where, allowed)) from None


def _sentence(error: ValidationError, where: str, allowed: list[str]) -> str:
    problems = error.errors(include_url=False)
    first = problems[0]
    # An undeclared key is named before whatever else it may have led to.
    for problem in problems:
        if problem["type"] == "extra_forbidden":
            first = problem
    path = ".".join(str(part) for part in (where, *_keys(first["loc"])) if part != "")
    if first["type"] == "extra_forbidden":
        return f"{path} is not a setting; allowed here: {', '.join(allowed)}."
    if first["type"] == "missing":
        return f"{path} is missing."
    same_place = [p for p in problems if _keys(p["loc"])[:1] == _keys(first["loc"])[:1]]
    wanted = " or ".join(dict.fromkeys(_wanted(p) for p in same_place))
    return f"{path} is {first['input']!r}, but should be {wanted}."


def _wanted(problem: Any) -> str:
    """Return what a setting should be, as pydantic says it or plainer."""
    if problem["type"] == "string_pattern_mismatch":
        return "a name of letters, digits, '_', '.' and '-' that begins with none of the last two"
    return str(problem["msg"]).removeprefix("Input should be ")


def _keys(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return the keys of a location without the branches of a union that pydantic adds."""
    return tuple(p for p in location if isinstance(p, int) or str(p).isidentifier())[:3]


@cache
def _model(target: Callable[..., Any]) -> type[BaseModel]:
    """Return the model of a target's settings, read from its annotations."""
    signature = inspect.signature(target)
    source = target.__init__ if inspect.isclass(target) else target
    hints = get_type_hints(source, include_extras=True)
    only_keywords = not inspect.isclass(target)
    members: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in signature.parameters.items()
        if not only_keywords or parameter.kind is parameter.KEYWORD_ONLY
    }
    return create_model(target.__name__, __config__=STRICT, **members)


def _import(settings: Mapping[str, Any], where: str) -> Callable[..., Any]:
    path = settings.get("target")
    module, _, name = str(path).rpartition(".")
    try:
        target = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        target = None
    if not callable(target):
        raise ConfigError(
            f"{where}.target is {path!r}, but should be the full name of a class or function."
        )
    return target


def _mapping(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = settings.get(key)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key} is {value!r}, but should name a file of conf/{key}/.")
    return value


def _tuples(value: Any) -> Any:
    """Return the value with every list made a tuple, which frozen objects want."""
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
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
