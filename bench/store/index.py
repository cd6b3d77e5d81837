"""What was read of a folder of records, kept so that no record is parsed twice.

The records are the truth and the index is a cache of them, two files per experiment with a line per
record: ``<root>/<experiment>/.sweep/index`` has name, stamp and head, separated by tabs, and
``summaries`` beside it name, stamp and summary, which are long and seldom wanted. Whatever is wrong
with them (outdated, damaged, missing, not to be written) costs time and nothing else. They are
replaced as a whole, so of two processes the last one's stay.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bench.atomic import atomic_write
from bench.store.pack import Stamp

FILE = ".sweep/index"
SUMMARIES = ".sweep/summaries"
# A clock's tick: what was written within one may be written again without its stamp telling.
TICK_NS = 50_000_000
CHUNK = 1 << 20
# Hexadecimal digits.
CHECKSUM = 32


class Entry(NamedTuple):
    """What is kept of one record: texts of one line and without tabs."""

    head: str
    summary: str


class Index:
    """Entries of the records in one folder.

    Attributes:
        read: Returns the entry of a record by its file's name; may raise `ValueError` for what is
            no record.
        version: Says what an entry holds; an index of another version is not used.
    """

    def __init__(self, folder: Path, version: str, read: Callable[[str], Entry]):
        self.version, self.read = version, read
        self.file, self.long_file = folder / FILE, folder / SUMMARIES
        # Summaries that were made here, with their records' stamps.
        self.made: dict[str, tuple[str, str]] = {}

    def heads(self, wanted: Mapping[str, Stamp], there: Collection[str]) -> dict[str, str]:
        """Return the heads of records by their files' names, those of damaged ones left out.

        What is new or changed is read, what is gone is forgotten, and the rest is kept for the
        next process.

        Args:
            wanted: The stamps of the records that are wanted.
            there: The names of all records in the folder.
        """
        known = {name: (stamp, head) for name, stamp, head in _lines(self.file, self.version)}
        before, found = dict(known), dict[str, str]()
        for name, stamp in wanted.items():
            has = known.get(name)
            if has is not None and has[0] == str(stamp):
                found[name] = has[1]
                continue
            with contextlib.suppress(ValueError, OSError):
                found[name] = self._make(name, stamp, known).head
        for name in known.keys() - there:
            del known[name]
        if known != before:
            self._save(known)
        return found

    def summaries(self, wanted: Mapping[str, Stamp]) -> Iterator[tuple[str, str]]:
        """Yield names and summaries of records, in any order; damaged ones raise `ValueError`."""
        left = {name: str(stamp) for name, stamp in wanted.items()}
        made = ((name, *stamped) for name, stamped in self.made.items())
        for name, stamp, summary in chain(made, _lines(self.long_file, self.version)):
            if left.get(name) == stamp:
                del left[name]
                yield name, summary
        if left:
            known = {name: (stamp, head) for name, stamp, head in _lines(self.file, self.version)}
            for name in left:
                yield name, self._make(name, wanted[name], known).summary
            self._save(known)

    def _make(self, name: str, stamp: Stamp, known: dict[str, tuple[str, str]]) -> Entry:
        """Read a record, and add its head to what is known if its stamp tells of any change."""
        entry = self.read(name)
        if time.time_ns() - stamp.written > TICK_NS:
            known[name] = str(stamp), entry.head
            self.made[name] = str(stamp), entry.summary
        return entry

    def _save(self, known: Mapping[str, tuple[str, str]]) -> None:
        """Write what is known; a store that may only be read is read without a cache."""
        with contextlib.suppress(OSError):
            _write(self.long_file, self.version, self._all_summaries(known))
            _write(self.file, self.version, ((n, *stamped) for n, stamped in known.items()))

    def _all_summaries(self, known: Mapping[str, tuple[str, str]]) -> Iterator[Iterable[str]]:
        for name, stamp, summary in _lines(self.long_file, self.version):
            if name in known and known[name][0] == stamp and name not in self.made:
                yield name, stamp, summary
        yield from ((name, *made) for name, made in self.made.items())


def _write(file: Path, version: str, rows: Iterable[Iterable[str]]) -> None:
    digest = hashlib.blake2b(digest_size=CHECKSUM // 2)
    with atomic_write(file) as handle:
        handle.write(b" " * CHECKSUM + b"\n")
        for line in chain([version], map("\t".join, rows)):
            text = f"{line}\n".encode()
            digest.update(text)
            handle.write(text)
        handle.seek(0)
        handle.write(digest.hexdigest().encode())


def _lines(file: Path, version: str) -> Iterator[list[str]]:
    """Yield the fields of every line of a cache, none if anything is wrong with it."""
    try:
        handle = file.open("rb")
    except OSError:
        return
    with handle:
        if not _is_whole(handle):
            return
        handle.seek(CHECKSUM + 1)
        if handle.readline() != f"{version}\n".encode():
            return
        for line in handle:
            yield line[:-1].decode().split("\t")


def _is_whole(handle: BinaryIO) -> bool:
    """Return whether the checksum that a file begins with is that of the rest."""
    checksum = handle.read(CHECKSUM + 1)
    digest = hashlib.blake2b(digest_size=CHECKSUM // 2)
    while chunk := handle.read(CHUNK):
        digest.update(chunk)
    return checksum == f"{digest.hexdigest()}\n".encode()
