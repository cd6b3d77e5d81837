"""What else than its value a world judges a policy by, as the share of a day in range."""

from collections import defaultdict
from statistics import mean, stdev

from plots.data import names as printed
from plots.data.frame import Frame
from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.sections import Section, TextFile
from plots.sections.account.runs import FIELDS

PLACE = 6.3
COLUMNS = ("environment", "degradation", "severity", "learner", "measure", "mean", "std",
           "num_runs")  # fmt: skip
# Per world and learner, by measure and severity, what each degradation's runs have.
Found = dict[tuple[str, str], dict[tuple[str, float], list[float]]]


def section(frame: Frame) -> Section | None:
    """Return means by severity, none where every world judges by the value alone."""
    found: Found = defaultdict(lambda: defaultdict(list))
    cells: dict[tuple[str, str, float, str, str], list[float]] = defaultdict(list)
    for record in frame.completed():
        place, learner = frame.places[record.run_id], frame.labels[record.run_id]
        for name, value in record.final.items():
            if name not in FIELDS["final"] and value is not None:
                found[place.environment, learner][name, place.severity].append(value)
                cell = place.environment, place.degradation, place.severity, learner, name
                cells[cell].append(value)
    if not found:
        return None
    rows = []
    for cell, values in sorted(cells.items()):
        spread = stdev(values) if len(values) > 1 else None
        rows.append(dict(zip(COLUMNS, (*cell, mean(values), spread, len(values)), strict=True)))
    worlds = [name for name in frame.environments if name in {world for world, _ in found}]
    parts = [_table(frame, found, world) for world in worlds]
    parts.append(
        "Means over seeds and degradations at each severity; [measured.csv](measured.csv) has them "
        "one by one, with standard deviations over seeds."
    )
    file = TextFile("measured.csv", csv_table(COLUMNS, rows))
    return Section("What else is measured", text="\n\n".join(parts), files=(file,))


def _table(frame: Frame, found: Found, world: str) -> str:
    own = {learner: cells for (place, learner), cells in found.items() if place == world}
    columns = sorted({column for cells in own.values() for column in cells})
    rows = [
        [
            escape_markdown(printed.learner(one.label)),
            *(f"{mean(own[one.label][c]):.3f}" if c in own[one.label] else "" for c in columns),
        ]
        for one in frame.learners
        if one.label in own
    ]
    heads = [f"{printed.measure(name)}, {severity:g}" for name, severity in columns]
    title = escape_markdown(printed.environment(world))
    return f"{title}, by severity:\n\n{markdown_table(['learner', *heads], rows, 1)}"
