"""The append-only store of records.

One run leaves one JSON file, ``<root>/<experiment>/<run_id>.json``, written to a temporary name
and renamed, so that a reader never meets half a record. A stored record is never edited. Records
may be packed (`bench/store/pack.py`): the path of a packed one is where it was and would be again.
What else an experiment keeps of itself, none of it a record, is under ``<experiment>/.sweep/``.
"""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args

from bench.atomic import atomic_write
from bench.errors import UserError
from bench.store.heads import Head, head_of
from bench.store.index import Entry, Index
from bench.store.pack import Stamp
from bench.store.record import RunRecord, Status, shortened
from bench.store.shelf import Shelf

# A new field of records makes older summaries incomplete.
SUMMARY_VERSION = " ".join(("4", *(f.name for f in fields(RunRecord)), "|", *Head._fields))


class DamagedRecordError(ValueError, UserError):
    """A file in the store that is not a record; the message is one sentence for the user."""


# So few runs are looked up one by one: no folder is listed and no index read for them.
FEW = 64
# So many summaries are parsed together: names in them are then one text in memory for all.
TOGETHER = 64


class Stored(NamedTuple):
    """What there is of a run.

    Attributes:
        path: Its best record, and `status` what that says.
        stale: Whether other code than today's made it.
        written: When the newest of its records was written (``st_mtime_ns``).
    """

    path: Path
    status: str
    stale: bool
    written: int


class RunStore:
    """The folder of records, ``<root>/<experiment>/<run_id>.json``."""

    def __init__(self, root: Path):
        self.root = Path(root)

    def experiments(self) -> list[str]:
        """Return the names of the experiments that have at least one record."""
        return [name for name in self._folders() if self._shelf(name).any()]

    def paths(self, experiment: str) -> list[Path]:
        """Return the paths of an experiment's records in the order of their run ids."""
        folder = self.root / experiment
        return [folder / name for name in self._shelf(experiment).names()]

    def times(self, experiment: str) -> dict[str, int]:
        """Return when each of an experiment's records was written (``st_mtime_ns``), by run id."""
        stamps = self._shelf(experiment).stamps()
        return {_run_id(name): stamp.written for name, stamp in stamps.items()}

    def look_up(self, codes: Mapping[str, str | None], experiment: str) -> dict[str, Stored]:
        """Return the best record of every run that has one, by id.

        `codes` holds the fingerprint of today's code for each run that is asked for; a record of
        other code, or of unknown code, is stale. Best is one that is not, did not fail, and is of
        `experiment`; where all are stale, what is of `experiment` comes first.

        Raises:
            DamagedRecordError: If a record of such a run is none; the message names it.
        """
        ranked: dict[str, list[tuple[Any, ...]]] = {}
        for folder in self._folders():
            # Looked at before the records are: what is replaced meanwhile is newer than that.
            stamps, there = self._of_runs(folder, codes)
            other = folder != experiment
            for name, head in self._heads(folder, stamps, there):
                run_id = _run_id(name)
                stale = codes[run_id] is None or head.code != codes[run_id]
                status = head.status if head.status in get_args(Status) else "unknown"
                rank = (stale, stale and other, status == "failed", other, folder, status)
                ranked.setdefault(run_id, []).append((*rank, stamps[name].written))
        found = {}
        for run_id, ranks in ranked.items():
            stale, *_, folder, status, _ = min(ranks)
            written = max(rank[-1] for rank in ranks)
            found[run_id] = Stored(self.path(folder, run_id), status, stale, written)
        return found

    def written(self, run_id: str) -> int:
        """Return when the newest record of a run was written (``st_mtime_ns``), 0 without any."""
        return max(self.find(run_id).values(), default=0)

    def find(self, run_id: str) -> dict[Path, int]:
        """Return the paths of one run's records, one per experiment that has it, in order, with
        when they were written (``st_mtime_ns``).
        """
        found = ((f, self._shelf(f).one(_name(run_id))) for f in self._folders())
        return {self.path(f, run_id): stamp.written for f, stamp in found if stamp is not None}

    def heads(self, experiment: str) -> list[Head]:
        """Return the heads of an experiment's records by run id.

        Raises:
            DamagedRecordError: If a file of it is not a record; the message names it.
        """
        stamps = self._shelf(experiment).stamps()
        return [head for _, head in self._heads(experiment, stamps, stamps)]

    def summaries(self, experiment: str, among: Iterable[str] | None = None) -> Iterator[RunRecord]:
        """Yield an experiment's records by run id, without ``metrics`` and with the returns of
        all but the last of their ``evaluations`` as means: what is long in a record and seldom
        wanted of all of them at once.

        Args:
            experiment: Its name.
            among: Run ids of the records that are wanted, of those that are there; None means all.
        """
        stamps = there = self._shelf(experiment).stamps()
        if among is not None:
            wanted = set(map(_name, among))
            stamps = {name: stamp for name, stamp in there.items() if name in wanted}
        if len(stamps) <= FEW:
            for name in stamps:
                yield RunRecord.from_json(self._entry(experiment, name).summary)
            return
        index = self._index(experiment)
        index.heads(stamps, there)
        found = dict(index.summaries(stamps))
        names = iter(stamps)
        while some := [found.pop(name) for name in islice(names, TOGETHER)]:
            yield from (RunRecord(**record) for record in json.loads(f"[{','.join(some)}]"))

    def read(self, experiment: str) -> Iterator[RunRecord]:
        """Yield the records of one experiment in the order of their run ids."""
        return map(self.load, self.paths(experiment))

    def holds(self, path: Path) -> bool:
        """Return whether there is a record of this path, as a file or packed."""
        return Shelf(path.parent).one(path.name) is not None

    def content(self, path: Path) -> bytes:
        """Return the bytes of a record."""
        return Shelf(path.parent).read(path.name)

    def load(self, path: Path) -> RunRecord:
        """Return the record of a path.

        Raises:
            DamagedRecordError: If that is not a run record; the message names it.
        """
        try:
            return RunRecord.from_json(self.content(path).decode())
        except (ValueError, TypeError) as error:
            raise DamagedRecordError(f"{path} is not a run record: {error}") from error

    def write(self, record: RunRecord) -> Path:
        """Store one record atomically and return its path."""
        text = record.to_json()
        path = self.path(record.experiment, record.run_id)
        with atomic_write(path) as file:
            file.write(text.encode())
        return path

    def adopt(self, path: Path, experiment: str) -> Path:
        """File a record of another experiment under `experiment` too, and return its path there."""
        return self.write(replace(self.load(path), experiment=experiment))

    def path(self, experiment: str, run_id: str) -> Path:
        """Return the path of the record that a run has or will have."""
        return self.root / experiment / _name(run_id)

    def _heads(
        self, experiment: str, stamps: Mapping[str, Stamp], there: Collection[str]
    ) -> Iterator[tuple[str, Head]]:
        """Yield the heads of records in their order; of many by their folder's index."""
        known: dict[str, str] = {}
        if len(stamps) > FEW:
            known = self._index(experiment).heads(stamps, there)
        # What the index could not read is read again, so that it is named.
        texts = [known.get(name) or self._entry(experiment, name).head for name in stamps]
        # Parsed together: one by one they take twice as long.
        heads = map(Head._make, json.loads(f"[{','.join(texts)}]"))
        return zip(stamps, heads, strict=True)

    def _index(self, experiment: str) -> Index:
        read = partial(self._entry, experiment)
        return Index(self.root / experiment, SUMMARY_VERSION, read)

    def _entry(self, experiment: str, name: str) -> Entry:
        """Return what the index keeps of a record."""
        path = self.root / experiment / name
        record = self.load(path)
        try:
            head, short = head_of(vars(record)), shortened(replace(record, metrics={}))
        except TypeError as error:
            raise DamagedRecordError(f"{path} is not a run record: {error}") from error
        return Entry(json.dumps(head), json.dumps(vars(short)))

    def _of_runs(
        self, experiment: str, run_ids: Collection[str]
    ) -> tuple[dict[str, Stamp], Collection[str]]:
        """Return the stamps of the records of some runs, and the names of all that are there
        where these had to be listed.
        """
        shelf = self._shelf(experiment)
        if len(run_ids) <= FEW:
            found = {_name(run_id): shelf.one(_name(run_id)) for run_id in sorted(run_ids)}
            return {name: stamp for name, stamp in found.items() if stamp is not None}, ()
        there = shelf.stamps()
        return {name: stamp for name, stamp in there.items() if _run_id(name) in run_ids}, there

    def _shelf(self, experiment: str) -> Shelf:
        return Shelf(self.root / experiment)

    def _folders(self) -> list[str]:
        """Return the names of the folders that may have records, in order."""
        try:
            with os.scandir(self.root) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []


def _name(run_id: str) -> str:
    return f"{run_id}.json"


def _run_id(name: str) -> str:
    return name.removesuffix(".json")
