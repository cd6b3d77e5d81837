"""The groups of conf/: which choices there are, and what their files say."""

import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from bench import CONF
from bench.settings.typed import ConfigError

# The same language, read by a library in C where yaml was built with it: in a tenth of the time.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def known_names(group: str) -> tuple[str, ...]:
    """Return the names that a group's files give, in order."""
    return tuple(sorted(path.stem for path in (CONF / group).glob("*.yaml")))


@cache
def is_group(key: str) -> bool:
    """Return whether a setting is a choice among files."""
    return "." not in key and bool(known_names(key))


def choices(*groups: str) -> str:
    """Return the choices of groups as the help of a command lists them, a paragraph each."""
    lines = (f"  {group}=" + ", ".join(known_names(group)) for group in groups)
    return "\n".join(
        textwrap.fill(line, 100, subsequent_indent="    ", break_long_words=False) for line in lines
    )


@cache
def file_of(group: str, name: str) -> dict[str, Any]:
    """Return what a choice's file says; not to be changed."""
    text = (CONF / group / f"{name}.yaml").read_text("utf-8")
    settings: dict[str, Any] = yaml.load(text, Loader=LOADER)
    return settings


def mapping(settings: Mapping[str, Any], group: str) -> Mapping[str, Any]:
    """Return a group's settings.

    Raises:
        ConfigError: If it is something else, as a group that was given a plain value.
    """
    value = settings.get(group)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{group} is {value!r}, but should name a file of conf/{group}/.")
    return value
