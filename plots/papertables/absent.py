"""Data that a table asked for and that was not there: from plans, or from what was kept of them."""

import csv
from pathlib import Path

from bench.store import manifest
from plots.look.markup import csv_table

FILE = "holes.csv"
COLUMNS = ("environment", "reason")


def absent_data(folder: Path) -> dict[str, str]:
    """Return why data was not there, by environment, of an experiment's folder of either kind.

    Of an experiment in the store its plans say it, of one among the reference results a file.
    """
    path = folder / FILE
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            return {row["environment"]: row["reason"] for row in csv.DictReader(file)}
    plans, _ = manifest.read(folder)
    found: dict[str, str] = {}
    for plan in reversed(plans):
        found |= plan.absent
    return found


def absent_csv(absent: dict[str, str]) -> str:
    """Return the file that is kept."""
    rows = [{"environment": name, "reason": why} for name, why in sorted(absent.items())]
    return csv_table(COLUMNS, rows)
