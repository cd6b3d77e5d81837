"""What a sweep removes at its end: what belonged to runs that are recorded, or to the dead."""

import contextlib
import time
from collections.abc import Container
from pathlib import Path

from bench.store import progress
from bench.store.folders import SweepFiles
from bench.training.checkpoints import interrupted

# A temporary file this old belongs to no process that is still about to rename it.
ABANDONED_AFTER = 3600.0


def tidy(files: SweepFiles, recorded: Container[str]) -> None:
    """Remove what belongs to runs that are recorded or to processes that were killed.

    Nothing here is worth an error: what cannot be removed stays.
    """
    with contextlib.suppress(OSError):
        for cohort in interrupted(files.checkpoints):
            if all(run_id in recorded for run_id in cohort.run_ids):
                for path in (*cohort.folder.glob("*.pt"), *cohort.folder.glob("*.json")):
                    path.unlink(missing_ok=True)
        for said in progress.read(files.progress):
            if said.stale or all(run_id in recorded for run_id in said.run_ids):
                (files.progress / f"{said.cohort}.json").unlink(missing_ok=True)
        for folder in (files.experiment, files.progress, *files.checkpoints.glob("*")):
            _remove_abandoned(folder)
    parts = (files.checkpoints, files.progress, files.slurm)
    for folder in (*files.checkpoints.glob("*"), *parts, files.folder):
        # Refused where something is left in it.
        with contextlib.suppress(OSError):
            folder.rmdir()


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*.partial"):
        if path.is_file() and time.time() - path.stat().st_mtime > ABANDONED_AFTER:
            path.unlink(missing_ok=True)
