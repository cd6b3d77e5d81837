"""Wrappers that bring a state of their own into a world, which no file holds."""

import importlib
from typing import Any

from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

STATES: dict[type, str] = {
    wrappers.NormalizeObservation: "statistics",
    wrappers.NormalizeReward: "statistics",
    wrappers.TimeAwareObservation: "time",
}


def stateful(spec: GymnasiumSpec | None) -> str | None:
    """Return what is wrong with a spec's wrappers: a state that a file does not hold; or None."""
    for wrapper in () if spec is None else spec.additional_wrappers:
        kind = _class_of(wrapper.entry_point)
        held = next((what for base, what in STATES.items() if issubclass(kind, base)), None)
        if held is not None:
            return f"the world is wrapped in {wrapper.name}, whose {held} the file does not hold"
    return None


def _class_of(entry_point: Any) -> type:
    module, _, name = str(entry_point).partition(":")
    found: type = getattr(importlib.import_module(module), name)
    return found
