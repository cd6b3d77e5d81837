"""Records in a compact form that is committed: final numbers and curves, all that figures need.

``runs.jsonl.xz`` has a line of JSON per number, name or list that a record may hold, however deep:

    {"path": ["final", "regret"], "runs": [[0, 90], [120, 300]], "values": [...], "of": [...]}

`runs` are the ranges of runs that have it, left out where all have it; `values` is what they hold
or, where much is the same, the different ones, and `of` the place of each run's among them. Numbers
are rounded as for figures; of evaluations before the last the mean return alone is kept.
"""

import json
import lzma
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

from bench.store.record import RunRecord, shortened
from plots.data.records import UnusableRecords, condition, rounded, some_completed, usable

FILE = "runs.jsonl.xz"
FORMAT = 1
# So many runs per different value make it worth to write each value once.
FEW = 4

Place = tuple[str, ...]


def kept_experiments(root: Path) -> list[str]:
    """Return the names of the experiments under `root` whose records are kept."""
    return sorted(path.parent.name for path in root.glob(f"*/{FILE}"))


def read_reference(root: Path, experiment: str) -> list[RunRecord]:
    """Return the kept records of an experiment, fit to be drawn.

    Raises:
        UnusableRecords: If there are none, or the file is damaged.
    """
    known = kept_experiments(root)
    if experiment not in known:
        names = f"kept there: {', '.join(known)}" if known else "none are kept there yet"
        raise UnusableRecords(f"No records of {experiment!r} are kept under {root}; {names}.")
    path = root / experiment / FILE
    try:
        records = unpack(path.read_bytes())
    except (lzma.LZMAError, EOFError, ValueError, TypeError, KeyError, IndexError) as error:
        raise UnusableRecords(f"{path} is damaged: {error}.") from error
    # Rounded as they were kept.
    return some_completed(list(usable(records, f"The run {{}} of {path}")), experiment)


def pack(records: Iterable[RunRecord]) -> bytes:
    """Return the records in compact form: the same bytes whatever their order."""
    # Learners after each other, each with the same data in the same order: what is the same for
    # all learners, as most of a record is, then repeats in long stretches.
    ordered = sorted((rounded(shortened(record)) for record in records), key=_order)
    rows = [dict(_leaves((), _compact(record))) for record in ordered]
    lines = [json.dumps({"format": FORMAT, "num_runs": len(rows)})]
    for path in sorted(set(chain.from_iterable(rows))):
        having = [number for number, row in enumerate(rows) if path in row]
        texts = [rows[number][path] for number in having]
        line: dict[str, Any] = {"path": path}
        if len(having) < len(rows):
            line["runs"] = _ranges(having)
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        if FEW * len(places) <= len(texts):
            line["values"] = [json.loads(text) for text in places]
            line["of"] = [places[text] for text in texts]
        else:
            line["values"] = [json.loads(text) for text in texts]
        lines.append(json.dumps(line, separators=(",", ":")))
    return lzma.compress("\n".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME)


def unpack(packed: bytes) -> list[RunRecord]:
    """Return the records that were packed, by run id.

    Raises:
        ValueError, KeyError, TypeError, IndexError, EOFError, lzma.LZMAError: If they are damaged.
    """
    head, *lines = map(json.loads, lzma.decompress(packed).decode().splitlines())
    if head["format"] != FORMAT:
        raise ValueError(f"its format is {head['format']}, which this version does not know")
    plain: list[dict[str, Any]] = [{} for _ in range(head["num_runs"])]
    for line in lines:
        values = line["values"]
        if "of" in line:
            values = [values[place] for place in line["of"]]
        runs = chain.from_iterable(range(*r) for r in line.get("runs", [[0, len(plain)]]))
        *outer, last = line["path"]
        for number, value in zip(runs, values, strict=True):
            inner = plain[number]
            for name in outer:
                inner = inner.setdefault(name, {})
            inner[last] = value
    return sorted(map(_expanded, plain), key=lambda record: record.run_id)


def _order(record: RunRecord) -> tuple[Any, ...]:
    at = condition(record)
    learner = json.dumps(record.config.get("algorithm"), sort_keys=True)
    place = (record.environment, at.degradation, at.severity, record.seed)
    return record.algorithm, learner, *place, record.run_id


def _compact(record: RunRecord) -> dict[str, Any]:
    """Return a record's fields, its evaluations and metrics as columns."""
    evaluations = record.evaluations or [{}]
    columns = sorted({name for evaluation in evaluations for name in evaluation})
    # Not `asdict`, which copies everything.
    plain = {field.name: getattr(record, field.name) for field in fields(record)}
    return plain | {
        "evaluations": {name: [e.get(name) for e in evaluations] for name in columns},
        "metrics": {
            name: dict(zip(("update", "value"), map(list, zip(*points, strict=True)), strict=True))
            for name, points in record.metrics.items()
            if points
        },
    }


def _expanded(plain: dict[str, Any]) -> RunRecord:
    """Return the record that `_compact` made columns of."""
    columns = plain.pop("evaluations")
    metrics = plain.pop("metrics")
    names = list(columns)
    return RunRecord(
        **plain,
        evaluations=[
            dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)
        ],
        metrics={
            name: [list(p) for p in zip(points["update"], points["value"], strict=True)]
            for name, points in metrics.items()
        },
    )


def _leaves(path: Place, value: Any) -> Iterator[tuple[Place, str]]:
    """Yield everything in nested mappings that is none, with its path, as JSON."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves((*path, name), inner)
    else:
        yield path, json.dumps(value)


def _ranges(numbers: list[int]) -> list[list[int]]:
    """Return rising numbers as ranges, each from a first number to the one after its last."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] += 1
        else:
            ranges.append([number, number + 1])
    return ranges
