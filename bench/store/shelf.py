"""The records of one experiment by their files' names, whether they lie as files or in its pack.

A file goes before what is packed under its name: it is newer, or the same.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bench.store import pack
from bench.store.pack import Stamp

Found = TypeVar("Found")


class Shelf:
    """The folder ``<root>/<experiment>``."""

    def __init__(self, folder: Path):
        """Take the folder, which need not exist."""
        self.folder = folder

    def names(self) -> list[str]:
        """Return the names of all records in order."""
        return self._consistent(lambda: sorted({*self._files(), *pack.members(self.folder)}))

    def stamps(self) -> dict[str, Stamp]:
        """Return the stamps of all records, by name and in that order."""
        return self._consistent(self._stamps)

    def one(self, name: str) -> Stamp | None:
        """Return the stamp of a single record, None where there is none."""
        return self._consistent(lambda: self._one(name))

    def files(self) -> dict[str, Stamp]:
        """Return the stamps of the records that lie as files, by name."""
        return {name: stamp for name in self._files() if (stamp := self._file(name)) is not None}

    def any(self) -> bool:
        """Return whether there is any record."""
        return self._consistent(lambda: any(True for _ in self._files()) or self._is_packed())

    def read(self, name: str) -> bytes:
        """Return a record's bytes.

        Raises:
            FileNotFoundError: If there is none.
        """
        return self._consistent(lambda: self._read(name))

    def _stamps(self) -> dict[str, Stamp]:
        found = self.files()
        for name, member in pack.members(self.folder).items():
            found.setdefault(name, member.stamp)
        return dict(sorted(found.items()))

    def _one(self, name: str) -> Stamp | None:
        if (stamp := self._file(name)) is not None:
            return stamp
        member = pack.members(self.folder).get(name)
        return None if member is None else member.stamp

    def _read(self, name: str) -> bytes:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return pack.read(self.folder, name)

    def _is_packed(self) -> bool:
        return bool(pack.members(self.folder))

    def _files(self) -> Iterator[str]:
        try:
            entries = os.scandir(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return
        with entries:
            for entry in entries:
                # Temporary files begin with a dot.
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    yield entry.name

    def _file(self, name: str) -> Stamp | None:
        try:
            stat = os.stat(f"{self.folder}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stamp.of(stat)

    def _consistent(self, look: Callable[[], Found]) -> Found:
        """Look at the files and then at the pack; again if another process moved it meanwhile.

        What is packed is a file until it is in the pack, and what is unpacked is in the pack until
        it is a file: looking in this order, only the latter can be missed.
        """
        while True:
            before = pack.version(self.folder)
            try:
                found = look()
            except FileNotFoundError:
                if pack.version(self.folder) == before:
                    raise
                continue
            if pack.version(self.folder) == before:
                return found
