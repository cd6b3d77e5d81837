"""Packing and unpacking an experiment's records: whatever is killed when, no record is lost.

Nothing is removed before what replaces it is on disk and was read back; until then there are two
copies of a record, of which the file counts.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.atomic import atomic_write
from bench.errors import UserError
from bench.store import heartbeats, pack
from bench.store.claims import alone
from bench.store.folders import SweepFiles
from bench.store.pack import Whole
from bench.store.records import RunStore
from bench.store.shelf import Shelf


class Moved(NamedTuple):
    """How many records were moved, and how many bytes all records together take now."""

    records: int
    bytes: int


def pack_records(store: RunStore, experiment: str) -> Moved:
    """Move the records of an experiment that lie as files into its pack.

    Raises:
        UserError: If there is no such experiment, one of its files is no record, or a sweep is at
            work in it.
    """
    folder = _folder(store, experiment)
    shelf = Shelf(folder)
    with _undisturbed(store, experiment):
        loose = shelf.files()
        if loose:
            # What is damaged is to be seen where it can be removed.
            store.heads(experiment)
            pack.write(folder, _whole(shelf))
            _settle(folder)
        moved = sum(_remove_copy(folder, name) for name in loose)
    return Moved(moved, _size(folder))


def unpack_records(store: RunStore, experiment: str) -> Moved:
    """Make files of all records in an experiment's pack, and remove it.

    Raises:
        UserError: If there is no such experiment or pack, or a sweep is at work in it.
    """
    folder = _folder(store, experiment)
    with _undisturbed(store, experiment):
        members = pack.members(folder)
        if pack.version(folder) is None:
            raise UserError(f"The records of {experiment!r} are not packed.")
        there = Shelf(folder).files()
        missing = [name for name in members if name not in there]
        for name in missing:
            with atomic_write(folder / name) as file:
                file.write(pack.read(folder, name))
            times = (members[name].stamp.written,) * 2
            os.utime(folder / name, ns=times)
        _settle(folder)
        (folder / pack.FILE).unlink()
    return Moved(len(missing), sum(os.stat(folder / name).st_size for name in members))


def _folder(store: RunStore, experiment: str) -> Path:
    known = store.experiments()
    if experiment not in known:
        names = f"there are {', '.join(known)}" if known else "there is none at all"
        raise UserError(f"There is no record of {experiment!r} under {store.root}; {names}.")
    return store.root / experiment


@contextmanager
def _undisturbed(store: RunStore, experiment: str) -> Iterator[None]:
    """Refuse to go on while a sweep is at work in an experiment, and let none begin meanwhile."""
    refusal = f"A sweep is at work in {experiment!r}: try again when it has ended."
    with alone(store.root.resolve(), experiment) as is_alone:
        # Workers on other machines may outlive the command that started them.
        heard = heartbeats.read(SweepFiles(store.root / experiment).heartbeats)
        if not is_alone or not all(cohort.silent for cohort in heard):
            raise UserError(refusal)
        yield


def _whole(shelf: Shelf) -> Iterator[Whole]:
    for name in shelf.names():
        stamp, content = shelf.one(name), shelf.read(name)
        # What is replaced meanwhile has got another stamp.
        while (now := shelf.one(name)) != stamp:
            stamp, content = now, shelf.read(name)
        assert stamp is not None
        yield Whole(name, stamp, content)


def _remove_copy(folder: Path, name: str) -> bool:
    """Remove a file that the pack has, byte for byte; return whether it has."""
    path = folder / name
    same = path.read_bytes() == pack.read(folder, name)
    if same:
        path.unlink()
    return same


def _settle(folder: Path) -> None:
    """Have the names in a folder on disk before anything is removed from it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(folder: Path) -> int:
    loose = sum(stamp.size for stamp in Shelf(folder).files().values())
    return loose + (os.stat(folder / pack.FILE).st_size if pack.members(folder) else 0)
