"""A table as words in cells, which all formats share, so that they cannot say different things."""

import string
from dataclasses import dataclass
from itertools import groupby

from plots.papertables.reported import Reported
from plots.papertables.table import Average, Entry, PaperTable, Row

NOTHING = "n/a"


@dataclass(frozen=True)
class Printed:
    """One cell: its text, a footnote's letter, and how it looks.

    Attributes:
        mean: As printed, `NOTHING` where there is none.
        std: As printed, empty where there is none.
        note: The letter of the footnote that says what is missing, mostly none.
        bold: Whether no other learner is shown to be better.
        grey: Whether it is no learner's of ours: of the data, or published.
    """

    mean: str
    std: str = ""
    note: str = ""
    bold: bool = False
    grey: bool = False


@dataclass(frozen=True)
class Line:
    """One line: the words of its first two columns, its cells, and whether it is an average."""

    dataset: str
    loss: str
    cells: tuple[Printed, ...]
    average: bool = False


@dataclass(frozen=True)
class Head:
    """The name of a column: a learner and, of a published one, whose."""

    learner: str
    source: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table, ready to be set in any format.

    Attributes:
        heads: Names of the columns behind the first two.
        parts: Lines that belong together, their average last.
        has_losses: Whether the second column says anything.
        notes: Footnotes by letter.
    """

    heads: tuple[Head, ...]
    parts: tuple[tuple[Line, ...], ...]
    has_losses: bool
    notes: dict[str, str]


def sheet(table: PaperTable) -> Sheet:
    """Return the table as words."""
    letters = dict(zip(table.reasons, _letters(), strict=False))
    averages = {average.group: average for average in table.averages}
    parts = []
    for group, rows in groupby(table.rows, lambda row: row.group):
        lines = [_line(row, letters) for row in rows]
        if group in averages:
            lines.append(_average(averages[group]))
        parts.append(tuple(lines))
    heads = [*(Head(learner.label) for learner in table.learners), Head("data")]
    heads += [Head(learner.label, source.title) for learner, source in table.sources]
    return Sheet(
        tuple(heads),
        tuple(parts),
        any(row.condition.severity > 0 for row in table.rows),
        {letter: reason for reason, letter in letters.items()},
    )


def _letters() -> list[str]:
    """Return as many letters as footnotes may need: a to z, then aa to zz."""
    single = string.ascii_lowercase
    return [*single, *(a + b for a in single for b in single)]


def _line(row: Row, letters: dict[str, str]) -> Line:
    cells = [_entry(entry, letters) for entry in row.entries]
    cells.append(Printed("" if row.behavior is None else _number(row.behavior), grey=True))
    cells += [_published(reported) for reported in row.published]
    loss = "" if row.condition.severity == 0 else _loss(row.group)
    return Line(row.condition.environment, loss, tuple(cells))


def _average(average: Average) -> Line:
    highest = _number(max(mean for mean in average.means if mean is not None))
    cells = [Printed(_number(mean), bold=_number(mean) == highest) for mean in average.means]
    cells.append(Printed("", grey=True))
    cells += [
        Printed("" if mean is None else _number(mean), grey=True) for mean in average.published
    ]
    of = "" if average.num_rows == average.of else f", {average.num_rows} of {average.of} rows"
    loss = "" if average.group[2] == 0 else _loss(average.group)
    return Line(f"average{of}", loss, tuple(cells), average=True)


def _loss(group: tuple[str, str, float]) -> str:
    return f"{group[1]} {group[2]:g}"


def _entry(entry: Entry, letters: dict[str, str]) -> Printed:
    note = letters[entry.reason] if entry.reason else ""
    std = "" if entry.std is None else _number(entry.std)
    return Printed(_number(entry.mean), std, note, entry.bold)


def _published(reported: Reported | None) -> Printed:
    if reported is None:
        return Printed("", grey=True)
    std = "" if reported.sample_std is None else _number(reported.sample_std)
    return Printed(_number(reported.score), std, grey=True)


def _number(value: float | None) -> str:
    if value is None:
        return NOTHING
    text = f"{value:.1f}"
    return "0.0" if text == "-0.0" else text
