"""The long form of records: a line per number, for whoever analyses them elsewhere."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.atomic import atomic_write
from bench.errors import UserError
from plots.data.frame import Frame

# The columns with their meaning; plots/README.md has the same.
COLUMNS = {
    "run_id": "hash of all that can change the result, the seed included",
    "algorithm": "its name",
    "learner": "its name in figures: the algorithm with the settings that set its runs apart",
    "environment": "name of the dataset: the world and who collected",
    "degradation": "how its coverage was lowered, as named in figures; `none` at severity 0",
    "severity": "how much, from 0 to 1",
    "seed": "names the training",
    "group": "where the number stands in a record: `final`, `values`, `coverage`, `dataset`,"
    " `timing`, `value_estimates`, `regret_split`, `evaluations` or `metrics`",
    "quantity": "its name there, dotted if deeper; of evaluations the mean over episodes",
    "update": "after which update, of evaluations and metrics",
    "value": "the number",
}
PLAIN = ("final", "values", "coverage", "dataset", "timing")
NESTED = ("value_estimates", "regret_split")
SUFFIXES = (".csv", ".parquet")


def export(frame: Frame, path: Path) -> int:
    """Write the long form of all records as CSV or Parquet and return its number of lines.

    Raises:
        UserError: If the file's name ends otherwise, or Parquet is asked for without pyarrow.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} should end in {' or '.join(SUFFIXES)}.")
    rows = list(long_form(frame))
    if path.suffix == ".csv":
        with atomic_write(path) as handle:
            lines = [list(COLUMNS), *([row[name] for name in COLUMNS] for row in rows)]
            handle.write(_csv(lines).encode())
        return len(rows)
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            "Parquet needs pyarrow: pip install 'stackelberg-bench[parquet]'."
        ) from error
    table = arrow.table({name: [row[name] for row in rows] for name in COLUMNS})
    with atomic_write(path) as handle:
        parquet.write_table(table, handle)
    return len(rows)


def long_form(frame: Frame) -> Iterator[dict[str, Any]]:
    """Yield a line per number of every record, its columns `COLUMNS`."""
    for record in frame.records:
        place = frame.places[record.run_id]
        shared = {
            "run_id": record.run_id,
            "algorithm": record.algorithm,
            "learner": frame.labels[record.run_id],
            "environment": record.environment,
            "degradation": place.degradation,
            "severity": float(place.severity),
            "seed": record.seed,
        }
        for group in PLAIN:
            for quantity, value in getattr(record, group).items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    yield _line(shared, group, quantity, None, value)
        for group in NESTED:
            for quantity, value in _numbers(getattr(record, group)):
                yield _line(shared, group, quantity, None, value)
        for evaluation in record.evaluations:
            for quantity, value in evaluation.items():
                if isinstance(value, list) and value:
                    value = sum(value) / len(value)
                if quantity != "update" and isinstance(value, int | float):
                    yield _line(shared, "evaluations", quantity, evaluation.get("update"), value)
        for quantity, points in record.metrics.items():
            for update, value in points:
                yield _line(shared, "metrics", quantity, int(update), value)


def _numbers(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in nested mappings under dotted names."""
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", value


def _line(
    shared: dict[str, Any], group: str, quantity: str, update: int | None, value: float
) -> dict[str, Any]:
    return shared | {
        "group": group, "quantity": quantity, "update": update, "value": float(value)
    }  # fmt: skip


def _csv(lines: Iterable[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
