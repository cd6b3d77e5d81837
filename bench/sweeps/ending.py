"""What a sweep prints at its end: table, counts, causes of failure, findings, what is left."""

import os
import shlex
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.store.folders import report_path
from bench.store.labels import learner_labels
from bench.store.record import RunRecord
from bench.sweeps.findings import findings
from bench.sweeps.plan import Plan
from bench.sweeps.sweep import Sweep
from bench.training.checkpoints import interrupted

# A sweep's table is drawn by `python -m plots`; a handful of runs is shown at once.
TABLE_LIMIT = 24
NUMBERS = {
    "value": "value",
    "normalized regret": "normalized_regret",
    "regret to covered": "regret_to_covered",
    "improvement": "improvement",
}


def print_outcome(plan: Plan, sweep: Sweep, left: set[str]) -> None:
    """Print a table where it is short, what was done, where it is, and why runs failed."""
    experiment, store, trained = plan.harness.experiment_name, plan.store, sweep.trained
    said = sweep.said
    if len(plan.runs) <= TABLE_LIMIT:
        paths = (store.path(experiment, run.run_id) for run in plan.runs)
        records = [store.load(path) for path in paths if store.holds(path)]
        said = {record.dataset.get("world_check", {}).get("said") for record in records}
        table = _table(records)
        width = max(120, Console(width=1000).measure(table).maximum)
        Console(width=None if sys.stdout.isatty() else width).print(table)
    counts = Counter(head.status for head in trained.values())
    print(
        f"{counts['completed']} runs completed, {counts['empty']} empty, "
        f"{counts['failed']} failed, {len(plan.runs) - len(trained) - len(left)} stored before; "
        f"records in {os.path.relpath(store.root / experiment)}"
    )
    if sweep.traceback is not None and len(plan.runs) == 1:
        print(sweep.traceback, end="", file=sys.stderr)
    causes = Counter(head.error for head in trained.values() if head.status == "failed")
    for cause, count in causes.items():
        print(f"{count} failed: {cause}", file=sys.stderr)
    for sentence in sorted(filter(None, said)):
        print(sentence)
    if len(plan.runs) > 1 and not left:
        _print_conclusions(plan)
    if skipped := plan.skipped_failures():
        print(
            f"{skipped} runs failed before and were not tried again; "
            "launcher.retry_failed=true does.",
            file=sys.stderr,
        )


def _print_conclusions(plan: Plan) -> None:
    """Print what a complete sweep's records say, and where or how their report is drawn."""
    store, experiment = plan.store, plan.harness.experiment_name
    run_ids = [run.run_id for run in plan.runs]
    records = list(store.summaries(experiment, run_ids))
    if not any(record.status == "completed" for record in records):
        return
    for sentence in findings(records):
        print(sentence)
    results = plan.harness.results_dir
    report = report_path(results, experiment)
    words = [experiment, *(() if results == Path("results") else ("--results", str(results)))]
    command = f"python -m plots {shlex.join(words)}"
    times = store.times(experiment)
    newest = max(times[run_id] for run_id in run_ids if run_id in times)
    if not report.exists():
        print(f"`{command}` draws the report, {os.path.relpath(report)}.")
    elif report.stat().st_mtime_ns < newest:
        print(f"The report {os.path.relpath(report)} is older; `{command}` draws it anew.")
    else:
        print(f"The report is {os.path.relpath(report)}.")


def print_notes(notes: list[str]) -> None:
    """Print what cost no result, each once."""
    for note in notes:
        print(note, file=sys.stderr)


def conclude(plan: Plan, sweep: Sweep, left: set[str], signal_number: int | None) -> int:
    """Print what is left and how to go on, and return the exit status."""
    if sweep.problem is not None:
        print(f"{sweep.problem}; {_remainder(plan, left)}", file=sys.stderr)
        return 2
    if left and sweep.lack is not None:
        print(f"{sweep.lack}; {_remainder(plan, left)}", file=sys.stderr)
        return 2
    if left and signal_number is not None:
        print(f"Stopped; {_remainder(plan, left)}", file=sys.stderr)
        return 128 + signal_number
    if left:
        held = len(left & sweep.held)
        print(
            f"{len(left)} runs were left out, {held} of them in training by another sweep; "
            "the same command collects them.",
            file=sys.stderr,
        )
        return 1
    failed = any(head.status == "failed" for head in sweep.trained.values())
    # Another sweep may have recorded some of the runs meanwhile.
    others = [sweep.store.path(sweep.experiment, i) for i in sweep.pending.keys() - sweep.trained]
    if count := sum(sweep.store.load(path).status == "failed" for path in others):
        print(f"{count} failed in another sweep at the same time.", file=sys.stderr)
        failed = True
    return 1 if failed or plan.skipped_failures() else 0


def _remainder(plan: Plan, left: set[str]) -> str:
    cohorts = interrupted(plan.files.checkpoints)
    saved = {run_id for cohort in cohorts for run_id in cohort.run_ids}
    going_on = f", {len(left & saved)} of them with a checkpoint" if left & saved else ""
    return (
        f"{len(plan.runs) - len(left)} of {len(plan.runs)} runs are recorded and "
        f"{len(left)} left{going_on}; the same command goes on with them."
    )


def _table(records: list[RunRecord]) -> Table:
    table, labels = Table(), learner_labels(records)
    for name in ("environment", "coverage", "algorithm", "seed", "transitions"):
        table.add_column(name, overflow="fold")
    for name in NUMBERS:
        table.add_column(name, justify="right")
    for r in sorted(records, key=lambda r: (r.environment, _coverage(r), r.algorithm, r.seed)):
        shown = map(_shown, (r.final.get(name) for name in NUMBERS.values()))
        table.add_row(
            r.environment,
            _coverage(r),
            labels[r.run_id],
            str(r.seed),
            str(r.dataset.get("num_transitions", "-")),
            *(shown if r.status == "completed" else (r.status,)),
        )
    return table


def _shown(value: float | None) -> str:
    """Return a number with three decimals, or digits where these would be all 0 or very many."""
    if value is None:
        return "-"
    # What rounding leaves of a difference is as good as 0.
    return f"{value:.3f}" if abs(value) < 1e-12 or 1e-3 <= abs(value) < 1e9 else f"{value:.2e}"


def _coverage(record: RunRecord) -> str:
    name, severity = record.dataset["degradation"], record.dataset["severity"]
    return "none" if severity == 0 else f"{name} {severity:g}"
