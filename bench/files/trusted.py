"""Gymnasium's environments as a file names them; what a file says is not trusted.

A spec names the Python object that makes the environment. Taken at its word, a file could have any
function called.
"""

import importlib
import json
from dataclasses import fields
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

# Packages whose environments and wrappers are made without having been registered.
PACKAGES = ("gymnasium", "gymnasium_robotics", "minigrid", "ale_py")


def trusted_spec(said: object) -> GymnasiumSpec | None:
    """Return the spec that a file's JSON text says, None if there is none that may be made."""
    try:
        return spec_told(said)
    except ValueError:
        return None


def spec_told(said: object) -> GymnasiumSpec | None:
    """Return the spec that a file's JSON text says, None if it says none.

    Raises:
        ValueError: If it may not be made. It may if its environment is registered under its id, or
            is one of a known package, and its wrappers are of known packages.
    """
    if not isinstance(said, str):
        return None
    try:
        # Older versions of gymnasium wrote fields that today's does not take.
        known = {f.name for f in fields(GymnasiumSpec) if f.init}
        taken = {key: value for key, value in json.loads(said).items() if key in known}
        spec = GymnasiumSpec.from_json(json.dumps(taken))
        # Nobody looks on.
        spec.kwargs.pop("render_mode", None)
        made = is_registered(spec) or _is_known(spec.entry_point, gymnasium.Env)
        strange = [
            w.name
            for w in spec.additional_wrappers
            if not _is_known(w.entry_point, gymnasium.Wrapper)
        ]
    except Exception:
        # Made by whom and how is not known; the data is still good.
        raise ValueError("the spec that the metadata has of it cannot be understood") from None
    if not made:
        raise ValueError(f"{spec.id} is not registered here, and of no known package")
    if strange:
        raise ValueError(f"{spec.id} is wrapped in {', '.join(strange)}, of no known package")
    return spec


def is_registered(spec: GymnasiumSpec) -> bool:
    """Return whether gymnasium would make the same object under the spec's id."""
    registered = gymnasium.registry.get(spec.id)
    return registered is not None and registered.entry_point == spec.entry_point


def _is_known(entry_point: Any, kind: type) -> bool:
    module, _, name = str(entry_point).partition(":")
    if module.partition(".")[0] not in PACKAGES:
        return False
    made = getattr(importlib.import_module(module), name)
    return isinstance(made, type) and issubclass(made, kind)
