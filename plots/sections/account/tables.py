"""The tables: conditions by learners for screen, Markdown and LaTeX, and every cell as CSV."""

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from plots.data.frame import MEASURES, Cell, Frame
from plots.data.records import Condition
from plots.look.captions import MEASURE_WORDS, cautions, rule, statuses, uninformative_rule
from plots.look.links import Anchors, Link, unlinked
from plots.look.markup import csv_table, escape_latex, escape_markdown, markdown_table
from plots.sections import Section, TextFile

PLACE = 8
MEASURE = "normalized_regret"

# The columns of cells.csv with their meaning; plots/README.md has the same.
COLUMNS = {
    "environment": "name of the dataset: the world and who collected",
    "degradation": "how its coverage was lowered, as named in figures; `none` at severity 0",
    "severity": "how much, from 0 to 1",
    "learner": "its name in figures: the algorithm with the settings that set its runs apart",
    "algorithm": "its name",
    "num_runs": "runs that completed, one per seed",
    "num_empty": "runs that the degradation left no data",
    "num_failed": "runs that ended in an error",
    "num_missing": "runs that other cells of the environment have and this one lacks",
    "normalized_regret": "interquartile mean over runs of regret / (optimum - uniform)",
    "normalized_regret_low": "lower end of its 95 % bootstrap interval over runs",
    "normalized_regret_high": "its upper end",
    "regret_to_covered": "the same of best_covered - value",
    "regret_to_covered_low": "",
    "regret_to_covered_high": "",
    "regret_to_support": "the same of best_supported - value",
    "regret_to_support_low": "",
    "regret_to_support_high": "",
    "improvement": "the same of value - behavior",
    "improvement_low": "",
    "improvement_high": "",
    "coverage": "mean measured coverage of the condition",
    "coverage_measure": "which measure that is",
    "informative": "whether the best covered policy gains enough to tell methods apart",
    "informative_to_support": "whether the best policy on seen actions does",
}


@dataclass(frozen=True)
class TableCell:
    """One cell as printed; `best` if no learner of the row prints a lower regret."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class TableRow:
    """One condition as printed, an entry per learner; `marked` if it cannot tell methods apart."""

    condition: Condition
    marked: bool
    entries: tuple[TableCell, ...]

    @property
    def severity(self) -> str:
        """Return the severity as printed, without the mark."""
        return f"{self.condition.severity:g}"


def section(frame: Frame) -> Section:
    """Return the tables, which every experiment has."""
    words, linked = caption(frame), table_markdown(frame, Anchors(frame).link)
    text = (
        f"**Table 1.** {escape_markdown(words)}\n\n{linked}\n"
        "All intervals, the other measures and the numbers of runs are in [cells.csv](cells.csv); "
        "the same table for LaTeX is [table.tex](table.tex)."
    )
    files = (
        TextFile("cells.csv", cells_csv(frame)),
        TextFile("table.md", table_markdown(frame, unlinked)),
        TextFile("table.tex", table_latex(frame), kept=False),
    )
    # The caption in the signs that a terminal shows.
    shown = words.replace("A dagger", "†").replace("Bold", "Asterisk")
    return Section("Table", text=text, files=files, screen=(table_screen(frame), shown))


def caption(frame: Frame) -> str:
    """Return the caption of the table, plain text."""
    sentences = [
        f"{MEASURE_WORDS[MEASURE]}; lower is better.",
        rule(frame),
        "Bold: the lowest of a row, and what prints the same.",
    ]
    if any(place.severity == 0 for place in frame.situations):
        sentences.append("Severity 0 is shared by all degradations.")
    if any(situation.informative is False for situation in frame.situations.values()):
        sentences.append(f"A dagger marks rows without a best: {uninformative_rule()}.")
    counts = {cell.num_runs for cell in frame.cells.values()}
    if len(counts) > 1:
        sentences.append("In parentheses: number of runs where fewer than elsewhere in the table.")
    return " ".join([*sentences, statuses(frame), cautions(frame)]).rstrip()


def compact_rows(frame: Frame) -> list[TableRow]:
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
        rows.append(TableRow(condition, marked, entries))
    return rows


def _number(cell: Cell | None) -> str:
    """Return the interquartile mean as printed, empty if there is none."""
    if cell is None or MEASURE not in cell.estimates:
        return ""
    # Adding zero turns -0.0, which rounding a tiny negative regret leaves, into 0.0.
    return f"{round(cell.estimates[MEASURE].point, 2) + 0.0:.2f}"


def _entry(cell: Cell | None, number: str, most: int, best: bool) -> TableCell:
    if cell is None:
        return TableCell("")
    if not number:
        return TableCell("failed" if cell.num_failed else "empty" if cell.num_empty else "-")
    fewer = f" ({cell.num_runs})" if cell.num_runs < most else ""
    return TableCell(number + fewer, best)


def cells_csv(frame: Frame) -> str:
    """Return a line per cell, its columns `COLUMNS`; what is not known is left empty."""
    rows = []
    for condition, situation in frame.situations.items():
        shared = {
            "environment": condition.environment,
            "degradation": condition.degradation,
            "severity": condition.severity,
            "coverage": situation.coverage,
            "coverage_measure": frame.environments[condition.environment].coverage_name,
            "informative": situation.informative,
            "informative_to_support": situation.informative_to_support,
        }
        for learner in frame.learners:
            cell = frame.cells.get((condition, learner.label))
            if cell is None:
                continue
            # The counts have the names of the columns.
            row = shared | vars(cell) | {"learner": learner.label, "algorithm": learner.algorithm}
            for measure in MEASURES:
                if measure in cell.estimates:
                    ends = (measure, f"{measure}_low", f"{measure}_high")
                    row |= zip(ends, cell.estimates[measure][:3], strict=True)
            rows.append(row)
    return csv_table(list(COLUMNS), rows)


def table_screen(frame: Frame) -> Table:
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


def table_markdown(frame: Frame, link: Link) -> str:
    """Return the table in Markdown, without its caption; entries lead where `link` says."""
    labels = [learner.label for learner in frame.learners]
    heads = ["environment", "degradation", "severity", *(x.label for x in frame.learners)]
    rows = []
    for row in compact_rows(frame):
        entries = [
            link(f"**{e.text}**" if e.best else e.text, label, row.condition)
            for e, label in zip(row.entries, labels, strict=True)
        ]
        place = [row.condition.environment, row.condition.degradation]
        severity = row.severity + (" †" if row.marked else "")
        rows.append([*map(escape_markdown, place), severity, *entries])
    return markdown_table([escape_markdown(head) for head in heads], rows, 2)


def table_latex(frame: Frame) -> str:
    """Return the table in LaTeX, which needs the package ``booktabs`` and nothing else."""
    heads = ["environment", "degradation", "severity"]
    labels = [_stacked(learner.label) for learner in frame.learners]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}[p]",
        r"\centering",
        rf"\caption{{{escape_latex(caption(frame))}}}",
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


def _screen_entry(entry: TableCell) -> Text:
    # An asterisk too, since bold type does not survive a pipe or a log file.
    return Text(f"{entry.text}*", style="bold") if entry.best else Text(f"{entry.text} ")


def _stacked(label: str) -> str:
    lines = r"\\".join(map(escape_latex, _header_lines(label, 16)))
    return rf"\shortstack[r]{{{lines}}}"


def _header_lines(label: str, width: int) -> list[str]:
    """Return a learner's label in lines of about `width` signs, broken where a reader would."""
    lines = [""]
    for sign in label:
        lines[-1] += sign
        if sign == " " or (sign in "_,.=" and len(lines[-1]) > width * 0.6):
            lines.append("")
    return [line.strip() for line in lines if line.strip()]
