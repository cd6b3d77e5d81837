"""What was read of a folder of records, kept so that no record is parsed twice.

The records are the truth and the index is a cache of them: one file per experiment,
``<root>/<experiment>/.sweep/index``, with a line per record: name, stamp, status, code and
summary, separated by tabs. Whatever is wrong with it (outdated, damaged, missing, not to be
written) costs time and nothing else. It is replaced as a whole, so of two processes the last one's
stays.
"""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from bench.atomic import atomic_write

FILE = ".sweep/index"
# A clock's tick: what was written within one may be written again without its stamp telling.
TICK_NS = 50_000_000


class Entry(NamedTuple):
    """What is kept of one record: `code` is empty where it has none."""

    status: str
    code: str
    summary: str


class Index:
    """Entries of the records in one folder.

    Attributes:
        read: Returns the entry of a record, its texts of one line and without tabs; may raise
            `ValueError` for what is no record.
        version: Says what a summary holds; an index of another version is not used.
    """

    def __init__(self, folder: Path, version: str, read: Callable[[Path], Entry]):
        self.folder, self.version, self.read = folder, version, read
        self.file = folder / FILE

    @cached_property
    def known(self) -> dict[str, tuple[str, Entry]]:
        """Stamp and entry of records by their files' names."""
        return _load(self.file, self.version)

    def refresh(self, paths: Iterable[Path]) -> dict[str, Entry]:
        """Return the entries of records by their files' names, those of damaged ones left out.

        What is new or changed is read, what is gone is forgotten, and the rest is kept for the
        next process.
        """
        before, found = dict(self.known), {}
        for path in paths:
            with contextlib.suppress(ValueError, OSError):
                found[path.name] = self._entry(path)
        for name in self.known.keys() - set(os.listdir(self.folder)):
            del self.known[name]
        if self.known != before:
            # A store that may only be read is read without a cache.
            with contextlib.suppress(OSError):
                self._save()
        return found

    def _entry(self, path: Path) -> Entry:
        """Return what is known of a record, which is read if it is new or has changed."""
        # The stamp is taken first: of a record replaced meanwhile it is one that fits no longer.
        stat = path.stat()
        stamp = f"{stat.st_mtime_ns}-{stat.st_ctime_ns}-{stat.st_size}"
        known = self.known.get(path.name)
        if known is not None and known[0] == stamp:
            return known[1]
        entry = self.read(path)
        if time.time_ns() - stat.st_mtime_ns > TICK_NS:
            self.known[path.name] = stamp, entry
        return entry

    def _save(self) -> None:
        lines = "\n".join("\t".join((n, stamp, *entry)) for n, (stamp, entry) in self.known.items())
        body = f"{self.version}\n{lines}".encode()
        with atomic_write(self.file) as file:
            file.write(f"{_checksum(body)}\n".encode() + body)


def _load(file: Path, version: str) -> dict[str, tuple[str, Entry]]:
    """Return the entries of an index, none if anything is wrong with it."""
    try:
        checksum, _, body = file.read_bytes().partition(b"\n")
    except OSError:
        return {}
    if checksum != _checksum(body).encode():
        return {}
    found, *lines = body.decode().split("\n")
    if found != version:
        return {}
    rows = (line.split("\t") for line in lines if line)
    return {name: (stamp, Entry(*fields)) for name, stamp, *fields in rows}


def _checksum(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()
