"""Settings that are fine alone and impossible together, found before anything is trained."""

import math
from dataclasses import fields

import numpy as np

from bench.data.degradations import Degradation
from bench.data.recorded_losses import REWARD, TERMINATION
from bench.data.sensing import Sensing
from bench.data.sources import Facts
from bench.settings.run import RunConfig
from bench.settings.sizes import largest_table, shape_in_words
from bench.settings.typed import ConfigError

# Numbers of a table of states x actions x states, or of states x states. A learner that makes such
# tables holds up to ten of them in float64 for each run.
LARGEST_DENSE = 10_000_000


class Unsuited(ConfigError):
    """A learner that cannot be trained on a dataset, whatever its settings."""


def check_together(config: RunConfig) -> None:
    """Refuse a run that cannot work.

    Raises:
        Unsuited: If the learner does not go with the dataset.
        ConfigError: With what is wrong and what would be right.
    """
    check_data(config)
    _check_single_precision(config)
    try:
        _check_algorithm(config, config.dataset.source.facts())
    except ValueError as error:
        raise Unsuited(f"{error}.") from None


def check_data(config: RunConfig) -> None:
    """Refuse a degradation that does not go with the dataset.

    Raises:
        ConfigError: With what is wrong and what would be right.
    """
    try:
        facts = config.dataset.source.facts()
        config.dataset.source.check_discount(config.dataset.discount)
        seen = _seen(config, facts)
        for part in config.coverage.parts():
            _check_degradation(part, config, facts._replace(observation_names=seen))
    except ValueError as error:
        raise ConfigError(f"{error}.") from None


def _seen(config: RunConfig, facts: Facts) -> tuple[str, ...]:
    """Return the names of the dimensions that an agent gets to see."""
    sensing = config.dataset.sensing
    if sensing == Sensing():
        return facts.observation_names
    if not facts.observation_names:
        raise ValueError(
            f"dataset.hidden and dataset.history need vector observations, but those of "
            f"dataset={config.dataset.name} are states"
        )
    return sensing.names(facts.observation_names)


def _check_single_precision(config: RunConfig) -> None:
    """Refuse settings of the learner that are infinite, or 0, once they are in float32."""
    for field in fields(config.algorithm):
        value = getattr(config.algorithm, field.name)
        if not isinstance(value, float) or value == 0:
            continue
        with np.errstate(over="ignore", under="ignore"):
            single = float(np.float32(value))
        if single == 0 or not np.isfinite(single):
            raise ConfigError(
                f"algorithm.{field.name} is {value:g}, but should be a number that single "
                "precision can hold, of size 1e-45 to 3.4e38."
            )


def _check_algorithm(config: RunConfig, facts: Facts) -> None:
    algorithm, dataset = config.algorithm, f"dataset={config.dataset.name}"
    if facts.action_kind not in algorithm.action_kinds:
        raise ValueError(
            f"algorithm={config.algorithm_name} needs {' or '.join(algorithm.action_kinds)} "
            f"actions, but those of {dataset} are {facts.action_kind}"
        )
    if algorithm.tabular_only and not facts.tabular:
        raise ValueError(
            f"algorithm={config.algorithm_name} needs a tabular dataset, which {dataset} is not"
        )
    _check_dense(config, facts)
    if facts.action_kind == "continuous" and not facts.observation_names:
        raise ValueError(
            f"algorithm={config.algorithm_name} needs vector observations where actions are "
            f"continuous, but those of {dataset} are states"
        )


def _check_named(part: Degradation, facts: Facts) -> None:
    """Refuse patients or events by a dimension that observations have not."""
    always = {"by": ("null",), "event": (TERMINATION, REWARD)}
    for key, others in always.items():
        name = part.settings.get(key)
        allowed = (*others, *facts.observation_names)
        if name is not None and name not in allowed:
            raise ValueError(
                f"coverage.{key} is {name!r}, but should be one of: {', '.join(allowed)}"
            )


def _check_dense(config: RunConfig, facts: Facts) -> None:
    """Refuse a learner that makes tables of counts, several at a time, that are too large."""
    shape = largest_table(config.algorithm, facts.table_shape)
    if math.prod(size for _, size in shape) > LARGEST_DENSE:
        raise ValueError(
            f"algorithm={config.algorithm_name} holds tables of "
            f"{' x '.join(name for name, _ in shape)}, of at most {LARGEST_DENSE:,} numbers, but "
            f"dataset={config.dataset.name} would make them {shape_in_words(shape)}"
        )


def _check_degradation(part: Degradation, config: RunConfig, facts: Facts) -> None:
    settings, dataset = part.settings, f"dataset={config.dataset.name}"
    if part.name == "none" and part.severity > 0:
        raise ValueError(
            f"coverage.severity is {part.severity}, but coverage=none takes nothing "
            "away: choose a degradation or leave the severity at 0"
        )
    if part.name == "composite" and not settings["steps"]:
        raise ValueError(
            "coverage.steps is empty, but should name degradations, as in "
            "coverage.steps=[{name: thin, severity: 0.5}, {name: region}]"
        )
    if part.name == "actions" and not facts.has_comparator:
        raise ValueError(
            f"coverage=actions needs to know a reference policy's actions, which {dataset} does not"
        )
    if part.name == "quality":
        config.dataset.source.check_worse(settings["worse_epsilon"], settings["worse_id"])
    cells = settings.get("num_cells", 0)
    if not facts.tabular and cells > facts.num_transitions:
        raise ValueError(
            f"coverage.num_cells is {cells}, but should be at most dataset.num_transitions, "
            f"which is {facts.num_transitions}"
        )
    _check_named(part, facts)
    dimension = settings.get("dimension")
    if dimension is not None and dimension not in facts.observation_names:
        allowed = ", ".join(facts.observation_names) or "null, states have none"
        raise ValueError(f"coverage.dimension is {dimension!r}, but should be one of: {allowed}")
