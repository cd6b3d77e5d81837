"""Which settings of a learner serve best: its variants by mean regret, tables and others apart.

A variant's score is the mean over conditions of the mean over runs, taken over the conditions that
all variants of the learner have, so that each is judged by the same data and seeds.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bench.store.records import RunRecord
from plots.records import Condition

MEASURE = "normalized_regret"
KINDS = {True: "tables", False: "networks"}


class Rank(NamedTuple):
    """One variant of a learner among its likes.

    Attributes:
        kind: ``tables`` where values are exact, else ``networks``.
        algorithm: Whose variant it is.
        place: 1 for the lowest regret.
        label: Its name in figures.
        regret: Mean normalized regret.
        error: Standard error of that mean over runs.
        num_conditions: Conditions that it is judged by.
        num_runs: Runs that went into it.
    """

    kind: str
    algorithm: str
    place: int
    label: str
    regret: float
    error: float
    num_conditions: int
    num_runs: int


def ranking(
    records: list[RunRecord],
    labels: Mapping[str, str],
    conditions: Mapping[str, Condition],
    exact: Mapping[str, bool],
) -> tuple[Rank, ...]:
    """Return the variants in order; learners with a single one have no ranking.

    `labels` and `conditions` are per run id, `exact` says per environment whether it is a table.
    """
    scores: dict[tuple[str, str], dict[str, dict[Condition, list[float]]]] = defaultdict(dict)
    for record in records:
        regret = record.final.get(MEASURE)
        if record.status == "completed" and regret is not None:
            kind = KINDS[exact[record.environment]]
            variants = scores[kind, record.algorithm]
            cells = variants.setdefault(labels[record.run_id], defaultdict(list))
            cells[conditions[record.run_id]].append(float(regret))
    ranks = []
    for (kind, algorithm), variants in sorted(scores.items(), reverse=True):
        shared = set.intersection(*(set(cells) for cells in variants.values()))
        if len(variants) > 1 and shared:
            judged = [_judged(label, cells, shared) for label, cells in variants.items()]
            for place, numbers in enumerate(sorted(judged, key=lambda j: (j[1], j[0])), 1):
                ranks.append(Rank(kind, algorithm, place, *numbers))
    return tuple(ranks)


def ranking_csv(ranks: tuple[Rank, ...]) -> str:
    """Return all variants, one line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Rank._fields)
    for rank in ranks:
        writer.writerow([f"{x:.6g}" if isinstance(x, float) else x for x in rank])
    return text.getvalue()


def _judged(
    label: str, cells: Mapping[Condition, list[float]], shared: set[Condition]
) -> tuple[str, float, float, int, int]:
    runs = [np.array(cells[condition]) for condition in shared]
    means = [scores.mean() for scores in runs]
    variances = [scores.var(ddof=1) / len(scores) if len(scores) > 1 else 0.0 for scores in runs]
    error = float(np.sqrt(sum(variances)) / len(runs))
    return label, float(np.mean(means)), error, len(runs), sum(map(len, runs))
