"""From command-line overrides and grids to plain settings, one dict per run.

Hydra composes once per distinct choice of group files in a process; plain values are then set on a
copy of the composed dict, which costs microseconds where composing costs a fifth of a second.
"""

import copy
import itertools
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench import CONF
from bench.settings.grid import Axes, narrowed
from bench.settings.groups import file_of
from bench.settings.resolution import known_names, resolved, settings_of_kinds
from bench.settings.typed import Absent, ConfigError

# Of one command: a plan of as many takes minutes.
MOST_RUNS = 100_000
# What begins something other than a plain value: a list, a mapping, a function, quotes.
OPENS = re.compile(r"""[\[\](){}'"=]""")
# What an experiment says beside its settings.
NO_SETTINGS = ("defaults", "grid", "experiment_name")


class Composer:
    """Composes settings for many runs that share a command line."""

    def __init__(self, words: list[str]):
        """Take the words of the command line; words with several values become axes.

        Raises:
            ConfigError: If they cannot be understood.
        """
        self.config_loader = _loader()
        self.parser = OverridesParser.create(config_loader=self.config_loader)
        self.known_groups: dict[str, bool] = {}
        parsed = _once_each([self._understood(word) for word in words])
        # One value of a setting that the grid has selects from it, as several do.
        axes = [o for o in parsed if o.is_sweep_override() or _selects(o, _grid_of(parsed))]
        self.axes: Axes = {o.key_or_group: _values(o) for o in axes}
        self.fixed = [o for o in parsed if o not in axes]
        for override in parsed:
            self._check_choice(override)
        if "experiment" in self.axes:
            raise ConfigError("experiment should name one experiment, not several.")
        self.composed: dict[tuple[str, ...], dict[str, Any]] = {}
        self.absent: dict[str, Absent] = {}
        self.settings = self._compose(())
        self.said = {override.key_or_group for override in self.fixed} | self._experiments_own()

    def jobs(self) -> Iterator[dict[str, Any]]:
        """Yield the resolved settings of every run: each sub-grid as the command line narrows it.

        What the command line names selects from the grid what the grid has (``dataset=lock`` keeps
        the lock) and adds what it has not. Runs whose data is not here are left out and the data
        named in `absent`, unless it is all of them.

        Raises:
            Absent: If the data of no run is here.
        """
        any_there = False
        # A fixed word is part of what is composed; as an axis it has only selected sub-grids.
        composed = {override.key_or_group for override in self.fixed}
        fixed = {o.key_or_group: [_plain(o.value())] for o in self.fixed}
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
        groups = {k: v for k, v in point.items() if self._is_group(k)}
        settings = copy.deepcopy(self._chosen(groups))
        for key, value in point.items():
            if key not in groups:
                _set(settings, key, value)
        del settings["grid"]
        if "${" in repr(settings):
            with _one_sentence():
                settings = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)  # type: ignore[assignment]
        return resolved(settings, self.said | point.keys())

    def _chosen(self, groups: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings under group choices.

        A choice that changes nothing but its own group is composed once, whatever goes with it;
        of many datasets times many algorithms only their sum is composed.
        """
        words = tuple(f"{group}={choice}" for group, choice in groups.items())
        if words not in self.composed:
            alone = {group: self._compose((f"{group}={v}",)) for group, v in groups.items()}
            if all(_others(one, g) == _others(self.settings, g) for g, one in alone.items()):
                own = {group: one[group] for group, one in alone.items() if group in one}
                self.composed[words] = {**self.settings, **own}
        return self._compose(words)

    def _compose(self, groups: tuple[str, ...]) -> dict[str, Any]:
        """Return the settings under the fixed words and the given group choices, composed once."""
        if groups not in self.composed:
            self.composed[groups] = self._with_values(groups) or _composed_by_hydra(
                (*groups, *map(_line, self.fixed))
            )
        return self.composed[groups]

    def _with_values(self, groups: tuple[str, ...]) -> dict[str, Any] | None:
        """Return the settings under the choices of groups with the other fixed words set on them.

        None where Hydra is needed, as for a value of several parts or a key that it should refuse.
        """
        values = [o for o in self.fixed if not self._is_group(o.key_or_group)]
        if not all(map(_is_one_plain_value, values)):
            return None
        choices = [str(o.input_line) for o in self.fixed if self._is_group(o.key_or_group)]
        settings = copy.deepcopy(_composed_by_hydra((*groups, *choices)))
        for override in values:
            *parents, last = str(override.key_or_group).split(".")
            node: Any = settings
            for parent in parents:
                node = node.get(parent) if isinstance(node, dict) else None
            if not isinstance(node, dict) or isinstance(node.get(last, {}), dict | list):
                return None
            node[last] = _plain(override.value())
        return settings

    def _is_group(self, key: str) -> bool:
        if key not in self.known_groups:
            self.known_groups[key] = bool(self.config_loader.get_group_options(key))
        return self.known_groups[key]

    def _check_choice(self, override: Override) -> None:
        """Refuse what names no file of a group, as lists and numbers; Hydra expects neither."""
        key = override.key_or_group
        if not self._is_group(key):
            return
        values = self.axes.get(key) or [_plain(override.value())]
        for value in values:
            if value is not None and not isinstance(value, str):
                allowed = ", ".join(known_names(key))
                raise ConfigError(f"{key} is {value!r}, but should be one of: {allowed}.")

    def _understood(self, word: str) -> Override:
        if word.startswith("-"):
            raise ConfigError(f"{word} is no option here; settings are KEY=VALUE, as in seed=0.")
        try:
            override = self.parser.parse_override(word)
        except HydraException:
            raise ConfigError(f"{word!r} cannot be understood: {self._mending(word)}.") from None
        if override.is_delete():
            raise ConfigError(f"{word!r} would remove a setting, which every run needs.")
        return override

    def _mending(self, word: str) -> str:
        """Return what a word that cannot be understood should be; quotes, where these would do."""
        key, _, value = word.partition("=")
        if value.isprintable() and value and not OPENS.search(value):
            quoted = f"{key}='{value}'"
            try:
                self.parser.parse_override(quoted)
            except HydraException:
                pass
            else:
                return f'such a value needs quotes, in a shell as in "{quoted}"'
        return "it should be KEY=VALUE, as in seed=0 or seed=0,1"

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
            override = self._understood(f"{key}={values}")
            return _values(override) if override.is_sweep_override() else [values]
        return [values]


@cache
def _loader() -> ConfigLoader:
    """Return Hydra's reader of conf/."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return GlobalHydra.instance().config_loader()


@cache
def _composed_by_hydra(words: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings under some words, not to be changed; choices of groups go first.

    So a word like `algorithm.discount=0.9` finds its key.
    """
    with _one_sentence():
        config = _loader().load_configuration(
            config_name="config", overrides=list(words), run_mode=RunMode.RUN
        )
    plain: Any = OmegaConf.to_container(config, resolve=False)
    plain.pop("hydra", None)
    return plain


def _is_one_plain_value(override: Override) -> bool:
    """Return whether a word replaces a setting by one number, text, truth value or null."""
    value = _plain(override.value()) if override.type == OverrideType.CHANGE else ()
    if isinstance(value, str) and ("${" in value or value == "???"):
        return False
    return override.package is None and (value is None or isinstance(value, str | int | float))


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turn what Hydra says of wrong words into one sentence that says what is allowed."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_sentence(str(error))) from None
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError) as error:
        # Some words are more than Hydra has thought of.
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"These words cannot be composed ({said}).") from None


def _sentence(text: str) -> str:
    missing = re.search(r"Could not find '([\w/]+)/([^']*)'", text)
    if missing:
        group, name = missing.groups()
        return f"{group}={name} is unknown; allowed here: {', '.join(known_names(group))}."
    unknown = re.search(r"Could not override '([^']*)'", text)
    if unknown:
        return (
            f"{unknown[1]} is not a setting of this run; "
            "`python -m bench --cfg job` with the same group choices lists them all."
        )
    return " ".join(text.split())


def _line(override: Override) -> str:
    """Return a word as Hydra takes it.

    A setting that a learner has in some kinds of worlds alone is none that Hydra can find; whether
    it is one here is known when the world is.
    """
    line = str(override.input_line)
    return f"++{line}" if line.partition("=")[0] in settings_of_kinds() else line


def _once_each(overrides: list[Override]) -> list[Override]:
    """Return the overrides; of two for one setting neither may be dropped in silence."""
    lines: dict[str, str] = {}
    for override in overrides:
        key, line = override.key_or_group, str(override.input_line)
        if key in lines and lines[key] != line:
            raise ConfigError(f"{key} is given twice, as {lines[key]!r} and as {line!r}.")
        lines[key] = line
    return list({override.key_or_group: override for override in overrides}.values())


def _experiment_of(overrides: list[Override]) -> dict[str, Any]:
    """Return what the file of the experiment among some words says, nothing without one."""
    for override in overrides:
        if override.key_or_group == "experiment" and override.value() in known_names("experiment"):
            return file_of("experiment", str(override.value()))
    return {}


def _grid_of(overrides: list[Override]) -> list[Axes]:
    return _experiment_of(overrides).get("grid") or []


def _selects(override: Override, grid: list[Axes]) -> bool:
    """Return whether a plain value is one for a setting of a group that a grid goes through."""
    key = str(override.key_or_group)
    return "." in key and any(key in sub for sub in grid) and _is_one_plain_value(override)


def _dotted(settings: Any, prefix: str = "") -> Iterator[str]:
    """Yield the names of nested settings, as in ``dataset.discount``."""
    if not isinstance(settings, Mapping):
        yield prefix
        return
    for key, value in settings.items():
        yield from _dotted(value, f"{prefix}.{key}" if prefix else str(key))


def _others(settings: Mapping[str, Any], group: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != group}


def _values(override: Override) -> list[Any]:
    """Return the plain values that a word goes through, mostly one."""
    if not override.is_sweep_override():
        return [_plain(override.value())]
    try:
        # One more than can be used: a range may have no end.
        values = list(itertools.islice(override.sweep_iterator(), MOST_RUNS + 1))
    except (HydraException, ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"{override.input_line!r} has no values: {said}.") from None
    if len(values) > MOST_RUNS:
        raise ConfigError(f"{override.key_or_group} has more than {MOST_RUNS:,} values.")
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value


def _set(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key that exists already, or may by the kind of world."""
    *parents, last = key.split(".")
    node: Any = settings
    for parent in parents:
        node = node.get(parent) if isinstance(node, dict) else None
    if not isinstance(node, dict) or (last not in node and key not in settings_of_kinds()):
        known = sorted(node) if isinstance(node, dict) else sorted(settings)
        raise ConfigError(f"{key} is not a setting; allowed here: {', '.join(map(str, known))}.")
    node[last] = value
