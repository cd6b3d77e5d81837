"""The compact table: conditions by learners, normalized regret, for screen, Markdown and LaTeX."""

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from plots.captions import table_caption
from plots.frame import Cell, Frame
from plots.records import Condition

MEASURE = "normalized_regret"


@dataclass(frozen=True)
class Entry:
    """One cell as printed; `best` if no learner of the row prints a lower regret."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One condition as printed, an entry per learner; `marked` if it cannot tell methods apart."""

    condition: Condition
    marked: bool
    entries: tuple[Entry, ...]

    @property
    def severity(self) -> str:
        """Return the severity as printed, without the mark."""
        return f"{self.condition.severity:g}"


def compact_rows(frame: Frame) -> list[Row]:
    """Return the rows of the table in the order of the frame, severity 0 once per environment."""
    most = max(cell.num_runs for cell in frame.cells.values())
    rows = []
    for condition, situation in frame.situations.items():
        cells = [frame.cells.get((condition, learner.label)) for learner in frame.learners]
        marked = situation.informative is False
        numbers = [_number(cell) for cell in cells]
        lowest = min((float(number) for number in numbers if number), default=None)
        entries = tuple(
            _entry(
                cell,
                number,
                most,
                not marked and lowest is not None and number != "" and float(number) == lowest,
            )
            for cell, number in zip(cells, numbers, strict=True)
        )
        rows.append(Row(condition, marked, entries))
    return rows


def _number(cell: Cell | None) -> str:
    """Return the interquartile mean as printed, empty if there is none."""
    if cell is None or MEASURE not in cell.estimates:
        return ""
    # Adding zero turns -0.0, which rounding a tiny negative regret leaves, into 0.0.
    return f"{round(cell.estimates[MEASURE].point, 2) + 0.0:.2f}"


def _entry(cell: Cell | None, number: str, most: int, best: bool) -> Entry:
    if cell is None:
        return Entry("")
    if not number:
        return Entry("failed" if cell.num_failed else "empty" if cell.num_empty else "-")
    fewer = f" ({cell.num_runs})" if cell.num_runs < most else ""
    return Entry(number + fewer, best)


def screen_table(frame: Frame) -> Table:
    """Return the table for a terminal, without its caption."""
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title=f"{frame.experiment}: normalized regret",
    )
    table.add_column("degradation", no_wrap=True)
    table.add_column("severity", justify="right", no_wrap=True)
    for learner in frame.learners:
        table.add_column(Text("\n".join(_header_lines(learner.label, 9))), justify="right")
    environment = None
    for row in compact_rows(frame):
        if row.condition.environment != environment:
            table.add_section()
            environment = row.condition.environment
            table.add_row(Text(environment, style="italic"))
        table.add_row(
            row.condition.degradation,
            row.severity + ("†" if row.marked else " "),
            *map(_screen_entry, row.entries),
            style="dim" if row.marked else "",
        )
    return table


def screen_caption(frame: Frame) -> str:
    """Return the caption in the signs that a terminal shows."""
    return table_caption(frame).replace("A dagger", "†").replace("Bold", "Asterisk")


def markdown_table(frame: Frame) -> str:
    """Return the table in Markdown, without its caption."""
    heads = ["environment", "degradation", "severity", *(x.label for x in frame.learners)]
    lines = [
        _markdown_line([escape_markdown(head) for head in heads]),
        _markdown_line(["---", "---", *("---:" for _ in heads[2:])]),
    ]
    for row in compact_rows(frame):
        entries = [f"**{e.text}**" if e.best else e.text for e in row.entries]
        place = [row.condition.environment, row.condition.degradation]
        severity = row.severity + (" †" if row.marked else "")
        lines.append(_markdown_line([*map(escape_markdown, place), severity, *entries]))
    return "\n".join(lines) + "\n"


def latex_table(frame: Frame) -> str:
    """Return the table in LaTeX, which needs the package ``booktabs`` and nothing else."""
    heads = ["environment", "degradation", "severity"]
    labels = [_stacked(learner.label) for learner in frame.learners]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}[p]",
        r"\centering",
        rf"\caption{{{escape_latex(table_caption(frame))}}}",
        rf"\label{{tab:{''.join(c if c.isalnum() else '-' for c in frame.experiment)}}}",
        r"\scriptsize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{llr{'r' * len(labels)}}}",
        r"\toprule",
        " & ".join([*heads, *labels]) + r" \\",
    ]
    environment = None
    for row in compact_rows(frame):
        if row.condition.environment != environment:
            environment = row.condition.environment
            lines.append(r"\midrule")
        entries = [rf"\textbf{{{e.text}}}" if e.best else escape_latex(e.text) for e in row.entries]
        place = [escape_latex(environment), escape_latex(row.condition.degradation)]
        severity = row.severity + (r"\rlap{$^\dagger$}" if row.marked else "")
        lines.append(" & ".join([*place, severity, *entries]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def escape_markdown(text: str) -> str:
    """Return text whose signs mean nothing to Markdown, a table's included."""
    return "".join(f"\\{sign}" if sign in r"\|*_`<>[]" else sign for sign in text)


def escape_latex(text: str) -> str:
    """Return text whose signs mean nothing to LaTeX."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
    return "".join(special.get(sign, sign) for sign in text)


def _screen_entry(entry: Entry) -> Text:
    # An asterisk too, since bold type does not survive a pipe or a log file.
    return Text(f"{entry.text}*", style="bold") if entry.best else Text(f"{entry.text} ")


def _stacked(label: str) -> str:
    lines = r"\\".join(map(escape_latex, _header_lines(label, 16)))
    return rf"\shortstack[r]{{{lines}}}"


def _markdown_line(entries: list[str]) -> str:
    return f"| {' | '.join(entries)} |"


def _header_lines(label: str, width: int) -> list[str]:
    """Return a learner's label in lines of about `width` signs, broken where a reader would."""
    lines = [""]
    for sign in label:
        lines[-1] += sign
        if sign == " " or (sign in "_,.=" and len(lines[-1]) > width * 0.6):
            lines.append("")
    return [line.strip() for line in lines if line.strip()]
