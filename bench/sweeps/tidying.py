"""What a sweep removes at its end: what belonged to runs that are recorded, or to the dead."""

import contextlib
import time
from pathlib import Path

from bench.store import heartbeats
from bench.store.folders import SweepFiles
from bench.store.records import RunStore
from bench.training.checkpoints import interrupted

# A temporary file this old belongs to no process that is still about to rename it.
ABANDONED_AFTER = 3600.0


def tidy(files: SweepFiles, store: RunStore) -> None:
    """Remove what belongs to runs that are recorded or to processes that were killed.

    Nothing here is worth an error: what cannot be removed stays.
    """
    with contextlib.suppress(OSError):
        for cohort in interrupted(files.checkpoints):
            if cohort.recorded(store) == set(cohort.run_ids):
                for path in (*cohort.folder.glob("*.pt"), *cohort.folder.glob("*.json")):
                    path.unlink(missing_ok=True)
        for said in heartbeats.read(files.heartbeats):
            begun = said.started * 1e9
            if said.silent or all(store.written(run_id) >= begun for run_id in said.run_ids):
                (files.heartbeats / f"{said.cohort}.json").unlink(missing_ok=True)
        for folder in (files.experiment, files.heartbeats, *files.checkpoints.glob("*")):
            _remove_abandoned(folder)
    parts = (files.checkpoints, files.heartbeats, files.slurm)
    for folder in (*files.checkpoints.glob("*"), *parts, files.folder):
        # Refused where something is left in it.
        with contextlib.suppress(OSError):
            folder.rmdir()


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(".*.partial"):
        if path.is_file() and time.time() - path.stat().st_mtime > ABANDONED_AFTER:
            path.unlink(missing_ok=True)
