"""What the environment says of W&B: off, offline or silent, and inside which agent of a sweep.

A process that an agent of a W&B sweep has started finds there which W&B run it should be. This
project leaves one W&B run per record, so such names are kept from W&B while it is written to, and
the agent's are said in its groups.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

Mode = Literal["offline", "online", "none"]

# What W&B would take instead of what it is given.
NAMES = (
    "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_RESUME", "WANDB_NAME",
    "WANDB_RUN_GROUP", "WANDB_JOB_TYPE", "WANDB_TAGS", "WANDB_NOTES", "WANDB_MODE",
    "WANDB_DISABLED",
)  # fmt: skip
NO = ("", "0", "false", "no", "off")


class Agent(NamedTuple):
    """The sweep of W&B's, and its run, that this process was started for."""

    sweep: str
    run: str | None


def mode_here(mode: Mode) -> Mode:
    """Return the mode that settings and environment allow together: the more reserved one."""
    said = os.environ.get("WANDB_MODE", "").lower()
    if said == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() not in NO:
        return "none"
    if said in ("offline", "dryrun") and mode == "online":
        return "offline"
    return mode


def is_silent() -> bool:
    """Return whether nothing shall be said of W&B, not even how much was mirrored."""
    return os.environ.get("WANDB_SILENT", "").lower() not in NO


def agent() -> Agent | None:
    """Return the agent that has started this process, None where none has."""
    sweep = os.environ.get("WANDB_SWEEP_ID")
    return Agent(sweep, os.environ.get("WANDB_RUN_ID")) if sweep else None


def group_here(experiment: str) -> str:
    """Return the group of an experiment's W&B runs: its name, and the agent's sweep."""
    found = agent()
    return experiment if found is None else f"{experiment}, sweep {found.sweep}"


@contextmanager
def without_names() -> Iterator[None]:
    """Keep from W&B what would take the place of the names that it is given."""
    kept = {name: os.environ.pop(name) for name in NAMES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
