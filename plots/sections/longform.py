"""The long table: one line per environment, degradation, severity and learner, as CSV."""

import csv
import io

from plots.frame import MEASURES, Cell, Frame
from plots.records import Condition


def csv_table(frame: Frame) -> str:
    """Return the table; what is not known is left empty, severity 0 has the degradation ``none``.

    Columns: the cell's place; numbers of runs; for each measure the interquartile mean and the ends
    of its interval; the condition's mean measured coverage and which measure that is; and whether
    the condition can tell methods apart.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(), lineterminator="\n")
    writer.writeheader()
    for condition in frame.situations:
        for learner in frame.learners:
            cell = frame.cells.get((condition, learner.label))
            if cell is not None:
                place = {"learner": learner.label, "algorithm": learner.algorithm}
                writer.writerow(place | _values(frame, condition, cell))
    return text.getvalue()


def _columns() -> list[str]:
    place = ["environment", "degradation", "severity", "learner", "algorithm"]
    counts = ["num_runs", "num_empty", "num_failed", "num_missing"]
    scores = [name for measure in MEASURES for name in _names(measure)]
    return [*place, *counts, *scores, "coverage", "coverage_measure", "informative"]


def _names(measure: str) -> list[str]:
    return [measure, f"{measure}_low", f"{measure}_high"]


def _values(frame: Frame, condition: Condition, cell: Cell) -> dict[str, object]:
    situation = frame.situations[condition]
    values: dict[str, object] = {
        "environment": condition.environment,
        "degradation": condition.degradation,
        "severity": f"{condition.severity:g}",
        "num_runs": cell.num_runs,
        "num_empty": cell.num_empty,
        "num_failed": cell.num_failed,
        "num_missing": cell.num_missing,
        "coverage": _text(situation.coverage),
        "coverage_measure": frame.environments[condition.environment].coverage_name or "",
        "informative": "" if situation.informative is None else str(situation.informative).lower(),
    }
    for measure in MEASURES:
        estimate = cell.estimates.get(measure)
        ends = (None, None, None) if estimate is None else estimate[:3]
        values |= {name: _text(end) for name, end in zip(_names(measure), ends, strict=True)}
    return values


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
