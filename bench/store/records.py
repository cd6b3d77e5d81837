"""Run records and the append-only store that every table and figure is drawn from.

One run leaves one JSON file, ``<root>/<experiment>/<run_id>.json``, written to a temporary name
and renamed, so that a reader never meets half a record. A stored record is never edited.
What else an experiment keeps of itself, none of it a record, is under ``<experiment>/.sweep/``.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Self, get_args

from bench.atomic import atomic_write
from bench.errors import UserError
from bench.store.index import Index

Status = Literal["completed", "empty", "failed"]


@dataclass(frozen=True)
class RunRecord:
    """What one run leaves behind: raw numbers only, averages are derived from them.

    Attributes:
        run_id: Hash of everything that can change the result, the seed included.
        status: ``empty`` when the degradation left no data, ``failed`` when ``error`` says why.
        config: The resolved configuration that `run_id` was computed from.
        dataset: Source, fingerprint, sizes and mean return of the data that was trained on; of a
            file also its hash and whose reference returns scores are scaled by.
        coverage: Measures of what that data still covers; null ones have a reason in ``reasons``,
            ``comparator`` says whose coverage it is.
        values: Optimum, uniform, behavior and best covered value, in the environment's units.
        evaluations: Per evaluation the update, the raw episode returns and the exact value.
        final: Regrets and scores of the last evaluation.
        metrics: Per name a list of ``[update, value]``.
        timing: Updates per second of each run, and of the whole cohort and process: seconds, peak
            memory (also of the GPU, null without one) and number of runs.
        code: Fingerprint of the algorithm's code that made it, null where it is not known.
    """

    run_id: str
    experiment: str
    status: Status
    algorithm: str
    environment: str
    seed: int
    config: dict[str, Any]
    dataset: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Any] = field(default_factory=dict)
    values: dict[str, float | None] = field(default_factory=dict)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    final: dict[str, float | None] = field(default_factory=dict)
    metrics: dict[str, list[list[float]]] = field(default_factory=dict)
    timing: dict[str, float | None] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    code: str | None = None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record that `to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Return the record as JSON; NaN and infinities raise ``ValueError``."""
        return json.dumps(asdict(self), allow_nan=False, indent=1)


# A new field of records makes older summaries incomplete.
SUMMARY_VERSION = " ".join(("1", *(field.name for field in fields(RunRecord))))


class DamagedRecordError(ValueError, UserError):
    """A file in the store that is not a record; the message is one sentence for the user."""


class RunStore:
    """The folder of records, ``<root>/<experiment>/<run_id>.json``."""

    def __init__(self, root: Path):
        self.root = Path(root)
        self._indexes: dict[str, Index] = {}

    def experiments(self) -> list[str]:
        """Return the names of the experiments that have at least one record."""
        return sorted({path.parent.name for path in self._paths("*")})

    def paths(self, experiment: str) -> list[Path]:
        """Return the paths of an experiment's records in the order of their run ids."""
        return sorted(self._paths(experiment))

    def stored(self) -> dict[str, Path]:
        """Return the path of every stored run id.

        Of records under several experiments one that did not fail comes first.
        """
        stored: dict[str, Path] = {}
        for path in self._refreshed("*"):
            known = stored.get(path.stem)
            if known is None or self.status(known) == "failed":
                stored[path.stem] = path
        return stored

    def find(self, run_id: str) -> list[Path]:
        """Return the paths of one run's records, one per experiment that has it."""
        return sorted(path for path in self.root.glob(f"*/{run_id}.json"))

    def status(self, path: Path) -> str:
        """Return a record's status; like `load` it raises ``DamagedRecordError``."""
        return self._index(path.parent).entry(path).status

    def summaries(self, experiment: str) -> list[RunRecord]:
        """Return an experiment's records by run id, without ``metrics`` and all but the last of
        their ``evaluations``: what is long in a record and seldom wanted of all of them at once.
        """
        entries = (self._index(path.parent).entry(path) for path in self._refreshed(experiment))
        return [RunRecord.from_json(entry.summary) for entry in entries]

    def read(self, experiment: str) -> Iterator[RunRecord]:
        """Yield the records of one experiment in the order of their run ids."""
        return map(self.load, self.paths(experiment))

    def load(self, path: Path) -> RunRecord:
        """Return the record in a file.

        Raises:
            DamagedRecordError: If the file is not a run record; the message names it.
        """
        try:
            return RunRecord.from_json(path.read_text())
        except (ValueError, TypeError) as error:
            raise DamagedRecordError(f"{path} is not a run record: {error}") from error

    def write(self, record: RunRecord) -> Path:
        """Store one record atomically and return its path."""
        text = record.to_json()
        path = self.path(record.experiment, record.run_id)
        with atomic_write(path) as file:
            file.write(text.encode())
        return path

    def adopt(self, paths: Iterable[Path], experiment: str) -> int:
        """File records of other experiments under `experiment` too; return how many were new."""
        adopted = 0
        for path in paths:
            own = self.path(experiment, path.stem)
            # A record of this experiment stays, unless it failed where another did not.
            if path != own and not (own.exists() and self.status(own) != "failed"):
                self.write(replace(self.load(path), experiment=experiment))
                adopted += 1
        return adopted

    def _refreshed(self, experiment: str) -> list[Path]:
        """Return the paths of records in order, all of them indexed but for damaged ones."""
        paths = self.paths(experiment)
        for folder, group in groupby(paths, lambda path: path.parent):
            self._index(folder).refresh(group)
        return paths

    def _index(self, folder: Path) -> Index:
        if folder.name not in self._indexes:
            self._indexes[folder.name] = Index(folder, SUMMARY_VERSION, self._summarise)
        return self._indexes[folder.name]

    def _summarise(self, path: Path) -> tuple[str, str]:
        """Return what the index keeps of a record: its status and its summary."""
        record = self.load(path)
        try:
            short = replace(record, metrics={}, evaluations=record.evaluations[-1:])
        except TypeError as error:
            raise DamagedRecordError(f"{path} is not a run record: {error}") from error
        status = record.status if record.status in get_args(Status) else "unknown"
        return status, json.dumps(vars(short))

    def path(self, experiment: str, run_id: str) -> Path:
        """Return where the record of a run is or will be."""
        return self.root / experiment / f"{run_id}.json"

    def _paths(self, experiment: str) -> Iterator[Path]:
        # Temporary files begin with a dot, which a glob's `*` at the start does match.
        return (p for p in self.root.glob(f"{experiment}/*.json") if not p.name.startswith("."))
