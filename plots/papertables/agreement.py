"""Do we reproduce what was published? Each published number against ours by its own rule.

The difference is counted in the root of the sum of both squared standard deviations over seeds, the
spread that a difference of two single runs has if each side is right about itself.
"""

from collections import Counter
from collections.abc import Iterable
from math import hypot
from typing import Any, Literal, NamedTuple, get_args

from matplotlib.figure import Figure

from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.look.style import GREY, looks
from plots.papertables.reported import Reported
from plots.papertables.table import PaperTable, matching, mean_std

Verdict = Literal["agrees", "short", "above", "no spread", "n/a"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
WITHIN = 1.0
"""Spreads that two numbers may be apart and still agree."""


class Comparison(NamedTuple):
    """One published number against ours.

    Attributes:
        rule: By which ours is counted: the published number's, the table's where it has none.
        reported_std: With ddof 1 where its kind is known.
        difference: Ours minus the published one.
        spread: Both standard deviations together, None where either is not known.
        verdict: ``agrees`` within one spread, ``short`` or ``above`` beyond; ``no spread`` where
            none is known; ``n/a`` where we have no number.
    """

    environment: str
    learner: str
    source: str
    rule: str
    rule_stated: bool
    reported: float
    reported_std: float | None
    ours: float | None
    ours_std: float | None
    num_runs: int
    difference: float | None
    spread: float | None
    verdict: Verdict

    @property
    def in_spreads(self) -> float | None:
        """The difference in spreads, None without one."""
        if self.difference is None or not self.spread:
            return None
        return self.difference / self.spread


def comparisons(table: PaperTable, labels: dict[str, str]) -> tuple[Comparison, ...]:
    """Return every published number of the table's rows and learners against ours.

    Args:
        table: Ours.
        labels: Per run id the learner's label.
    """
    published: dict[str, list[Reported]] = {}
    for record in table.records:
        published.setdefault(labels[record.run_id], matching(record))
    found = []
    for row in table.rows:
        if row.condition.severity > 0:
            continue
        for learner, entry in zip(table.learners, row.entries, strict=True):
            for reported in published[learner.label]:
                if reported.dataset_id == row.condition.environment:
                    rule = reported.rule or table.rule
                    found.append(compared(reported, learner.label, rule, entry.by_rule[rule]))
    return tuple(found)


def compared(reported: Reported, learner: str, rule: str, scores: tuple[float, ...]) -> Comparison:
    """Return one published number against the scores of our runs."""
    ours, ours_std = mean_std(scores)
    difference = None if ours is None else ours - reported.score
    theirs = reported.sample_std
    spread = None if theirs is None or ours_std is None else hypot(theirs, ours_std)
    return Comparison(
        reported.dataset_id,
        learner,
        reported.source.title,
        rule,
        reported.rule is not None,
        reported.score,
        theirs,
        ours,
        ours_std,
        len(scores),
        difference,
        spread,
        _verdict(difference, spread),
    )


def _verdict(difference: float | None, spread: float | None) -> Verdict:
    if difference is None:
        return "n/a"
    if spread is None:
        return "no spread"
    if abs(difference) <= WITHIN * spread:
        return "agrees"
    return "short" if difference < 0 else "above"


def agreement_csv(found: Iterable[Comparison]) -> str:
    """Return a line per published number."""
    columns = [*Comparison._fields]
    columns.insert(columns.index("verdict"), "in_spreads")
    rows: list[dict[str, Any]] = [c._asdict() | {"in_spreads": c.in_spreads} for c in found]
    return csv_table(columns, rows)


def agreement_markdown(found: Iterable[Comparison]) -> str:
    """Return the published numbers that we have one of our own for, and how many are how far."""
    rows = [
        (
            escape_markdown(c.environment),
            escape_markdown(c.learner),
            f"{escape_markdown(c.source)}{'' if c.rule_stated else ' (rule not stated)'}",
            c.rule,
            f"{c.reported:.1f}",
            f"{c.ours:.1f}",
            f"{c.difference:+.1f}",
            "" if c.in_spreads is None else f"{c.in_spreads:+.1f}",
            c.verdict,
        )
        for c in found
        if c.ours is not None and c.difference is not None
    ]
    heads = ("dataset", "learner", "source", "rule", "reported", "ours", "difference",
             "in spreads", "verdict")  # fmt: skip
    counts = Counter(c.verdict for c in found)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    return f"{markdown_table(heads, rows, 4)}\nOf {counts.total()} published numbers: {said}.\n"


def agreement_figure(table: PaperTable, found: Iterable[Comparison]) -> Figure:
    """Return reported against reproduced scores; on the diagonal the two are equal."""
    known = [c for c in found if c.ours is not None]
    figure = Figure(figsize=(3.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    axes.axline((0, 0), slope=1, color=GREY, linewidth=0.7)
    styles = looks(table.learners)
    for learner in table.learners:
        own = [c for c in known if c.learner == learner.label]
        if own:
            look = styles[learner.label].line() | {"linestyle": "none"}
            axes.errorbar(
                [c.reported for c in own],
                [c.ours or 0.0 for c in own],
                xerr=[c.reported_std or 0.0 for c in own],
                yerr=[c.ours_std or 0.0 for c in own],
                elinewidth=0.5,
                label=learner.label,
                **look,
            )
    axes.set_xlabel("reported normalized score")
    axes.set_ylabel("reproduced normalized score")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure
