"""Weights & Biases: one W&B run per record, and one for the figures of an experiment.

The store is the truth. Whatever goes wrong with W&B costs one warning and never a run. Both the
mirror of a sweep and ``python -m bench sync`` write by the same `write`.
"""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from bench.settings.typed import STRICT
from bench.store.record import RunRecord
from bench.tracking import surroundings
from bench.types import Positive

# Parts of a record that are summary numbers; its curves are history and its settings config.
SUMMARY = ("status", "error", "final", "values", "coverage", "dataset", "timing", "code",
           "versions")  # fmt: skip
IMAGES, FILES = (".png",), (".csv", ".md", ".tex")


class TrackingConfig(BaseModel):
    """Where records are mirrored.

    Attributes:
        mode: ``offline`` files, the server (``online``) or nothing.
        project: W&B project.
        entity: W&B user or team; None is the key's own.
        time_limit: Seconds that W&B may take where there is a network.
    """

    model_config = STRICT
    mode: Literal["offline", "online", "none"]
    project: str
    entity: str | None
    time_limit: Positive


@dataclass(frozen=True)
class Tracked:
    """What becomes one W&B run.

    Attributes:
        id: Unique in a project; a run that comes again goes on as the same one.
        rows: Its history; a row with an ``update`` is at that step.
        images: Pictures that are shown, by their names, and `files` that are only kept.
    """

    id: str
    experiment: str
    job_type: str
    tags: list[str]
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    images: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    exit_code: int = 0


def of_record(record: RunRecord) -> Tracked:
    """Return a record: curves over updates, and everything else as config or summary."""
    return Tracked(
        id=f"{record.experiment}-{record.run_id}",
        experiment=record.experiment,
        job_type="run",
        tags=[record.algorithm, record.environment, record.status],
        config={**record.config, "run_id": record.run_id},
        rows=list(curves(record)),
        summary={name: getattr(record, name) for name in SUMMARY},
        exit_code=1 if record.status == "failed" else 0,
    )


def of_figures(experiment: str, folder: Path) -> Tracked:
    """Return the figures and tables that are in a folder."""
    paths = sorted(folder.iterdir())
    return Tracked(
        id=f"{experiment}-figures",
        experiment=experiment,
        job_type="figures",
        tags=["figures"],
        images=[path for path in paths if path.suffix in IMAGES],
        files=[path for path in paths if path.suffix in FILES],
    )


def curves(record: RunRecord) -> Iterator[dict[str, float]]:
    """Yield per update what was measured then: losses and evaluations, in order of update."""
    rows: dict[float, dict[str, float]] = defaultdict(dict)
    for name, points in record.metrics.items():
        for update, value in points:
            rows[update][f"metrics/{name}"] = value
    for evaluation in record.evaluations:
        row = rows[evaluation["update"]]
        row["evaluation/return_mean"] = sum(evaluation["returns"]) / len(evaluation["returns"])
        if discounted := evaluation.get("discounted_returns"):
            row["evaluation/discounted_return_mean"] = sum(discounted) / len(discounted)
        for name in ("exact_value", "sampled_value"):
            if evaluation.get(name) is not None:
                row[f"evaluation/{name}"] = evaluation[name]
    for update in sorted(rows):
        yield {"update": update, **rows[update]}


def write(run: Tracked, config: TrackingConfig, folder: Path) -> None:
    """Write one W&B run from beginning to end, online or into files under `folder`.

    Raises:
        PermissionError: If there is no key for writing online.
        Exception: Whatever W&B raises.
    """
    group, by = surroundings.group_here(run.experiment), surroundings.agent()
    agent = {} if by is None else {"wandb_agent": by._asdict()}
    with surroundings.without_names():
        _write(replace(run, config=run.config | agent), group, config, folder)


def _write(run: Tracked, group: str, config: TrackingConfig, folder: Path) -> None:
    wandb, online = quiet_wandb(), config.mode == "online"
    # Asked without a prompt first: `init` would wait for somebody to type a key.
    if online and not wandb.login(prompt=False, verify=False):
        raise PermissionError("there is no API key, `wandb login` stores one")
    folder.mkdir(parents=True, exist_ok=True)
    tracked = wandb.init(
        id=run.id,
        name=run.id,
        group=group,
        job_type=run.job_type,
        tags=run.tags,
        config=run.config,
        project=config.project,
        entity=config.entity,
        dir=folder,
        reinit="create_new",
        # A record that comes again goes on as the same W&B run.
        resume="allow" if online else None,
        settings=_settings(wandb, config),
    )
    try:
        tracked.define_metric("update")
        tracked.define_metric("*", step_metric="update")
        for row in run.rows:
            # A step that the W&B run has already is left as it is: written twice, it is the same.
            tracked.log(row, step=int(row["update"]))
        if run.images:
            tracked.log({path.stem: wandb.Image(str(path)) for path in run.images})
        for path in run.files:
            tracked.save(str(path), base_path=str(path.parent), policy="now")
        tracked.summary.update(run.summary)
    finally:
        tracked.finish(exit_code=run.exit_code)


def quiet_wandb() -> Any:
    """Import W&B, which would otherwise say on the terminal what it does, and return it."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


def _settings(wandb: Any, config: TrackingConfig) -> Any:
    """Return settings that look at nothing but what they are given."""
    return wandb.Settings(
        mode=config.mode,
        silent=True,
        quiet=True,
        console="off",
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_stats=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        # Listing the installed packages would take five times as long as all the rest.
        x_save_requirements=False,
        init_timeout=config.time_limit,
        finish_timeout=config.time_limit if config.mode == "online" else 0,
        finish_timeout_raises=True,
    )


def forget() -> None:
    """End W&B's own process, which holds on to the id of a run that it could not begin."""
    try:
        import wandb

        wandb.teardown()
    except Exception:
        # What follows says so if it matters.
        return


def cause(error: Exception) -> str:
    """Return what W&B raised in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


class Mirror:
    """Writes the records of a sweep to W&B for as long as W&B lets it."""

    def __init__(self, config: TrackingConfig, folder: Path):
        """Take where to write; nothing is imported or written before the first record."""
        # Asked before W&B is imported, for which it is set.
        self.silent = surroundings.is_silent()
        mode = surroundings.mode_here(config.mode)
        self.config, self.folder = config.model_copy(update={"mode": mode}), folder
        self.mirrored: dict[str, int] = defaultdict(int)
        self.seconds: list[float] = []

    def write(self, record: RunRecord) -> None:
        """Mirror one record; never raises."""
        start = time.perf_counter()
        while self.config.mode != "none":
            try:
                write(of_record(record), self.config, self.folder)
            except Exception as error:
                self._step_down(error)
            else:
                self.mirrored[self.config.mode] += 1
                self.seconds.append(time.perf_counter() - start)
                return

    def closing_line(self) -> str | None:
        """Return what was mirrored at what cost, None if there was nothing to mirror."""
        if not self.mirrored or self.silent:
            return None
        parts = [f"{count} {mode}" for mode, count in self.mirrored.items()]
        line = f"W&B mirror: {' and '.join(parts)} in {os.path.relpath(self.folder / 'wandb')}"
        # The first one waits for W&B to start.
        first, *others = self.seconds
        each = f", {1000 * sum(others) / len(others):.0f} ms each" if others else ""
        return f"{line}{each}, {first:.1f} s to start."

    def _step_down(self, error: Exception) -> None:
        """Go on offline where the server cannot be reached, else without W&B; say so once."""
        if self.config.mode == "online":
            forget()
            mode = "offline"
            then = f"runs go on being mirrored in {self.folder / 'wandb'}, `wandb sync` sends them"
        else:
            mode = "none"
            then = "runs go on without it, their records are complete"
        self.config = self.config.model_copy(update={"mode": mode})
        print(f"W&B does not work here ({cause(error)}); {then}.", file=sys.stderr)
