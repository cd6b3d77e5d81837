"""The report: figures, table and the counts behind them, in one Markdown page."""

from plots.captions import figure_caption, statuses, table_caption, uninformative_rule
from plots.frame import Frame
from plots.sections.base import sections
from plots.sections.panel import Plot
from plots.sections.tables import escape_markdown, markdown_table


def markdown_report(frame: Frame, figures: dict[Plot, list[str]]) -> str:
    """Return the report's text; `figures` maps every figure drawn to the environments it shows."""
    parts = [
        f"# {escape_markdown(frame.experiment)}",
        f"Drawn from the stored records alone by `python -m plots {frame.experiment}`.",
        "## Runs",
        _runs(frame),
        "## How to read it",
        _reading(),
        "## Figures",
    ]
    for number, (plot, rows) in enumerate(figures.items(), start=1):
        caption = escape_markdown(figure_caption(frame, plot, rows))
        title = f"{plot.measure} by {plot.axis}".replace("_", " ")
        parts += [f"![{title}]({plot.stem}.png)", f"**Figure {number}.** {caption}"]
    number = len(figures)
    for section in sections(frame):
        parts.append(f"## {section.title}")
        for illustration in section.illustrations:
            number += 1
            caption = escape_markdown(illustration.caption)
            parts.append(f"![{illustration.title}]({illustration.stem}.png)")
            parts.append(f"**Figure {number}.** {caption}")
        parts.append(section.text.rstrip())
    parts += [
        "## Table",
        f"**Table 1.** {escape_markdown(table_caption(frame))}",
        markdown_table(frame).rstrip(),
        "All intervals, the other measures and the numbers of runs are in [cells.csv](cells.csv); "
        "the same table for LaTeX is [table.tex](table.tex).",
    ]
    return "\n\n".join(parts) + "\n"


def _reading() -> str:
    return "\n".join(
        [
            "- `normalized regret` is what a policy loses to the optimum, in units of what the "
            "uniformly random policy loses: 0 is the optimum, 1 the uniform policy, above 1 is "
            "worse than acting at random.",
            "- `regret to the best covered policy` compares with the best that the data can vouch "
            "for: the optimum of the environment if every pair without data were worth the "
            "lowest value. What is left of the regret there is the method's own; below 0 it was "
            "lucky off the data, and is shown as it is.",
            "- A curve that stays flat as severity grows does not need what was taken away; where "
            "curves part, methods differ in what they do off the data.",
            "- Figures by severity say how much was taken away; figures by measured coverage say "
            "how much of a good policy the data still supports. The same severity costs different "
            "degradations different amounts of coverage: where points crowd on the left of a "
            "panel, it cost little.",
            f"- Hatched conditions and rows with † are not evidence: {uninformative_rule()}.",
            "- Intervals over few runs are rough. Two curves whose bands overlap are not thereby "
            "equal.",
        ]
    )


def _runs(frame: Frame) -> str:
    lines = [statuses(frame)]
    if frame.num_duplicates:
        lines.append(
            f"{frame.num_duplicates} records repeat a seed of their cell with the same settings "
            "and count as runs of their own."
        )
    never = [
        f"{learner.label} on {environment}"
        for learner in frame.learners
        for environment in frame.environments
        if not any(
            (condition, learner.label) in frame.cells for condition in frame.conditions(environment)
        )
    ]
    if never:
        lines.append(f"Not part of the experiment: {escape_markdown(', '.join(never))}.")
    if frame.errors:
        shown = [f"- {escape_markdown(error)}" for error in frame.errors[:5]]
        more = len(frame.errors) - len(shown)
        lines.append("\n".join(["Errors:", "", *shown, *([f"- and {more} others"] * (more > 0))]))
    incomplete = _incomplete(frame)
    if incomplete:
        lines.append("Cells that lack runs:")
        lines.append(incomplete)
    return "\n\n".join(lines)


def _incomplete(frame: Frame) -> str:
    """Return a table of the cells that lack runs, empty if none does."""
    columns = ["environment", "degradation", "severity", "learner"]
    columns += ["completed", "empty", "failed", "missing"]
    lines = []
    for condition in frame.situations:
        for learner in frame.learners:
            cell = frame.cells.get((condition, learner.label))
            if cell is None or not (cell.num_empty or cell.num_failed or cell.num_missing):
                continue
            place = [condition.environment, condition.degradation, f"{condition.severity:g}"]
            numbers = [cell.num_runs, cell.num_empty, cell.num_failed, cell.num_missing]
            entries = [*map(escape_markdown, [*place, learner.label]), *map(str, numbers)]
            lines.append(f"| {' | '.join(entries)} |")
    if not lines:
        return ""
    head = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    return "\n".join([*head, *lines])
