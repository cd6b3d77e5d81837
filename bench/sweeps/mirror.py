"""The W&B mirror: one W&B run per record, written once the record is stored.

The store is the truth. Whatever goes wrong with W&B costs one warning and never a run. After a
sweep, ``python -m bench.tracking EXPERIMENT`` mirrors its figures as well.
"""

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from bench.settings.typed import STRICT
from bench.store.records import RunRecord
from bench.types import Positive

Mode = Literal["offline", "online", "none"]
# Parts of a record that are summary numbers; its curves are history and its settings config.
SUMMARY = ("status", "error", "final", "values", "coverage", "dataset", "timing", "versions")
FIGURES = (".png",)
TABLES = (".csv", ".md", ".tex")


class TrackingConfig(BaseModel):
    """Where records are mirrored.

    Attributes:
        mode: ``offline`` files, the server (``online``) or nothing.
        project: W&B project.
        entity: W&B user or team; None is the key's own.
        time_limit: Seconds that W&B may take where there is a network.
    """

    model_config = STRICT
    mode: Mode
    project: str
    entity: str | None
    time_limit: Positive


class Mirror:
    """Writes records to W&B for as long as W&B lets it."""

    def __init__(self, config: TrackingConfig, experiment: str, results_dir: Path):
        """Take where to write; nothing is imported or written before the first record."""
        self.config, self.experiment, self.folder = config, experiment, results_dir
        self.mode = config.mode
        self.mirrored: dict[str, int] = defaultdict(int)
        self.seconds: list[float] = []

    def write(self, record: RunRecord) -> None:
        """Mirror one record; never raises."""
        self._mirror(RecordRun(record))

    def write_figures(self, folder: Path) -> None:
        """Mirror a folder of figures and tables as a W&B run of its own; never raises."""
        self._mirror(FigureRun(self.experiment, folder))

    def closing_line(self) -> str | None:
        """Return what was mirrored at what cost, None if there was nothing to mirror."""
        if not self.mirrored:
            return None
        parts = [f"{count} {mode}" for mode, count in self.mirrored.items()]
        line = f"W&B mirror: {' and '.join(parts)} in {os.path.relpath(self.folder / 'wandb')}"
        # The first one waits for W&B to start.
        first, *others = self.seconds
        each = f", {1000 * sum(others) / len(others):.0f} ms each" if others else ""
        return f"{line}{each}, {first:.1f} s to start."

    def _mirror(self, run: "TrackedRun") -> None:
        if self.mode == "none":
            return
        start = time.perf_counter()
        while self.mode != "none":
            try:
                write(run, self.config, self.mode, self.folder)
            except Exception as error:
                self._step_down(error)
            else:
                self.mirrored[self.mode] += 1
                break
        self.seconds.append(time.perf_counter() - start)

    def _step_down(self, error: Exception) -> None:
        """Go on offline where the server cannot be reached, else without W&B; say so once."""
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if self.mode == "online":
            self.mode = "offline"
            forget()
            then = f"runs go on being mirrored in {self.folder / 'wandb'}, `wandb sync` sends them"
        else:
            self.mode = "none"
            then = "runs go on without it, their records are complete"
        print(f"W&B does not work here ({cause}); {then}.", file=sys.stderr)


def write(run: "TrackedRun", config: TrackingConfig, mode: Mode, folder: Path) -> None:
    """Write one W&B run from beginning to end, online or into files under `folder`.

    Raises:
        PermissionError: If there is no key for writing online.
        Exception: Whatever W&B raises.
    """
    wandb = quiet_wandb()
    # Asked without a prompt first: `init` would wait for somebody to type a key.
    if mode == "online" and not wandb.login(prompt=False, verify=False):
        raise PermissionError("there is no API key, `wandb login` stores one")
    folder.mkdir(parents=True, exist_ok=True)
    tracked = wandb.init(
        id=run.id,
        name=run.id,
        group=run.experiment,
        job_type=run.job_type,
        tags=run.tags,
        config=run.config,
        project=config.project,
        entity=config.entity,
        dir=folder,
        reinit="create_new",
        # A record that comes again goes on as the same W&B run.
        resume="allow" if mode == "online" else None,
        settings=_settings(wandb, mode, config.time_limit),
    )
    try:
        run.log(tracked, wandb)
    finally:
        tracked.finish(exit_code=run.exit_code)


def quiet_wandb() -> Any:
    """Import W&B, which would otherwise say on the terminal what it does, and return it."""
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    return wandb


def _settings(wandb: Any, mode: Mode, time_limit: float) -> Any:
    """Return settings that look at nothing but what they are given."""
    return wandb.Settings(
        mode=mode,
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
        init_timeout=time_limit,
        finish_timeout=time_limit if mode == "online" else 0,
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


@dataclass(frozen=True)
class RecordRun:
    """A record as a W&B run."""

    record: RunRecord
    job_type = "run"

    @property
    def experiment(self) -> str:
        return self.record.experiment

    @property
    def id(self) -> str:
        return f"{self.record.experiment}-{self.record.run_id}"

    @property
    def tags(self) -> list[str]:
        return [self.record.algorithm, self.record.environment, self.record.status]

    @property
    def config(self) -> dict[str, Any]:
        return {**self.record.config, "run_id": self.record.run_id}

    @property
    def exit_code(self) -> int:
        return 1 if self.record.status == "failed" else 0

    def log(self, tracked: Any, wandb: Any) -> None:
        """Write curves over updates and, as summary, everything else."""
        tracked.define_metric("update")
        tracked.define_metric("*", step_metric="update")
        for row in curves(self.record):
            # A step that the W&B run has already is left as it is: written twice, it is the same.
            tracked.log(row, step=int(row["update"]))
        tracked.summary.update({name: getattr(self.record, name) for name in SUMMARY})


@dataclass(frozen=True)
class FigureRun:
    """The figures and tables of a sweep as a W&B run."""

    experiment: str
    folder: Path
    job_type = "figures"
    tags = ("figures",)
    exit_code = 0

    @property
    def id(self) -> str:
        return f"{self.experiment}-figures"

    @property
    def config(self) -> dict[str, Any]:
        return {}

    def log(self, tracked: Any, wandb: Any) -> None:
        """Write each figure as an image under its name, and tables as files."""
        paths = sorted(self.folder.iterdir())
        tracked.log({path.stem: wandb.Image(str(path)) for path in paths if path.suffix in FIGURES})
        for path in paths:
            if path.suffix in TABLES:
                tracked.save(str(path), base_path=str(self.folder), policy="now")


TrackedRun = RecordRun | FigureRun


def curves(record: RunRecord) -> Iterator[dict[str, float]]:
    """Yield per update what was measured then: losses and evaluations, in order of update."""
    rows: dict[float, dict[str, float]] = defaultdict(dict)
    for name, points in record.metrics.items():
        for update, value in points:
            rows[update][f"metrics/{name}"] = value
    for evaluation in record.evaluations:
        row = rows[evaluation["update"]]
        row["evaluation/return_mean"] = sum(evaluation["returns"]) / len(evaluation["returns"])
        for name in ("exact_value", "sampled_value"):
            if evaluation.get(name) is not None:
                row[f"evaluation/{name}"] = evaluation[name]
    for update in sorted(rows):
        yield {"update": update, **rows[update]}


def main(arguments: list[str] | None = None) -> int:
    """Mirror the figures of an experiment and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.tracking", description="Mirror an experiment's figures to W&B."
    )
    parser.add_argument("experiment", help="folder of figures under --figures")
    parser.add_argument("--figures", type=Path, default=Path("results/figures"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--mode", choices=("offline", "online"), default="offline")
    parser.add_argument("--project", default="stackelberg-bench")
    parser.add_argument("--entity", default=None)
    options = parser.parse_args(arguments)
    folder = options.figures / options.experiment
    if not any(folder.glob("*.png")):
        print(f"There is no figure in {folder}; `python -m plots` draws them.", file=sys.stderr)
        return 2
    config = TrackingConfig(
        mode=options.mode, project=options.project, entity=options.entity, time_limit=60.0
    )
    mirror = Mirror(config, options.experiment, options.results)
    mirror.write_figures(folder)
    print(mirror.closing_line())
    return 0 if mirror.mirrored else 1


if __name__ == "__main__":
    sys.exit(main())
