"""Who is better than whom, how often and whether beyond chance: all pairs, paired by seed."""

from functools import partial
from itertools import combinations
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from bench.measures.statistics.improvement import Improvement, holm, probability_of_improvement
from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.tasks import Field, fields
from plots.look.markup import csv_table
from plots.look.style import text_width
from plots.sections import Illustration, Section, TextFile

PLACE = 1.2
MEASURE = "normalized_regret"
SIGNIFICANT = 0.05
MOST_LEARNERS = 16


class Pair(NamedTuple):
    """One learner against another over a field; `adjusted` by Holm for all pairs of the field."""

    learner: str
    other: str
    found: Improvement
    adjusted: float


def section(frame: Frame) -> Section | None:
    """Return matrix and table of all pairs; none of a single learner, or of a whole grid of them.

    Hundreds of variants of a learner are a tuning grid, which `ranking` ranks.
    """
    found = [f for f in fields(frame, frame.measure or MEASURE) if len(f.learners) <= MOST_LEARNERS]
    if not found:
        return None
    figures, rows, sentences = [], [], []
    for number, field in enumerate(found, 1):
        compared = pairs(field)
        clear = [p for p in compared if p.adjusted < SIGNIFICANT]
        sentences.append(
            f"Over {field.num_tasks} tasks ({field.title}) {len(clear)} of {len(compared)} pairs "
            f"differ at {SIGNIFICANT:.0%} after Holm's correction.".replace("%", " %")
        )
        figures.append(_illustration(field, compared, "" if number == 1 else f"_{number}"))
        rows += [
            {"field": number, "environments": " ".join(field.environments), "learner": p.learner,
             "other": p.other, **p.found._asdict(), "adjusted": p.adjusted}
            for p in compared
        ]  # fmt: skip
    columns = ["field", "environments", "learner", "other", *Improvement._fields, "adjusted"]
    file = TextFile("improvement.csv", csv_table(columns, rows))
    text = (
        " ".join(sentences)
        + " The test swaps two learners seed by seed, so that n seeds of one environment can give "
        "no p-value below 2 / 2^n; seeds of several environments count together. All pairs with "
        "intervals are in [improvement.csv](improvement.csv)."
    )
    return Section("Probability of improvement", tuple(figures), text, (file,))


def pairs(field: Field) -> list[Pair]:
    """Return every pair of learners once, p-values adjusted for their number."""
    both = list(combinations(field.learners, 2))
    found = [
        probability_of_improvement(list(zip(field.of(one), field.of(other), strict=True)))
        for one, other in both
    ]
    adjusted = holm([f.p_value for f in found])
    return [Pair(*names, f, p) for names, f, p in zip(both, found, adjusted, strict=True)]


def _illustration(field: Field, compared: list[Pair], suffix: str) -> Illustration:
    caption = (
        "Probability that the learner of a row has a lower "
        f"{printed.measure(field.measure)} than that of a column on the same data with the same "
        f"seed, ties counting half, over {field.num_tasks} tasks ({field.title}). Asterisks: the "
        f"two differ at {SIGNIFICANT:.0%} after Holm's correction for {len(compared)} pairs."
    ).replace("%", " %")
    stem = f"improvement{suffix}"
    return Illustration(stem, partial(draw, field, compared), "probability of improvement", caption)


def draw(field: Field, compared: list[Pair]) -> Figure:
    """Return the matrix of probabilities, row over column."""
    size = len(field.learners)
    matrix, marks = np.full((size, size), np.nan), np.full((size, size), "", dtype=object)
    for pair in compared:
        row, column = field.learners.index(pair.learner), field.learners.index(pair.other)
        matrix[row, column] = pair.found.probability
        matrix[column, row] = 1 - pair.found.probability
        if pair.adjusted < SIGNIFICANT:
            marks[row, column] = marks[column, row] = "*"
    width = text_width()
    figure = Figure(figsize=(width, min(width, 1.1 + 0.24 * size)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap="PuOr", aspect="auto")
    for (row, column), share in np.ndenumerate(matrix):
        if np.isfinite(share):
            text = f"{share:.2f}{marks[row, column]}"
            shade = "white" if abs(share - 0.5) > 0.3 else "black"
            axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=6.5)
    names = [printed.learner(label) for label in field.learners]
    axes.set_xticks(range(size), names, rotation=30, ha="right")
    axes.set_yticks(range(size), names)
    figure.colorbar(image, ax=axes, label="probability that the row is better", format="{x:g}")
    return figure
