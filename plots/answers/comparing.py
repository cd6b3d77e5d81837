"""What changed between two experiments, or two records of one, beyond chance: cell by cell.

Runs are paired by seed within a cell that both have; p-values are of a test that swaps the two seed
by seed, adjusted by Holm for all cells that are compared.
"""

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np

from bench.measures.statistics.aggregates import mean_of_tasks
from bench.measures.statistics.improvement import holm, sign_flip_p_value
from bench.measures.statistics.intervals import Estimate, Resampled
from plots.data.frame import Frame
from plots.data.records import Condition, UnusableRecords, replicate
from plots.look.markup import csv_table

SIGNIFICANT = 0.05


class Change(NamedTuple):
    """One cell that both have: its mean before and after, and by how much it is higher now."""

    condition: Condition
    learner: str
    before: float
    after: float
    difference: Estimate
    p_value: float
    adjusted: float


class Compared(NamedTuple):
    """All changes, with how many cells only one of the two has."""

    changes: tuple[Change, ...]
    num_only_before: int
    num_only_after: int


def compare(before: Frame, after: Frame, measure: str = "normalized_regret") -> Compared:
    """Return what the second has that differs from the first.

    Raises:
        UnusableRecords: If they share no cell with a seed that completed in both.
    """
    one, other = _scores(before, measure), _scores(after, measure)
    found = []
    for place in sorted(one.keys() & other.keys(), key=str):
        seeds = sorted(one[place].keys() & other[place].keys(), key=str)
        if seeds:
            pair = np.array([[cell[place][seed] for seed in seeds] for cell in (one, other)])
            differences = pair[1] - pair[0]
            estimate = Resampled([differences]).percentile(mean_of_tasks)
            found.append((place, pair.mean(axis=1), estimate, sign_flip_p_value(differences)))
    if not found:
        raise UnusableRecords(
            f"{before.experiment} and {after.experiment} share no cell with a common seed."
        )
    adjusted = holm([entry[-1] for entry in found])
    changes = [
        Change(*place, float(means[0]), float(means[1]), estimate, p_value, corrected)
        for (place, means, estimate, p_value), corrected in zip(found, adjusted, strict=True)
    ]
    return Compared(tuple(changes), len(one.keys() - other.keys()), len(other.keys() - one.keys()))


def summary(compared: Compared) -> str:
    """Return in sentences how much changed and where most."""
    changes = compared.changes
    clear = [c for c in changes if c.adjusted < SIGNIFICANT]
    same = sum(c.before == c.after and c.difference.low == c.difference.high for c in changes)
    lines = [
        f"{len(changes)} cells are in both: {same} are equal to the last digit, {len(clear)} "
        f"differ beyond chance (Holm, {SIGNIFICANT:.0%}); {compared.num_only_before} are in the "
        f"first alone, {compared.num_only_after} in the second alone.".replace("%", " %")
    ]
    most = sorted(changes, key=lambda c: (c.adjusted, -abs(c.difference.point)))
    for c in [c for c in most if c.difference.point][:10]:
        at = f"{c.condition.environment}, {c.condition.degradation} {c.condition.severity:g}"
        d = c.difference
        lines.append(
            f"{c.learner} on {at}: {c.before:.3f} to {c.after:.3f} ({d.point:+.3f}, 95 % interval "
            f"{d.low:+.3f} to {d.high:+.3f}, {d.num_runs} seeds, p = {c.adjusted:.2g} after Holm)."
        )
    return "\n".join(lines)


def compared_csv(compared: Compared) -> str:
    """Return a line per cell that both have."""
    columns = ["environment", "degradation", "severity", "learner", "before", "after"]
    columns += ["difference", "difference_low", "difference_high", "num_pairs"]
    rows = []
    for change in compared.changes:
        ends = ("difference", "difference_low", "difference_high", "num_pairs")
        numbers = dict(zip(ends, change.difference, strict=True))
        rows.append(change._asdict() | vars(change.condition) | numbers)
    return csv_table([*columns, "p_value", "adjusted"], rows)


def _scores(frame: Frame, measure: str) -> dict[tuple[Condition, str], dict[Any, float]]:
    found: dict[tuple[Condition, str], dict[Any, float]] = defaultdict(dict)
    for record in frame.completed():
        if (score := record.final.get(measure)) is not None:
            place = frame.places[record.run_id], frame.labels[record.run_id]
            found[place][replicate(record)] = float(score)
    return found
