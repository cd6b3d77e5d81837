"""Claims: of two sweeps at once into one store, each run is trained by one.

A claim is a lock on one byte of one file, at an offset that the run's id names. The kernel gives
it back whenever and however its process ends, it works on network file systems that lock, and
leaves nothing behind. Such locks belong to a process, and closing any descriptor of the file drops
them all: a process opens the file once and keeps it open.

Sweeps share a lock on another byte, which the experiment's name names, and who moves its records
holds it alone.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

NAME = ".claims"
# Hexadecimal digits of an id that make an offset: 60 bits fit into every file system's offsets.
DIGITS = 15


class Claims:
    """The claims of this process on the runs of one store; made by `claims_on`."""

    def __init__(self, path: Path):
        """Open the file, which is made if need be and stays empty."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.works = True

    def take(self, run_ids: Iterable[str]) -> set[str]:
        """Claim what no other process holds and return it.

        Where the file system cannot lock, `works` turns false and everything is given.
        """
        return {run_id for run_id in run_ids if self.hold(run_id, fcntl.LOCK_EX)}

    def release(self, run_ids: Iterable[str]) -> None:
        """Give claims back."""
        if self.works:
            for run_id in run_ids:
                fcntl.lockf(self.handle, fcntl.LOCK_UN, 1, _offset(run_id))

    def hold(self, name: str, kind: int) -> bool:
        """Lock what a hexadecimal name names, shared or not; return whether that could be done."""
        if not self.works:
            return True
        try:
            fcntl.lockf(self.handle, kind | fcntl.LOCK_NB, 1, _offset(name))
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            self.works = False
        return True


@cache
def claims_on(root: Path) -> Claims:
    """Return this process's claims on the store at `root`, an absolute path."""
    return Claims(root / NAME)


@contextmanager
def at_work(root: Path, experiment: str) -> Iterator[bool]:
    """Hold an experiment together with other sweeps; gives whether nobody moves its records."""
    with _held(root, experiment, fcntl.LOCK_SH) as held:
        yield held


@contextmanager
def alone(root: Path, experiment: str) -> Iterator[bool]:
    """Hold an experiment alone; gives whether no sweep of another process is at work in it."""
    with _held(root, experiment, fcntl.LOCK_EX) as held:
        yield held


@contextmanager
def _held(root: Path, experiment: str, kind: int) -> Iterator[bool]:
    claims, name = claims_on(root), hashlib.sha256(experiment.encode()).hexdigest()
    held = claims.hold(name, kind)
    try:
        yield held
    finally:
        if held:
            claims.release({name})


def _offset(run_id: str) -> int:
    return int(run_id[:DIGITS], 16)
