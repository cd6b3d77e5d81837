"""Run records and the append-only store that every table and figure is drawn from.

One run leaves one JSON file, ``<root>/<experiment>/<run_id>.json``, written to a temporary name
and renamed, so that a reader never meets half a record. A stored record is never edited.
What else an experiment keeps of itself, none of it a record, is under ``<experiment>/.sweep/``.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

from bench.atomic import atomic_write
from bench.errors import UserError
from bench.store.index import Entry, Index

Status = Literal["completed", "empty", "failed"]


@dataclass(frozen=True)
class RunRecord:
    """What one run leaves behind: raw numbers only, averages are derived from them.

    Attributes:
        run_id: Hash of everything that can change the result, the seed included.
        status: ``empty`` when the degradation left no data, ``failed`` when ``error`` says why.
        config: The resolved configuration that `run_id` was computed from.
        dataset: Source, fingerprint, sizes and mean return of the data that was trained on, and a
            hash of what it was made from (``content``; of data that worse episodes come from, by
            name, ``worse``); of a file also its hash and whose reference returns scores are scaled
            by; ``reward_unit`` where learners count rewards in another unit than the world.
        coverage: Measures of what that data still covers; null ones have a reason in ``reasons``,
            ``comparator`` says whose coverage it is.
        values: Optimum, uniform, behavior and best covered value, in the environment's units.
        evaluation: What policies were evaluated in; null where nothing could be acted in, and
            `evaluation_reason` says why.
        evaluations: Per evaluation the update, the raw episode returns and the exact value.
        final: Regrets and scores of the last evaluation; all null without one.
        value_estimates: Of the last policy from data alone, where they were made; no returns and
            no regrets. What they are of and made from, and per way of acting, ``mode`` and
            ``sampling``, those of `bench/measures/value_estimates/estimation.py`.
        regret_split: Where the regret comes from (`bench/measures/splits.py`), of worlds whose MDP
            is known; empty elsewhere and in records that were made before it was.
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
    evaluation: str | None = None
    evaluation_reason: str | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    final: dict[str, float | None] = field(default_factory=dict)
    value_estimates: dict[str, Any] = field(default_factory=dict)
    regret_split: dict[str, Any] = field(default_factory=dict)
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
SUMMARY_VERSION = " ".join(("3", *(field.name for field in fields(RunRecord))))


def shortened(record: RunRecord) -> RunRecord:
    """Return a record whose evaluations before the last have their returns as means.

    Raises:
        TypeError: If its evaluations are no lists of numbers.
    """
    early, last = record.evaluations[:-1], record.evaluations[-1:]
    return replace(record, evaluations=[*map(_with_means, early), *last])


def _with_means(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluation, every list in it as a list of its mean alone."""
    if not isinstance(evaluation, dict):
        return evaluation  # whoever reads it says so
    lists = {name: values for name, values in evaluation.items() if isinstance(values, list)}
    means = {name: [sum(values) / len(values)] if values else [] for name, values in lists.items()}
    return {**evaluation, **means}


class DamagedRecordError(ValueError, UserError):
    """A file in the store that is not a record; the message is one sentence for the user."""


# So few runs are looked up one by one: no folder is listed and no index read for them.
FEW = 64


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
        return sorted({path.parent.name for path in self._paths("*")})

    def paths(self, experiment: str) -> list[Path]:
        """Return the paths of an experiment's records in the order of their run ids."""
        return sorted(self._paths(experiment))

    def look_up(self, codes: Mapping[str, str | None], experiment: str) -> dict[str, Stored]:
        """Return the best record of every run that has one, by id.

        `codes` holds the fingerprint of today's code for each run that is asked for; a record of
        other code, or of unknown code, is stale. Best is one that is not, did not fail, and is of
        `experiment`; where all are stale, what is of `experiment` comes first.

        Raises:
            DamagedRecordError: If a record of such a run is none; the message names it.
        """
        ranked: dict[str, list[tuple[Any, ...]]] = {}
        # Looked at before the records are: what is replaced meanwhile is newer than that.
        times = {path: path.stat().st_mtime_ns for path in self._paths_of(codes.keys())}
        for path, entry in self._entries(times):
            run_id, other = path.stem, path.parent.name != experiment
            stale = codes[run_id] is None or entry.code != codes[run_id]
            rank = (stale, stale and other, entry.status == "failed", other, path, entry.status)
            ranked.setdefault(run_id, []).append(rank)
        found = {}
        for run_id, ranks in ranked.items():
            stale, *_, path, status = min(ranks)
            written = max(times[rank[-2]] for rank in ranks)
            found[run_id] = Stored(path, status, stale, written)
        return found

    def written(self, run_id: str) -> int:
        """Return when the newest record of a run was written (``st_mtime_ns``), 0 without any."""
        return max((path.stat().st_mtime_ns for path in self.find(run_id)), default=0)

    def find(self, run_id: str) -> list[Path]:
        """Return the paths of one run's records, one per experiment that has it."""
        return sorted(path for path in self.root.glob(f"*/{run_id}.json"))

    def summaries(self, experiment: str, among: Iterable[Path] | None = None) -> list[RunRecord]:
        """Return an experiment's records by run id, without ``metrics`` and with the returns of
        all but the last of their ``evaluations`` as means: what is long in a record and seldom
        wanted of all of them at once.

        Args:
            experiment: Its name.
            among: Paths of the records that are wanted, of those that are there; None means all.
        """
        paths = self.paths(experiment)
        if among is not None:
            paths = sorted({*paths} & {*among})
        entries = self._entries(paths)
        return [RunRecord.from_json(entry.summary) for _, entry in entries]

    def read(self, experiment: str) -> Iterator[RunRecord]:
        """Yield the records of one experiment in the order of their run ids."""
        return map(self.load, self.paths(experiment))

    def load(self, path: Path) -> RunRecord:
        """Return the record in a file.

        Raises:
            DamagedRecordError: If the file is not a run record; the message names it.
        """
        try:
            return RunRecord.from_json(path.read_text("utf-8"))
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

    def _entries(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Entry]]:
        """Yield what is to be known of records in order; of many in one folder by its index."""
        for folder, group in groupby(sorted(paths, key=str), lambda path: path.parent):
            wanted, known = list(group), dict[str, Entry]()
            if len(wanted) > FEW:
                known = Index(folder, SUMMARY_VERSION, self._summarise).refresh(wanted)
            # What the index could not read is read again, so that it is named.
            yield from ((p, known.get(p.name) or self._summarise(p)) for p in wanted)

    def _summarise(self, path: Path) -> Entry:
        """Return what the index keeps of a record."""
        record = self.load(path)
        try:
            short = shortened(replace(record, metrics={}))
        except TypeError as error:
            raise DamagedRecordError(f"{path} is not a run record: {error}") from error
        status = record.status if record.status in get_args(Status) else "unknown"
        code = record.code if isinstance(record.code, str) and record.code.isalnum() else ""
        return Entry(status, code, json.dumps(vars(short)))

    def path(self, experiment: str, run_id: str) -> Path:
        """Return where the record of a run is or will be."""
        return self.root / experiment / f"{run_id}.json"

    def _paths_of(self, run_ids: Collection[str]) -> Iterator[Path]:
        if len(run_ids) <= FEW:
            return chain.from_iterable(self.find(run_id) for run_id in run_ids)
        names = {f"{run_id}.json" for run_id in run_ids}
        return (path for path in self._paths("*") if path.name in names)

    def _paths(self, experiment: str) -> Iterator[Path]:
        # Temporary files begin with a dot, which a glob's `*` at the start does match.
        return (p for p in self.root.glob(f"{experiment}/*.json") if not p.name.startswith("."))
