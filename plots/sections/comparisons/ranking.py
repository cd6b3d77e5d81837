"""Which settings of a learner serve best: its variants by mean regret, kinds of worlds apart.

A variant's score is the mean over conditions of the mean over runs, taken over the conditions that
all variants of the learner have, so that each is judged by the same data and seeds.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bench.store.record import RunRecord
from plots.data.frame import Frame
from plots.data.records import Condition
from plots.look.links import Anchors, Link
from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.sections import Section, TextFile

PLACE = 6
MEASURE = "normalized_regret"
# Of every learner so many of the best variants are shown, and the worst.
SHOWN = 3
# Where learners' classes for continuous actions are, and worlds of them.
CONTINUOUS = ("algorithms.continuous.", "bench.worlds.continuous.")


class Rank(NamedTuple):
    """One variant of a learner among its likes.

    Attributes:
        kind: ``continuous`` where actions are, else ``tables`` where values are exact, else
            ``networks``.
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


def section(frame: Frame) -> Section | None:
    """Return the ranking, none where every learner has a single variant."""
    ranks = ranking(frame)
    if not ranks:
        return None
    text = (
        f"{ranking_table(ranks, Anchors(frame).link)}\n"
        "Mean normalized regret over the conditions that all variants of a learner have; the "
        "standard error is over runs. All variants are in [ranking.csv](ranking.csv)."
    )
    file = TextFile("ranking.csv", csv_table(Rank._fields, [rank._asdict() for rank in ranks]))
    return Section("Learners by mean regret", text=text, files=(file,))


def ranking(frame: Frame) -> tuple[Rank, ...]:
    """Return the variants in order; learners with a single one have no ranking."""
    scores: dict[tuple[str, str], dict[str, dict[Condition, list[float]]]] = defaultdict(dict)
    for record in frame.completed():
        regret = record.final.get(MEASURE)
        if regret is not None:
            variants = scores[kind_of(frame, record), record.algorithm]
            cells = variants.setdefault(frame.labels[record.run_id], defaultdict(list))
            cells[frame.places[record.run_id]].append(float(regret))
    ranks = []
    for (kind, algorithm), variants in sorted(scores.items(), reverse=True):
        shared = set.intersection(*(set(cells) for cells in variants.values()))
        if len(variants) > 1 and shared:
            judged = [_judged(label, cells, shared) for label, cells in variants.items()]
            for place, numbers in enumerate(sorted(judged, key=lambda j: (j[1], j[0])), 1):
                ranks.append(Rank(kind, algorithm, place, *numbers))
    return tuple(ranks)


def ranking_table(ranks: tuple[Rank, ...], link: Link) -> str:
    """Return the best variants of every learner, and its worst, as a table in Markdown."""
    last = {(r.kind, r.algorithm): r.place for r in ranks}
    rows = []
    for rank in ranks:
        total = last[rank.kind, rank.algorithm]
        if rank.place <= SHOWN or rank.place == total:
            label = escape_markdown(rank.label)
            numbers = (f"{rank.place} of {total}", f"{rank.regret:.3f}", f"{rank.error:.3f}")
            rows.append((rank.kind, label, *(link(x, rank.label, None) for x in numbers)))
    return markdown_table(("", "learner", "place", "mean regret", "standard error"), rows, 2)


def kind_of(frame: Frame, record: RunRecord) -> str:
    """Return which kind of world a run is in, as `Rank.kind` says it."""
    dataset, learner = (record.config.get(group, {}) for group in ("dataset", "algorithm"))
    world = dataset.get("environment")
    # A learner of its own for such worlds, or a world of them with a learner for both.
    parts = (learner, world if isinstance(world, dict) else {})
    if any(str(part.get("target", "")).startswith(CONTINUOUS) for part in parts):
        return "continuous"
    return "tables" if frame.environments[record.environment].exact else "networks"


def _judged(
    label: str, cells: Mapping[Condition, list[float]], shared: set[Condition]
) -> tuple[str, float, float, int, int]:
    # Sums round by their order, which a set does not have.
    runs = [np.array(cells[place]) for place in sorted(shared, key=str)]
    means = [scores.mean() for scores in runs]
    variances = [scores.var(ddof=1) / len(scores) if len(scores) > 1 else 0.0 for scores in runs]
    error = float(np.sqrt(sum(variances)) / len(runs))
    return label, float(np.mean(means)), error, len(runs), sum(map(len, runs))
