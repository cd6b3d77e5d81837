"""Prints how many runs are in which state: before a sweep, while it lasts and of what it left."""

from collections import Counter
from collections.abc import Iterator

from rich import box
from rich.table import Table

from bench.progress.standing import Standing, time_left

# What is said of an algorithm beside done/planned, where there is any of it.
DETAILS = {
    "running": "cyan", "failed": "red", "stale": "magenta", "empty": "yellow", "missing": "bold",
}  # fmt: skip
DONE = ("completed", "empty")
ALL = "all"
TITLE = "done/planned by severity"
# What a column takes beside its text.
SPACE = 3


def tables(found: Standing, width: int) -> Iterator[Table]:
    """Yield the runs by algorithm and severity, in as many tables as they need at this width.

    A single cell says no more than `totals`, and is left out.
    """
    counts = _counts(found)
    algorithms = sorted({run.algorithm for run in found.runs.values()})
    rows = [*algorithms, *([ALL] if len(algorithms) > 1 else [])]
    severities: list[float | str] = [*sorted({run.severity for run in found.runs.values()})]
    if len(algorithms) * len(severities) < 2:
        return
    if len(severities) > 1:
        severities.append(ALL)
    widths = {s: max(len(x) for x in (_name(s), *(_done(counts[name, s]) for name in rows)))
              for s in severities}  # fmt: skip
    room = width - max(len(name) for name in (*rows, "algorithm", "  running")) - SPACE - 2
    for part in _fitting(severities, widths, room):
        table = Table(box=box.SIMPLE, padding=(0, 1), header_style="bold")
        table.title, table.title_justify, table.title_style = TITLE, "left", ""
        table.min_width = len(TITLE)
        table.add_column("algorithm", overflow="fold")
        for severity in part:
            table.add_column(_name(severity), justify="right", no_wrap=True)
        for name in rows:
            if name == ALL:
                table.add_section()
            _add_rows(table, name, [counts[name, severity] for severity in part])
        yield table


def totals(found: Standing) -> str:
    """Return how many runs are done, and how many are in any other state."""
    counts: Counter[str] = Counter(found.states.values())
    done, planned = sum(counts[state] for state in DONE), len(found.states)
    empty = f" ({counts['empty']:,} left without data)" if counts["empty"] else ""
    parts = [f"{done:,} of {planned:,} runs done{empty}"]
    shown = {"stale": "stale (made by other code)"}
    states = ("running", "failed", "stale", "missing")
    parts += [f"{counts[state]:,} {shown.get(state, state)}" for state in states if counts[state]]
    nothing = "" if counts["missing"] or found.damaged else "; nothing is missing"
    return f"{', '.join(parts)}{nothing}."


def remaining(found: Standing) -> str:
    """Return how long the rest may take."""
    left = time_left(found)
    if left.seconds is None:
        return "time left unknown, nothing like it has been timed"
    many = f"{left.processes} processes as now" if left.processes > 1 else "one process"
    more = f", and what {left.untimed:,} runs of kinds not timed yet take"
    return f"about {duration(left.seconds)} left with {many}{more if left.untimed else ''}"


def duration(seconds: float) -> str:
    """Return a duration in the unit that fits."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _fitting(
    severities: list[float | str], widths: dict[float | str, int], room: int
) -> list[list[float | str]]:
    """Return the columns in parts, each as many as there is room for and at least one."""
    parts: list[list[float | str]] = [[]]
    left = room
    for severity in severities:
        if parts[-1] and widths[severity] + SPACE > left:
            parts.append([])
            left = room
        parts[-1].append(severity)
        left -= widths[severity] + SPACE
    return parts


def _counts(found: Standing) -> dict[tuple[str, float | str], Counter[str]]:
    """Return how many runs are in which state by algorithm and severity, and over all of them."""
    names = {run.algorithm for run in found.runs.values()} | {ALL}
    severities: set[float | str] = {run.severity for run in found.runs.values()} | {ALL}
    counts = {(name, severity): Counter[str]() for name in names for severity in severities}
    for run_id, run in found.runs.items():
        for name in (run.algorithm, ALL):
            counts[name, run.severity][found.states[run_id]] += 1
            counts[name, ALL][found.states[run_id]] += 1
    return counts


def _add_rows(table: Table, name: str, cells: list[Counter[str]]) -> None:
    """Add an algorithm's row, and below it what is not simply done, each in words."""
    table.add_row(name, *(_done(cell) for cell in cells))
    for state, style in DETAILS.items():
        # Where all of it is missing, 0 of what is planned says so.
        if any(cell[state] for cell in cells) and any(c["missing"] < c.total() for c in cells):
            shown = (str(cell[state] or "") for cell in cells)
            table.add_row(f"  {state}", *shown, style=style)


def _name(severity: float | str) -> str:
    return severity if isinstance(severity, str) else f"{severity:g}"


def _done(cell: Counter[str]) -> str:
    planned = cell.total()
    return f"{sum(cell[state] for state in DONE)}/{planned}" if planned else "-"
