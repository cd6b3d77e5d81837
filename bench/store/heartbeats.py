"""What is being trained right now: one small file per cohort in training, in any process.

A cohort's file is rewritten every few seconds and removed at the end, so that the progress bar of
every engine, and ``python -m bench status``, read one and the same thing. It is a hint and never
the truth: a process that was killed leaves its file behind, which then grows old.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from bench.atomic import atomic_write

# A file not rewritten for this many seconds belongs to a process that is gone or stuck.
SILENT_AFTER = 60.0
WRITE_EVERY = 2.0


@dataclass(frozen=True)
class Heartbeat:
    """How far one cohort is, as it said last.

    Attributes:
        cohort: Name of the cohort, unique among those in training.
        run_ids: The runs trained together.
        update: Updates made so far, of `num_updates`.
        started: Unix time from which on speed is measured: when this process began with the cohort
            or, once that is made, of its first update, which is traced and takes much longer.
        started_at_update: Update at that time: above 0 too where it went on from a checkpoint.
        heard: Unix time of writing.
        host: Machine, and `pid` the process on it.
    """

    cohort: str
    run_ids: list[str]
    update: int
    num_updates: int
    started: float
    started_at_update: int
    heard: float
    host: str
    pid: int

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the heartbeat that was written as `asdict`.

        Raises:
            ValueError, TypeError, KeyError: If the text is none.
        """
        said = json.loads(text)
        for name, kind in _KINDS.items():
            if not isinstance(said[name], kind) or isinstance(said[name], bool):
                raise ValueError(name)
        if not all(isinstance(run_id, str) for run_id in said["run_ids"]):
            raise ValueError("run_ids")
        return cls(**said)

    @property
    def silent(self) -> bool:
        """Whether nothing has been heard of the cohort for too long."""
        return time.time() - self.heard > SILENT_AFTER


_KINDS: dict[str, type | tuple[type, ...]] = {
    "cohort": str, "run_ids": list, "update": int, "num_updates": int, "started": (int, float),
    "started_at_update": int, "heard": (int, float), "host": str, "pid": int,
}  # fmt: skip


class Heart:
    """Keeps one cohort's file up to date; `beat` may be called after every update."""

    def __init__(self, folder: Path, cohort: str, run_ids: list[str], update: int, total: int):
        self.path, self.begun, self.timed = folder / f"{cohort}.json", update, False
        now = time.time()
        self.last = Heartbeat(
            cohort, run_ids, update, total, now, update, 0.0, socket.gethostname(), os.getpid()
        )

    def beat(self, update: int) -> None:
        """Note the update; written at most every `WRITE_EVERY` seconds, if the disk allows it."""
        now = time.time()
        if update > self.begun and not self.timed:
            self.last = replace(self.last, started=now, started_at_update=update)
            self.timed = True
        if now - self.last.heard >= WRITE_EVERY:
            self.last = replace(self.last, update=update, heard=now)
            with suppress(OSError), atomic_write(self.path) as file:
                file.write(json.dumps(asdict(self.last)).encode())


@contextmanager
def beating(
    folder: Path, cohort: str, run_ids: list[str], update: int, total: int
) -> Iterator[Heart]:
    """Keep a file under `folder` while the cohort is in training."""
    kept = Heart(folder, cohort, run_ids, update, total)
    try:
        kept.beat(update)
        yield kept
    finally:
        with suppress(OSError):
            kept.path.unlink(missing_ok=True)


def read(folder: Path) -> list[Heartbeat]:
    """Return what every cohort last said, those of dead processes included."""
    found = []
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            found.append(Heartbeat.from_json(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError, KeyError):
            # It has just ended, or another version of the bench wrote it.
            continue
    return found
