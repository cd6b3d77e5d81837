"""What a paper's table leaves: a section with every format of it, and one of the agreement."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from bench.store.record import RunRecord
from plots.data.frame import Frame
from plots.look.markup import csv_table, escape_markdown
from plots.papertables import formats
from plots.papertables.absent import FILE, absent_csv
from plots.papertables.agreement import (
    WITHIN,
    Comparison,
    agreement_csv,
    agreement_figure,
    agreement_markdown,
    comparisons,
)
from plots.papertables.printed import sheet
from plots.papertables.protocol import caption, protocol
from plots.papertables.reported import RULES, Rule
from plots.papertables.table import PaperTable, build_table, mean_std
from plots.papertables.turning import turning
from plots.sections import Illustration, Section, TextFile

STEM = "paper_table"


def table_sections(
    frame: Frame, whole: Iterable[RunRecord], absent: dict[str, str], rule: Rule
) -> list[Section]:
    """Return the sections of an experiment that is a table; see `build_table`."""
    table = build_table(frame, whole, absent, rule)
    found = comparisons(table, frame.labels)
    parts = [_table_section(table, absent)]
    if found:
        parts.append(_agreement_section(table, found))
    return parts


def _table_section(table: PaperTable, absent: dict[str, str]) -> Section:
    words, above, below = sheet(table), caption(table), protocol(table)
    text = formats.markdown(words)
    files = [
        TextFile(f"{STEM}.md", f"{escape_markdown(above)}\n\n{text}\n{escape_markdown(below)}\n"),
        TextFile(f"{STEM}.html", formats.html(words, above, below), kept=False),
        TextFile(f"{STEM}.tex", formats.latex(words, table.experiment, above, below), kept=False),
        TextFile(f"{STEM}.csv", cells_csv(table)),
    ]
    if absent:
        files.append(TextFile(FILE, absent_csv(absent)))
    turned = [turning(table)] if words.has_losses else []
    notes = [f"({letter}) {why}" for letter, why in words.notes.items()]
    shown = (formats.screen(words, above), *notes, below.replace("Bold", "Asterisk"))
    formatted = ", ".join(f"[{file.name}]({file.name})" for file in files)
    return Section(
        "Table of scores",
        text="\n\n".join(
            [escape_markdown(above), text, escape_markdown(below), f"As {formatted}.", *turned]
        ),
        files=tuple(files),
        screen=shown,
    )


def cells_csv(table: PaperTable) -> str:
    """Return a line per cell, with the score by every rule."""
    by_rule = [name for rule in RULES for name in (rule, f"{rule}_std")]
    columns = ["environment", "degradation", "severity", "learner", "algorithm", "num_runs"]
    rows = []
    for row in table.rows:
        place = vars(row.condition)
        for learner, entry in zip(table.learners, row.entries, strict=True):
            own: dict[str, Any] = {"learner": learner.label, "algorithm": learner.algorithm}
            own |= {"num_runs": entry.num_runs, "bold": entry.bold, "reason": entry.reason}
            for rule in RULES:
                own[rule], own[f"{rule}_std"] = mean_std(entry.by_rule[rule])
            rows.append(place | own)
    return csv_table([*columns, *by_rule, "bold", "reason"], rows)


def _agreement_section(table: PaperTable, found: tuple[Comparison, ...]) -> Section:
    words = (
        "Ours minus the published number, ours by the published number's own rule; a spread is the "
        "root of the sum of both squared standard deviations over seeds. "
        f"Within {WITHIN:g} of it the two agree."
    )
    figures = []
    if any(c.ours is not None for c in found):
        draw = partial(agreement_figure, table, found)
        told = "Reported against reproduced scores; bars are standard deviations over seeds."
        figures.append(Illustration("agreement", draw, "Reported against reproduced", told))
    return Section(
        "Agreement with published numbers",
        illustrations=tuple(figures),
        text=f"{words}\n\n{agreement_markdown(found)}",
        files=(TextFile("agreement.csv", agreement_csv(found)),),
    )
