"""`python -m bench status EXPERIMENT`: how far a sweep is, what runs where, and what went wrong.

Reads the store alone, so it may be asked anywhere, at any time, of a sweep that is running,
interrupted or done.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.errors import Words
from bench.progress import printer, standing
from bench.progress.standing import Standing
from bench.store.folders import named_folder
from bench.store.heartbeats import Heartbeat

DESCRIPTION = "How far a sweep is, what runs where, the time left, errors, and what to type."
# Longer lists are cut.
LONGEST_LIST = 12


def main(words: Sequence[str]) -> int:
    """Print how far an experiment is and return the exit status."""
    parser = Words(prog="python -m bench status", description=DESCRIPTION)
    known = ", ".join(standing.known(Path("results/runs"))) or "none"
    parser.add_argument("experiment", help=f"in results/runs there are: {known}")
    parser.add_argument("--results", type=named_folder, default=Path("results"), metavar="DIR")
    options = parser.parse_args(words)
    root = options.results / "runs"
    there = standing.known(root)
    if options.experiment not in there:
        names = f"known there: {', '.join(there)}" if there else "there is none yet"
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
    yield from printer.tables(found, width)
    yield printer.totals(found)
    if found.unplanned:
        noun = "record is" if found.unplanned == 1 else "records are"
        yield f"{found.unplanned:,} {noun} in no plan and counted as planned."
    for path in found.damaged:
        yield Text(f"{path} is damaged: what it planned is not counted.")
    if any(state in ("running", "stale", "missing") for state in found.states.values()):
        left = printer.remaining(found)
        yield f"{left[0].upper()}{left[1:]}."
    if found.heartbeats:
        yield Group("", _running(found))
    if any(state == "failed" for state in found.states.values()):
        yield Group("", _causes(found))


def _running(found: Standing) -> Table:
    table = Table(title="in training", title_justify="left", title_style="", box=None)
    for name in ("host", "pid", "training", "update", "heard of"):
        table.add_column(name, justify="right" if name in ("pid", "update") else "left")
    # What still runs comes before what has been left behind.
    cohorts = sorted(found.heartbeats, key=lambda cohort: (cohort.silent, cohort.host, cohort.pid))
    for cohort in cohorts[:LONGEST_LIST]:
        style = "yellow" if cohort.silent else ""
        table.add_row(*_cohort(found, cohort), style=style)
    if len(cohorts) > LONGEST_LIST:
        table.add_row(f"and {len(cohorts) - LONGEST_LIST} more", "", "", "", "")
    return table


def _cohort(found: Standing, cohort: Heartbeat) -> tuple[str, ...]:
    kinds = [found.runs[run_id] for run_id in cohort.run_ids if run_id in found.runs]
    what = f"{kinds[0].algorithm} on {kinds[0].environment}" if kinds else "unplanned"
    ago = printer.duration(max(0.0, time.time() - cohort.heard))
    return (
        cohort.host,
        str(cohort.pid),
        f"{what} x{len(cohort.run_ids)}",
        f"{cohort.update:,} of {cohort.num_updates:,}",
        f"not heard of for {ago}" if cohort.silent else f"{ago} ago",
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
    missing = list(standing.commands(found, "missing", "stale"))
    what = "missing or stale" if "stale" in found.states.values() else "missing"
    for plan, count in missing[:LONGEST_LIST]:
        console.print(f"\nThis trains what is {what} ({count:,} runs):", highlight=False)
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
