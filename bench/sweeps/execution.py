"""The settings of the harness, typed: what changes no result of any run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel

from bench.engines.base import Engine
from bench.programs.gpu import multiplies_in_tf32
from bench.settings.run import Name
from bench.settings.typed import STRICT, ConfigError, checked, typed_object
from bench.store.folders import named_folder
from bench.tracking.mirror import TrackingConfig
from bench.types import Count, NonNegative, Positive


class LauncherConfig(BaseModel):
    """How a sweep's runs are brought together, and where they are trained.

    Attributes:
        engine: Where, with settings of its own.
        cohort_size: Most runs trained together.
        memory_gb: What a cohort may take at most; larger ones are trained in equal parts. None is
            half of a machine's or GPU's memory, divided by the workers that share it.
        checkpoint_seconds: Least time between two checkpoints of a cohort.
        retry_failed: Whether stored runs whose record says ``failed`` are trained again.
        stale: Whether stored runs that other code than today's made are trained again
            (``retrain``) or not (``keep``).
        dry_run: Whether to print the plan and train nothing.
    """

    model_config = STRICT
    engine: Engine
    cohort_size: Count
    memory_gb: Positive | None
    checkpoint_seconds: NonNegative
    retry_failed: bool
    stale: Literal["retrain", "keep"]
    dry_run: bool


class HarnessConfig(BaseModel):
    """Everything about a run that cannot change its result."""

    model_config = STRICT
    experiment_name: Name
    results_dir: Path
    device: Literal["cpu", "cuda", "auto"]
    compile: Literal["auto", "on", "off"]
    updates_per_graph: Count | Literal["auto"]
    launcher: LauncherConfig
    tracking: TrackingConfig


def harness_config(settings: Mapping[str, Any]) -> HarnessConfig:
    """Return the typed harness of plain settings.

    Raises:
        ConfigError: If a setting is wrong, or asks for a device that is not here.
    """
    own = dict(settings)
    launcher = own.pop("launcher", None)
    if isinstance(own.get("results_dir"), str):
        own["results_dir"] = named_folder(own["results_dir"])
    own["launcher"] = _launcher_config(launcher)
    own["tracking"] = checked(TrackingConfig, own.pop("tracking", None), "tracking")
    harness: HarnessConfig = checked(HarnessConfig, own, "")
    here = not harness.launcher.engine.elsewhere
    if harness.device == "cuda" and here and not torch.cuda.is_available():
        raise ConfigError("device is cuda, but there is none here: use cpu or auto.")
    if harness.updates_per_graph != "auto" and harness.device == "cpu":
        raise ConfigError(
            f"updates_per_graph is {harness.updates_per_graph}, but it is a GPU that replays "
            "updates: it needs device=cuda or device=auto."
        )
    return harness


def check_precision(precision: str, harness: HarnessConfig) -> None:
    """Do nothing if runs of another precision than usual can be trained.

    Raises:
        ConfigError: If they cannot.
    """
    if harness.device != "cuda":
        raise ConfigError(f"precision={precision} is how a GPU multiplies: it needs device=cuda.")
    if not harness.launcher.engine.elsewhere and not multiplies_in_tf32():
        raise ConfigError(f"precision={precision} is nothing that the GPU of this machine can do.")


def _launcher_config(settings: Any) -> LauncherConfig:
    """Return the typed launcher of plain settings."""
    if not isinstance(settings, Mapping):
        raise ConfigError(f"launcher is {settings!r}, but should name a file of conf/launcher/.")
    own = dict(settings)
    common = {key: own.pop(key) for key in LauncherConfig.model_fields if key in own}
    common["engine"] = typed_object(own, "launcher", LauncherConfig.model_fields, Engine)
    config: LauncherConfig = checked(LauncherConfig, common, "launcher")
    return config
