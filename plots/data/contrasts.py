"""One algorithm against the others under the same conditions: paired seeds, a joint bootstrap.

Scores are the regret to the best covered policy where it is known, else the regret, in units of
optimum minus uniform. Of one seed the two differ by the same amount for every learner, so that
differences between learners are those of either.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bench.measures.statistics.intervals import Estimate
from bench.measures.statistics.paired import paired_contrast
from bench.store.labels import learner_settings
from bench.store.record import RunRecord
from plots.data.frame import Frame
from plots.data.records import Condition, replicate

SETTING = "leader_gradient"
MEASURES = ("regret_to_covered", "regret")
FEWEST_PAIRS = 2
# Differences below this share of optimum - uniform are no differences.
NEGLIGIBLE = 0.01

Cells = dict[str, list[RunRecord]]


class Contrast(NamedTuple):
    """One variant of the chosen algorithm under one condition.

    Attributes:
        against: ``others``, or ``individual`` where a variant with total gradients is held against
            the one with individual gradients that is like it in all else.
        label: The variant's name in figures.
        measure: What was compared, in units of optimum minus uniform.
        mean: The variant's mean over the paired seeds.
        best_other: The learner with the lowest mean among those it is held against.
        median_mean: Median of their means.
        num_others: How many they are.
        to_best: Mean minus the lowest of theirs.
        to_median: Mean minus the median of theirs.
        num_pairs: Seeds that all of them completed.
    """

    condition: Condition
    informative: bool | None
    against: str
    label: str
    measure: str
    mean: float
    best_other: str
    best_mean: float
    median_mean: float
    num_others: int
    to_best: Estimate
    to_median: Estimate
    num_pairs: int


class Pooled(NamedTuple):
    """The mean of a variant's differences over the conditions not known to tell nothing."""

    against: str
    label: str
    to_best: Estimate
    to_median: Estimate
    num_conditions: int


@dataclass(frozen=True)
class Contrasts:
    """All contrasts of an experiment.

    Attributes:
        rows: One per condition, variant and what it is held against.
        pooled: One per variant and what it is held against.
        num_left_out: Contrasts that fewer than two seeds are left for.
    """

    rows: tuple[Contrast, ...] = ()
    pooled: tuple[Pooled, ...] = ()
    num_left_out: int = 0


def contrasts(frame: Frame) -> Contrasts:
    """Return the chosen algorithm's contrasts, in the order of the frame's situations."""
    by_condition: dict[Condition, Cells] = defaultdict(lambda: defaultdict(list))
    for record in frame.completed():
        if _score(record, "regret") is not None:
            by_condition[frame.places[record.run_id]][frame.labels[record.run_id]].append(record)
    rows: list[Contrast] = []
    tables: dict[tuple[str, str], list[dict[Any, np.ndarray]]] = defaultdict(list)
    num_left_out = 0
    for place in [c for c in frame.situations if c in by_condition]:
        cells = by_condition[place]
        informative = frame.situations[place].informative
        for against, label, others in _opponents(cells, frame.chosen):
            measure = _measure(cells)
            table = _paired({name: cells[name] for name in (label, *others)}, measure)
            if len(table) < FEWEST_PAIRS:
                num_left_out += 1
                continue
            rows.append(_contrast(place, informative, against, label, others, measure, table))
            if informative is not False:
                tables[against, label].append(table)
    pooled = [Pooled(*key, *_bootstrap(found), len(found)) for key, found in tables.items()]
    return Contrasts(tuple(rows), tuple(sorted(pooled, key=_variant)), num_left_out)


def verdict(difference: Estimate) -> str:
    """Return ``under``, ``at`` or ``over``: where the interval lies, and whether it matters."""
    if difference.low <= 0 <= difference.high or abs(difference.point) < NEGLIGIBLE:
        return "at"
    return "under" if difference.high < 0 else "over"


def _opponents(cells: Cells, chosen: str) -> list[tuple[str, str, list[str]]]:
    """Return (against, label, labels it is held against) for every contrast of a condition."""
    algorithms = {label: runs[0].algorithm for label, runs in cells.items()}
    own = sorted(label for label, algorithm in algorithms.items() if algorithm == chosen)
    others = sorted(set(cells) - set(own))
    found = [("others", label, others) for label in own if others]
    settings = {label: dict(learner_settings(cells[label][0])) for label in own}
    gradients = {label: settings[label].pop(SETTING, None) for label in own}
    found += [
        ("individual", total, [individual])
        for total in own
        for individual in own
        if (gradients[total], gradients[individual]) == ("total", "individual")
        and settings[total] == settings[individual]
    ]
    return found


def _contrast(
    place: Condition,
    informative: bool | None,
    against: str,
    label: str,
    others: list[str],
    measure: str,
    table: dict[Any, np.ndarray],
) -> Contrast:
    means = np.mean(list(table.values()), axis=0)
    best = int(np.argmin(means[1:]))
    to_best, to_median = _bootstrap([table])
    return Contrast(
        condition=place,
        informative=informative,
        against=against,
        label=label,
        measure=measure,
        mean=float(means[0]),
        best_other=others[best],
        best_mean=float(means[1 + best]),
        median_mean=float(np.median(means[1:])),
        num_others=len(others),
        to_best=to_best,
        to_median=to_median,
        num_pairs=len(table),
    )


def _bootstrap(tables: list[dict[Any, np.ndarray]]) -> tuple[Estimate, Estimate]:
    """Return the mean differences to best and median over tables of scores by seed."""
    seeds = sorted(set().union(*tables), key=str)
    cells = []
    for table in tables:
        lacking = np.full(len(next(iter(table.values()))), np.nan)
        cells.append(np.stack([table.get(seed, lacking) for seed in seeds], axis=1))
    # A fresh generator per contrast: no interval depends on which others exist.
    found = paired_contrast(cells, np.random.default_rng(0))
    return found.best, found.median


def _paired(cells: Cells, measure: str) -> dict[Any, np.ndarray]:
    """Return per seed that all cells have their scores ``[learners]``, in the order of `cells`."""
    columns = []
    for runs in cells.values():
        scores: dict[Any, list[float]] = defaultdict(list)
        for record in runs:
            score = _score(record, measure)
            if score is not None:
                scores[replicate(record)].append(score)
        # Records that repeat a seed are one draw of it, not several.
        columns.append({seed: float(np.mean(repeated)) for seed, repeated in scores.items()})
    shared = set.intersection(*(set(column) for column in columns))
    return {
        seed: np.array([column[seed] for column in columns]) for seed in sorted(shared, key=str)
    }


def _measure(cells: Cells) -> str:
    """Return the first measure that all runs of the condition have."""
    runs = [record for group in cells.values() for record in group]
    return next(m for m in MEASURES if all(_score(record, m) is not None for record in runs))


def _score(record: RunRecord, measure: str) -> float | None:
    """Return a final number in units of optimum minus uniform, None if either is not known."""
    score = record.final.get(measure)
    optimum, uniform = record.values.get("optimum"), record.values.get("uniform")
    if score is None or optimum is None or uniform is None or optimum <= uniform:
        return None
    return float(score / (optimum - uniform))


def _variant(row: Contrast | Pooled) -> tuple[bool, str]:
    """Return what sorts variants by name, those against the others first."""
    return row.against != "others", row.label
