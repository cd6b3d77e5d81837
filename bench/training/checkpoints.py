"""Checkpoints: a cohort in the middle of its training, so that it can go on as if uninterrupted.

``<folder>/<cohort id>/cohort.json`` names the ordered runs and the conditions under which they are
trained, ``<update>.pt`` holds everything that changes from update to update. The id is the hash of
runs and conditions: whatever could make the end differ in one bit, such as another number of
threads, makes another folder, so two trainings are never mixed.
"""

import hashlib
import io
import json
import shutil
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.atomic import atomic_write
from bench.programs.gpu import LINEAR_ALGEBRA
from bench.settings.spec import RunSpec, planned
from bench.settings.typed import ConfigError
from bench.store.code import code_of
from bench.store.records import RunStore

# Raised whenever the harness trains differently or a checkpoint holds something else.
GENERATION = 5
# Two, so that a damaged one costs no more than the updates since the one before.
KEPT = 2
HEADER = "cohort.json"
CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class Conditions:
    """What must be the same for training to end with the same bits.

    Attributes:
        device: Kind and model: other chips round sums in another order.
        threads: Threads of an operation.
        updates: How they are made: plain, traced or compiled, and on a GPU how many are a call,
            which lays states out in memory anew.
        versions: Of what computes.
        code: Fingerprint of the algorithm's code, and the generation of the harness.
    """

    device: str
    threads: int
    updates: str
    versions: str
    code: str

    @classmethod
    def here(cls, run: RunSpec, device: str, updates: str) -> "Conditions":
        """Return the conditions of this process for a run and all that are trained with it."""
        return cls(
            _device_name(device),
            torch.get_num_threads(),
            updates,
            f"torch {torch.__version__}, numpy {np.__version__}",
            f"{GENERATION}-{code_of(run.settings)}",
        )


@dataclass(frozen=True, eq=False)
class Interrupted:
    """A cohort that has checkpoints.

    Attributes:
        runs: Its runs in order; None where their settings are no longer valid.
        run_ids: Their ids.
        update: Update of the newest snapshot.
        conditions: What it was trained under, by name.
        folder: Where its snapshots are.
        begun: When it got its first snapshot (``st_mtime_ns``).
    """

    runs: tuple[RunSpec, ...] | None
    run_ids: list[str]
    update: int
    conditions: dict[str, Any]
    folder: Path
    begun: int

    def recorded(self, store: RunStore) -> set[str]:
        """Return which of its runs have a record from after it began, under any experiment."""
        return {run_id for run_id in self.run_ids if store.written(run_id) >= self.begun}


class Checkpoints:
    """The checkpoints of one cohort."""

    def __init__(self, folder: Path, runs: list[RunSpec], conditions: Conditions, seconds: float):
        """Take the folder of all cohorts' checkpoints and the least time between two of them."""
        self.all, self.runs, self.conditions = folder, runs, conditions
        self.seconds, self.written = seconds, time.monotonic()
        self.run_ids = [run.run_id for run in runs]
        self.header = {"runs": [[r.run_id, r.settings] for r in runs], **vars(conditions)}
        text = json.dumps([self.run_ids, vars(conditions)], sort_keys=True)
        self.cohort_id = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder = folder / self.cohort_id
        self.notes: list[str] = []

    def newest(self) -> dict[str, Any] | None:
        """Return the newest snapshot that can be read whole, None where there is none."""
        for path in reversed(_snapshots(self.folder)):
            try:
                return _read(path)
            except Exception:
                # A disk that loses bits, or another program: the one before is as good.
                self.notes.append(f"{path} is damaged and was left out.")
                path.unlink(missing_ok=True)
        self._explain_others()
        return None

    def exist(self) -> bool:
        """Return whether there is a snapshot of exactly these runs under these conditions."""
        return bool(_snapshots(self.folder))

    @property
    def update(self) -> int:
        """Update of the newest snapshot, 0 where there is none."""
        return max((int(path.stem) for path in _snapshots(self.folder)), default=0)

    def due(self) -> bool:
        """Return whether the least time between two snapshots has passed."""
        return time.monotonic() - self.written >= self.seconds

    def write(self, update: int, snapshot: dict[str, Any]) -> None:
        """Keep a snapshot; one that cannot be written costs a note, not the training."""
        self.written = time.monotonic()
        try:
            if not (self.folder / HEADER).exists():
                with atomic_write(self.folder / HEADER) as file:
                    file.write(json.dumps(self.header).encode())
            with atomic_write(self.folder / f"{update:012d}.pt") as file:
                payload = io.BytesIO()
                torch.save(snapshot, payload)
                view = payload.getbuffer()
                file.write(zlib.crc32(view).to_bytes(CHECKSUM_BYTES, "big"))
                file.write(view)
            for old in _snapshots(self.folder)[:-KEPT]:
                old.unlink(missing_ok=True)
        except OSError as error:
            note = f"A checkpoint could not be written ({error.strerror}); training went on."
            if note not in self.notes:
                self.notes.append(note)

    def remove(self) -> None:
        """Remove everything, once all runs are recorded."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _explain_others(self) -> None:
        for cohort in interrupted(self.all):
            if cohort.run_ids == self.run_ids and cohort.folder != self.folder:
                now = vars(self.conditions)
                differs = [
                    f"{key} {cohort.conditions.get(key)} instead of {value}"
                    for key, value in now.items()
                    if cohort.conditions.get(key) != value
                ]
                self.notes.append(
                    f"A checkpoint of {len(self.runs)} runs at update {cohort.update} was made "
                    f"with {' and '.join(differs)}, so they began again."
                )


def interrupted(folder: Path) -> Iterator[Interrupted]:
    """Yield every cohort that has a checkpoint under the folder, in the order of their ids."""
    for path in sorted(folder.glob(f"*/{HEADER}")):
        snapshots = _snapshots(path.parent)
        try:
            begun = path.stat().st_mtime_ns
            header = json.loads(path.read_text("utf-8"))
            listed = [(str(run_id), dict(settings)) for run_id, settings in header.pop("runs")]
            run_ids = [run_id for run_id, _ in listed]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        if not snapshots:
            continue
        try:
            runs = tuple(planned(run_id, settings) for run_id, settings in listed)
        except ConfigError:
            runs = None
        yield Interrupted(runs, run_ids, int(snapshots[-1].stem), header, path.parent, begun)


def _snapshots(folder: Path) -> list[Path]:
    # Temporary files begin with a dot, which a glob's `*` at the start does match.
    return sorted(p for p in folder.glob("*.pt") if p.stem.isdigit())


def _read(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    checksum, payload = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
    # The reader of torch checks no checksums of its own.
    if zlib.crc32(payload) != int.from_bytes(checksum, "big"):
        raise ValueError("checksum")
    saved: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True)
    return saved


def _device_name(device: str) -> str:
    if device == "cuda":
        return f"cuda {torch.cuda.get_device_name()}, {LINEAR_ALGEBRA}"
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"
