"""What a sweep keeps on disk beside its records while it lasts, and how it is tidied up."""

import contextlib
import time
from collections.abc import Container
from pathlib import Path

from bench.training import progress
from bench.training.checkpoints import interrupted

# A temporary file this old belongs to no process that is still about to rename it.
ABANDONED_AFTER = 3600.0


class SweepFiles:
    """The folder ``<root>/<experiment>/.sweep``."""

    def __init__(self, experiment: Path):
        """Take the folder of the experiment's records."""
        self.experiment, self.folder = experiment, experiment / ".sweep"
        self.progress = self.folder / "progress"
        self.checkpoints = self.folder / "checkpoints"
        self.slurm = self.folder / "slurm"

    def tidy(self, recorded: Container[str]) -> None:
        """Remove what belongs to runs that are recorded or to processes that were killed.

        Nothing here is worth an error: what cannot be removed stays.
        """
        with contextlib.suppress(OSError):
            for cohort in interrupted(self.checkpoints):
                if all(run_id in recorded for run_id in cohort.run_ids):
                    for path in (*cohort.folder.glob("*.pt"), *cohort.folder.glob("*.json")):
                        path.unlink(missing_ok=True)
            for said in progress.read(self.progress):
                if said.stale or all(run_id in recorded for run_id in said.run_ids):
                    (self.progress / f"{said.cohort}.json").unlink(missing_ok=True)
            for folder in (self.experiment, self.progress, *self.checkpoints.glob("*")):
                _remove_abandoned(folder)
        parts = (self.checkpoints, self.progress, self.slurm)
        for folder in (*self.checkpoints.glob("*"), *parts, self.folder):
            # Refused where something is left in it.
            with contextlib.suppress(OSError):
                folder.rmdir()


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*.partial"):
        if path.is_file() and time.time() - path.stat().st_mtime > ABANDONED_AFTER:
            path.unlink(missing_ok=True)
