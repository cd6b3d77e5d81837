"""How a table's ranking turns as data is taken away: each part's order against the intact one's."""

import numpy as np

from bench.measures.statistics.ranks import rank_correlation
from plots.look.markup import escape_markdown, markdown_table
from plots.papertables.table import Average, PaperTable


def turning(table: PaperTable) -> str:
    """Return the learners of every part in the order of their averages, as a table in Markdown.

    Beside it stands Spearman's correlation with the order on intact data of the same kind, over the
    learners that both have.
    """
    intact = {average.group[0]: average for average in table.averages if average.group[2] == 0}
    rows = []
    for average in table.averages:
        kind, degradation, severity = average.group
        names = [
            (mean, learner.label)
            for learner, mean in zip(table.learners, average.means, strict=True)
            if mean is not None
        ]
        order = ", ".join(f"{name} ({mean:.1f})" for mean, name in sorted(names, reverse=True))
        loss = "intact" if severity == 0 else f"{degradation} {severity:g}"
        likeness = _likeness(average, intact.get(kind))
        shown = "" if likeness is None else f"{likeness:.2f}"
        data = f"{kind.rpartition('.')[2]}, {average.num_rows} of {average.of} rows"
        rows.append((data, loss, escape_markdown(order), shown))
    heads = ("data", "coverage", "learners by average", "rank correlation with intact")
    return markdown_table(heads, rows, 3)


def _likeness(average: Average, intact: Average | None) -> float | None:
    if intact is None or average is intact:
        return None
    pairs = [
        pair
        for pair in zip(intact.means, average.means, strict=True)
        if pair[0] is not None and pair[1] is not None
    ]
    before, after = np.array(pairs, dtype=float).reshape(-1, 2).T
    return rank_correlation(before, after)
