"""Typed objects from plain settings, without a registry: settings name the class they configure.

Every setting is checked against the annotations of the class or function that will receive it.
Whatever is wrong ends in one `ConfigError`, whose sentence says what is allowed.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from bench.errors import MissingData, UserError

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)


class ConfigError(UserError):
    """A setting that cannot be used; the message is one sentence for the user."""


class Absent(ConfigError):
    """Data that is not here; `name` is what records would call it."""

    def __init__(self, missing: MissingData):
        """Take what a source says."""
        super().__init__(f"{missing}.")
        self.name = missing.name


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
    except MissingData as missing:
        raise Absent(missing) from None
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


def _tuples(value: Any) -> Any:
    """Return the value with every list made a tuple, which frozen objects want."""
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    return value
