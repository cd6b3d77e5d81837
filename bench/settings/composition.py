"""From command-line overrides and grids to plain settings, one dict per run.

Hydra composes once per distinct choice of group files in a process; plain values are then set on a
copy of the composed dict, which costs microseconds where composing costs a fifth of a second.
"""

import copy
import itertools
import math
import pickle
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import OmegaConf

from bench.settings import composing
from bench.settings.grid import Axes, narrowed
from bench.settings.groups import file_of, is_group, known_names
from bench.settings.resolution import (
    KINDS,
    resolved,
    resolved_but_seed,
    seeded,
    settings_of_kinds,
)
from bench.settings.typed import Absent, ConfigError
from bench.settings.words import (
    MOST_RUNS,
    is_one_plain_value,
    once_each,
    plain,
    understood,
    values_of,
)

# What an experiment says beside its settings.
NO_SETTINGS = ("defaults", "grid", "experiment_name")


class Composer:
    """Composes settings for many runs that share a command line."""

    def __init__(self, words: list[str]):
        """Take the words of the command line; words with several values become axes.

        Raises:
            ConfigError: If they cannot be understood.
        """
        self.config_loader = composing.loader()
        self.parser = OverridesParser.create(config_loader=self.config_loader)
        parsed = once_each([understood(self.parser, word) for word in words])
        # One value of a setting that the grid has selects from it, as several do.
        axes = [o for o in parsed if o.is_sweep_override() or _selects(o, _grid_of(parsed))]
        self.axes: Axes = {o.key_or_group: values_of(o) for o in axes}
        self.fixed = [o for o in parsed if o not in axes]
        for override in parsed:
            self._check_choice(override)
        if "experiment" in self.axes:
            raise ConfigError("experiment should name one experiment, not several.")
        self.composed: dict[tuple[str, ...], dict[str, Any]] = {}
        self.templates: dict[tuple[tuple[str, Any], ...], tuple[bytes, bool]] = {}
        self.resolved: dict[bytes, dict[str, Any]] = {}
        self.absent: dict[str, Absent] = {}
        self.settings = self._compose(())
        given = {override.key_or_group: plain(override.value()) for override in self.fixed}
        self.said = _said(given) | self._experiments_own()

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Yield the resolved settings of every run: each sub-grid as the command line narrows it.

        What the command line names selects from the grid what the grid has (``dataset=lock`` keeps
        the lock) and adds what it has not. Runs whose data is not here are left out and the data
        named in `absent`, unless it is all of them. Runs that differ in their seed alone share what
        is nested in their settings, which is not to be changed.

        Raises:
            Absent: If the data of no run is here.
        """
        any_there = False
        # A fixed word is part of what is composed; as an axis it has only selected sub-grids.
        composed = {override.key_or_group for override in self.fixed}
        fixed = {o.key_or_group: [plain(o.value())] for o in self.fixed}
        for sub_grid in narrowed(self._sub_grids(), fixed | self.axes):
            axes = {key: values for key, values in sub_grid.items() if key not in composed}
            if (runs := math.prod(map(len, axes.values()))) > MOST_RUNS:
                raise ConfigError(f"These words name {runs:,} runs, but {MOST_RUNS:,} is the most.")
            for values in itertools.product(*axes.values()):
                try:
                    job = self._job(dict(zip(axes, values, strict=True)))
                except Absent as absent:
                    self.absent.setdefault(absent.name, absent)
                    continue
                any_there = True
                yield job
        if self.absent and not any_there:
            raise next(iter(self.absent.values()))

    def _job(self, point: Mapping[str, Any]) -> dict[str, Any]:
        groups = {k: v for k, v in point.items() if is_group(k)}
        template, refers = self._template(groups)
        if refers or "${" in repr(point):
            # Anything may refer to the seed.
            unresolved = _at(template, point, groups)
            with composing.one_sentence():
                settings: Any = OmegaConf.to_container(OmegaConf.create(unresolved), resolve=True)
            return resolved(settings, self.said | _said(point))
        seed = {key: value for key, value in point.items() if key == "seed"}
        rest = {key: value for key, value in point.items() if key != "seed"}
        known = pickle.dumps(rest)
        if known not in self.resolved:
            settings = _at(template, rest, groups)
            self.resolved[known] = resolved_but_seed(settings, self.said | _said(rest))
        return seeded(self.resolved[known] | seed)

    def _template(self, groups: Mapping[str, Any]) -> tuple[bytes, bool]:
        """Return the settings of a run under group choices, of which each run loads its own, and
        whether some of them refer to others.
        """
        key = tuple(groups.items())
        if key not in self.templates:
            chosen = {name: part for name, part in self._chosen(groups).items() if name != "grid"}
            self.templates[key] = pickle.dumps(chosen), "${" in repr(chosen)
        return self.templates[key]

    def _chosen(self, groups: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings under group choices.

        A choice that changes nothing but its own group is composed once, whatever goes with it;
        of many datasets times many algorithms only their sum is composed.
        """
        words = tuple(f"{group}={choice}" for group, choice in groups.items())
        if words not in self.composed:
            own = {group: self._alone(group, str(choice)) for group, choice in groups.items()}
            if None not in own.values():
                self.composed[words] = {**self.settings, **own}
        return self._compose(words)

    def _alone(self, group: str, choice: str) -> dict[str, Any] | None:
        """Return a group under a choice that changes nothing but this group, else None."""
        untouched = not any(word.startswith(f"{group}.") for word in self.said)
        if untouched and (read := composing.file_alone(group, choice)) is not None:
            return read
        composed = self._compose((f"{group}={choice}",))
        only = _others(composed, group) == _others(self.settings, group)
        return composed.get(group) if only else None

    def _compose(self, groups: tuple[str, ...]) -> dict[str, Any]:
        """Return the settings under the fixed words and the given group choices, composed once."""
        if groups not in self.composed:
            self.composed[groups] = self._with_values(groups) or composing.composed(
                (*groups, *map(composing.line_of, self.fixed))
            )
        return self.composed[groups]

    def _with_values(self, groups: tuple[str, ...]) -> dict[str, Any] | None:
        """Return the settings under the choices of groups with the other fixed words set on them.

        None where Hydra is needed, as for a value of several parts or a key that it should refuse.
        """
        values = [o for o in self.fixed if not is_group(o.key_or_group)]
        if not all(map(is_one_plain_value, values)):
            return None
        settings = copy.deepcopy(self._with_choices(groups))
        for override in values:
            *parents, last = str(override.key_or_group).split(".")
            node: Any = settings
            for parent in parents:
                node = node.get(parent) if isinstance(node, dict) else None
            if not isinstance(node, dict) or isinstance(node.get(last, {}), dict | list):
                return None
            node[last] = plain(override.value())
        return settings

    def _with_choices(self, groups: tuple[str, ...]) -> dict[str, Any]:
        """Return the settings under the choices of groups, not to be changed.

        Of the fixed ones those that change nothing but their own group are read, not composed.
        """
        touched = {key.partition(".")[0] for key in self._experiments_own()}
        own, others = {}, []
        for override in (o for o in self.fixed if is_group(o.key_or_group)):
            group, choice = override.key_or_group, plain(override.value())
            free = override.type == OverrideType.CHANGE and group not in touched
            read = composing.file_alone(group, choice) if free and choice is not None else None
            if read is None:
                others.append(str(override.input_line))
            else:
                own[group] = read
        return {**composing.composed((*groups, *others)), **own}

    def _check_choice(self, override: Override) -> None:
        """Refuse what names no file of a group, as lists and numbers; Hydra expects neither."""
        key = override.key_or_group
        if not is_group(key):
            return
        values = self.axes.get(key) or [plain(override.value())]
        for value in values:
            if value is not None and not isinstance(value, str):
                allowed = ", ".join(known_names(key))
                raise ConfigError(f"{key} is {value!r}, but should be one of: {allowed}.")

    def _experiments_own(self) -> set[str]:
        """Return the settings that the chosen experiment's file gives a value beside its grid."""
        content = _experiment_of(self.fixed)
        return set(_dotted({k: v for k, v in content.items() if k not in NO_SETTINGS}))

    def _sub_grids(self) -> list[Axes]:
        grid = self.settings["grid"]
        if grid is None:
            return [{}]
        if not isinstance(grid, list) or not all(isinstance(x, dict) for x in grid):
            raise ConfigError("grid should be a list of mappings from a setting to its values.")
        return [{key: self._axis(key, v) for key, v in sub.items()} for sub in grid]

    def _axis(self, key: str, values: Any) -> list[Any]:
        """Return the values of an axis: a list as it is, a word as Hydra sweeps it, else one."""
        if isinstance(values, list):
            return values
        if isinstance(values, str):
            override = understood(self.parser, f"{key}={values}")
            return values_of(override) if override.is_sweep_override() else [values]
        return [values]


def _experiment_of(overrides: list[Override]) -> dict[str, Any]:
    """Return what the file of the experiment among some words says, nothing without one."""
    for override in overrides:
        if override.key_or_group == "experiment" and override.value() in known_names("experiment"):
            return file_of("experiment", str(override.value()))
    return {}


def _grid_of(overrides: list[Override]) -> list[Axes]:
    return _experiment_of(overrides).get("grid") or []


def _selects(override: Override, grid: list[Axes]) -> bool:
    """Return whether a plain value is one for a setting of a group that a grid goes through.

    Or for one of what the grid chooses: only the choice says which settings there are.
    """
    group, dot, _ = str(override.key_or_group).partition(".")
    named = {override.key_or_group, group}
    return bool(dot) and any(named & sub.keys() for sub in grid) and is_one_plain_value(override)


def _dotted(settings: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names of nested settings, as in ``dataset.discount``."""
    if not isinstance(settings, Mapping):
        yield prefix
        return
    for key, value in settings.items():
        yield from _dotted(value, f"{prefix}.{key}" if prefix else str(key))


def _said(words: Mapping[str, Any]) -> set[str]:
    """Return the names that words give values: of one that gives a mapping, those in it."""
    return {name for key, value in words.items() for name in _dotted(value, key)}


def _others(settings: Mapping[str, Any], group: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != group}


def _at(template: bytes, point: Mapping[str, Any], groups: Collection[str]) -> Any:
    """Return the settings of a template with what a point says beside its groups."""
    settings = pickle.loads(template)
    for key, value in point.items():
        if key not in groups:
            _set(settings, key, value)
    return settings


def _set(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key that exists already, or may by the kind of world."""
    *parents, last = key.split(".")
    node: Any = settings
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if not isinstance(node, dict) or (last not in node and key not in settings_of_kinds()):
        group = key.partition(".")[0]
        part = settings[group] if parents and isinstance(settings.get(group), dict) else {}
        of = f" of {group}={part['name']}" if "name" in part else ""
        here = node if isinstance(node, dict) else part or settings
        known = ", ".join(sorted(str(k) for k in here if k != KINDS))
        raise ConfigError(f"{key} is not a setting{of}; allowed here: {known}.")
    node[last] = value
