"""Words of the command line, as Hydra's grammar reads them, and the values that they stand for."""

import itertools
import re
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString
from hydra.errors import HydraException

from bench.settings.typed import ConfigError

# Of one command: a plan of as many takes a quarter of a minute and most of a GB.
MOST_RUNS = 100_000
# What begins something other than a plain value: a list, a mapping, a function, quotes.
OPENS = re.compile(r"""[\[\](){}'"=]""")


def understood(parser: OverridesParser, word: str) -> Override:
    """Return what a word of the command line sets.

    Raises:
        ConfigError: If it sets nothing, with what would.
    """
    if word.startswith("-"):
        raise ConfigError(f"{word} is no option here; settings are KEY=VALUE, as in seed=0.")
    try:
        override = parser.parse_override(word)
    except HydraException:
        raise ConfigError(f"{word!r} cannot be understood: {_mending(parser, word)}.") from None
    if override.is_delete():
        raise ConfigError(f"{word!r} would remove a setting, which every run needs.")
    return override


def _mending(parser: OverridesParser, word: str) -> str:
    """Return what a word that cannot be understood should be; quotes, where these would do."""
    key, _, value = word.partition("=")
    if value.isprintable() and value and not OPENS.search(value):
        quoted = f"{key}='{value}'"
        try:
            parser.parse_override(quoted)
        except HydraException:
            pass
        else:
            return f'such a value needs quotes, in a shell as in "{quoted}"'
    return "it should be KEY=VALUE, as in seed=0 or seed=0,1"


def once_each(overrides: list[Override]) -> list[Override]:
    """Return the overrides; of two for one setting neither may be dropped in silence."""
    lines: dict[str, str] = {}
    for override in overrides:
        key, line = override.key_or_group, str(override.input_line)
        if key in lines and lines[key] != line:
            raise ConfigError(f"{key} is given twice, as {lines[key]!r} and as {line!r}.")
        lines[key] = line
    return list({override.key_or_group: override for override in overrides}.values())


def values_of(override: Override) -> list[Any]:
    """Return the plain values that a word goes through, mostly one."""
    if not override.is_sweep_override():
        return [plain(override.value())]
    try:
        # One more than can be used: a range may have no end.
        values = list(itertools.islice(override.sweep_iterator(), MOST_RUNS + 1))
    except (HydraException, ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"{override.input_line!r} has no values: {said}.") from None
    if len(values) > MOST_RUNS:
        raise ConfigError(f"{override.key_or_group} has more than {MOST_RUNS:,} values.")
    return [plain(value) for value in values]


def plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def is_one_plain_value(override: Override) -> bool:
    """Return whether a word replaces a setting by one number, text, truth value or null."""
    value = plain(override.value()) if override.type == OverrideType.CHANGE else ()
    if isinstance(value, str) and ("${" in value or value == "???"):
        return False
    return override.package is None and (value is None or isinstance(value, str | int | float))
