"""`python -m bench.status EXPERIMENT`: how far a sweep is, what runs where, and what went wrong.

Reads the store alone, so it may be asked anywhere, at any time, of a sweep that is running,
interrupted or done.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.store.progress import Progress
from bench.sweeps import standing
from bench.sweeps.standing import Standing

# What is said of an algorithm beside done/planned, where there is any of it.
DETAILS = {"running": "cyan", "failed": "red", "empty": "yellow", "missing": "bold"}
DONE = ("completed", "empty")
ALL = "all"
# What a column takes beside its text.
SPACE = 3
# Longer lists are cut.
LONGEST_LIST = 12


def main(words: Sequence[str]) -> int:
    """Print how far an experiment is and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.status", description=__doc__)
    parser.add_argument("experiment", help="folder of records under RESULTS/runs")
    parser.add_argument("--results", type=Path, default=Path("results"))
    options = parser.parse_args(words)
    root = options.results / "runs"
    known = standing.known(root)
    if options.experiment not in known:
        names = f"known there: {', '.join(known)}" if known else "there is none yet"
        sentence = f"There is no experiment {options.experiment!r} under {root}; {names}."
        print(sentence, file=sys.stderr)
        return 2
    print_status(standing.stand(root, options.experiment), options.experiment, Console())
    return 0


def print_status(found: Standing, experiment: str, console: Console) -> None:
    """Print tables, totals and what to do."""
    console.rule(f"{experiment}, {time.strftime('%Y-%m-%d %H:%M:%S')}", align="left")
    for part in _parts(found, console.width):
        console.print(part, highlight=False)
    _print_commands(found, console)


def _parts(found: Standing, width: int) -> Iterator[RenderableType]:
    if found.runs:
        yield from _tables(found, width)
    yield _totals(found)
    if found.unplanned:
        noun = "record is" if found.unplanned == 1 else "records are"
        yield f"{found.unplanned:,} {noun} in no plan and counted as planned."
    for path in found.damaged:
        yield Text(f"{path} is damaged: what it planned is not counted.")
    if any(state in ("running", "missing") for state in found.states.values()):
        yield _time_left(found)
    if found.cohorts:
        yield Group("", _running(found))
    if any(state == "failed" for state in found.states.values()):
        yield Group("", _causes(found))


def _tables(found: Standing, width: int) -> Iterator[Table]:
    """Yield the table, in as many parts as its severities need at this width."""
    counts = _counts(found)
    algorithms = sorted({run.algorithm for run in found.runs.values()})
    rows = [*algorithms, *([ALL] if len(algorithms) > 1 else [])]
    severities: list[float | str] = [*sorted({run.severity for run in found.runs.values()}), ALL]
    widths = {s: max(len(x) for x in (_name(s), *(_done(counts[name, s]) for name in rows)))
              for s in severities}  # fmt: skip
    room = width - max(len(name) for name in (*rows, "algorithm", "  running")) - SPACE - 2
    for part in _fitting(severities, widths, room):
        table = Table(box=box.SIMPLE, padding=(0, 1), header_style="bold")
        table.title, table.title_justify, table.title_style = "done/planned by severity", "left", ""
        table.add_column("algorithm", overflow="fold")
        for severity in part:
            table.add_column(_name(severity), justify="right", no_wrap=True)
        for name in rows:
            if name == ALL:
                table.add_section()
            _add_rows(table, name, [counts[name, severity] for severity in part])
        yield table


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
        if any(cell[state] for cell in cells):
            shown = (str(cell[state] or "") for cell in cells)
            table.add_row(f"  {state}", *shown, style=style)


def _name(severity: float | str) -> str:
    return severity if isinstance(severity, str) else f"{severity:g}"


def _done(cell: Counter[str]) -> str:
    planned = cell.total()
    return f"{sum(cell[state] for state in DONE)}/{planned}" if planned else "-"


def _totals(found: Standing) -> str:
    counts: Counter[str] = Counter(found.states.values())
    done, planned = sum(counts[state] for state in DONE), len(found.states)
    empty = f" ({counts['empty']:,} left without data)" if counts["empty"] else ""
    parts = [f"{done:,} of {planned:,} runs done{empty}"]
    parts += [f"{counts[s]:,} {s}" for s in ("running", "failed", "missing") if counts[s]]
    nothing = "" if counts["missing"] or found.damaged else "; nothing is missing"
    return f"{', '.join(parts)}{nothing}."


def _time_left(found: Standing) -> str:
    left = standing.time_left(found)
    many = f"{left.processes} processes as now" if left.processes > 1 else "one process"
    if not left.timed:
        return "Time left: unknown, nothing like what is left has been timed."
    if left.untimed:
        return (
            f"Time left: unknown; {_duration(left.seconds)} with {many} for {left.timed:,} runs, "
            f"nothing like the other {left.untimed:,} has been timed."
        )
    return f"Time left: about {_duration(left.seconds)} with {many}."


def _running(found: Standing) -> Table:
    table = Table(title="in training", title_justify="left", title_style="", box=None)
    for name in ("host", "pid", "training", "update", "heard of"):
        table.add_column(name, justify="right" if name in ("pid", "update") else "left")
    # What still runs comes before what has been left behind.
    cohorts = sorted(found.cohorts, key=lambda cohort: (cohort.stale, cohort.host, cohort.pid))
    for cohort in cohorts[:LONGEST_LIST]:
        style = "yellow" if cohort.stale else ""
        table.add_row(*_cohort(found, cohort), style=style)
    if len(cohorts) > LONGEST_LIST:
        table.add_row(f"and {len(cohorts) - LONGEST_LIST} more", "", "", "", "")
    return table


def _cohort(found: Standing, cohort: Progress) -> tuple[str, ...]:
    kinds = [found.runs[run_id] for run_id in cohort.run_ids if run_id in found.runs]
    what = f"{kinds[0].algorithm} on {kinds[0].environment}" if kinds else "unplanned"
    ago = _duration(max(0.0, time.time() - cohort.heard))
    return (
        cohort.host,
        str(cohort.pid),
        f"{what} x{len(cohort.run_ids)}",
        f"{cohort.update:,} of {cohort.num_updates:,}",
        f"stale: not heard of for {ago}" if cohort.stale else f"{ago} ago",
    )


def _causes(found: Standing) -> Table:
    table = Table(title="why runs failed", title_justify="left", title_style="", box=None)
    table.add_column("runs", justify="right")
    table.add_column("cause", overflow="fold")
    table.add_column("one of them", no_wrap=True)
    causes = standing.causes(found)
    for cause in causes[:LONGEST_LIST]:
        table.add_row(f"{cause.runs:,}", Text(cause.message), cause.run_id)
    for cause in causes[LONGEST_LIST:][:1]:
        rest = sum(cause.runs for cause in causes[LONGEST_LIST:])
        table.add_row(f"{rest:,}", f"{len(causes) - LONGEST_LIST} other causes", cause.run_id)
    return table


def _print_commands(found: Standing, console: Console) -> None:
    """Print what to type, not wrapped: it is to be copied."""
    missing = list(standing.commands(found, "missing"))
    for plan, count in missing[:LONGEST_LIST]:
        console.print(f"\nThis trains what is missing ({count:,} runs):", highlight=False)
        console.print(Text(f"  {plan.command}"), soft_wrap=True)
    failed = list(standing.commands(found, "failed"))
    if not failed and "failed" in found.states.values():
        console.print("\n`launcher.retry_failed=true` in a command tries failed runs again.")
    for plan, count in failed[:LONGEST_LIST]:
        console.print(f"\nThis tries failed runs again ({count:,}):", highlight=False)
        console.print(Text(f"  {plan.command} launcher.retry_failed=true"), soft_wrap=True)
    if missing and len(found.manifests) > 1:
        folder = missing[0][0].path.parent
        console.print(Text(f"\nTo take back a plan, remove its file in {folder}."), soft_wrap=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
