"""What a command prints: the plan, a short table, counts, causes of failure."""

import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.plan import Plan, RunSpec
from bench.results import RunRecord, RunStore

# A sweep's table is drawn by `python -m plots`; a handful of runs is shown at once.
TABLE_LIMIT = 24
# So many kinds of cohorts still fit a screen.
COHORT_LIMIT = 40
NUMBERS = {
    "value": "value",
    "normalized regret": "normalized_regret",
    "regret to covered": "regret_to_covered",
    "improvement": "improvement",
}


def print_plan(plan: Plan) -> None:
    """Print what would be trained: how much of everything, and in which cohorts."""
    skipped = plan.earlier_failures - {run.run_id for run in plan.pending}
    failed = f" ({len(skipped)} of them failed)" if skipped else ""
    print(
        f"{len(plan.runs)} runs: {len(plan.runs) - len(plan.pending)} stored{failed}, "
        f"{len(plan.pending)} to train in {len(plan.cohorts)} cohorts."
    )
    console = Console(width=None if sys.stdout.isatty() else 100)
    console.print(_sizes(plan), highlight=False)
    if plan.cohorts:
        console.print(_cohorts(plan), highlight=False)


def _sizes(plan: Plan) -> Table:
    """Return along each axis of the grid how many runs are stored, failed and to be trained."""
    axes: dict[str, Callable[[RunSpec], Any]] = {
        "algorithm": lambda run: run.config.algorithm_name,
        "dataset": lambda run: run.config.dataset.name,
        "coverage": lambda run: run.config.coverage.name,
        "severity": lambda run: run.config.coverage.severity,
    }
    pending = {run.run_id for run in plan.pending}
    table = Table(box=box.SIMPLE)
    for name in ("", "", "runs", "stored", "failed before", "to train"):
        table.add_column(name, justify="right" if name else "left")
    for axis, value in axes.items():
        groups: dict[Any, list[str]] = {}
        for run in plan.runs:
            groups.setdefault(value(run), []).append(run.run_id)
        for i, (name, ids) in enumerate(sorted(groups.items())):
            failed = sum(run_id in plan.earlier_failures for run_id in ids)
            stored = sum(run_id in plan.stored for run_id in ids) - failed
            train = sum(run_id in pending for run_id in ids)
            shown = f"{name:g}" if isinstance(name, float) else name
            numbers = (f"{n:,}" if n else "" for n in (len(ids), stored, failed, train))
            table.add_row("" if i else axis, shown, *numbers)
        table.add_section()
    return table


def _cohorts(plan: Plan) -> Table:
    """Return the sizes of cohorts, those of one dataset, algorithm and length in one row."""
    groups: dict[tuple[str, str, int], Counter[int]] = {}
    for cohort in plan.cohorts:
        config = cohort[0].config
        key = (config.dataset.name, config.algorithm_name, config.num_updates)
        groups.setdefault(key, Counter())[len(cohort)] += 1
    table = Table(box=box.SIMPLE)
    for name in ("dataset", "algorithm", "updates", "cohorts of runs"):
        table.add_column(name, justify="right" if name == "updates" else "left")
    for (dataset, algorithm, updates), sizes in list(groups.items())[:COHORT_LIMIT]:
        shown = (f"{n} x {size}" if n > 1 else str(size) for size, n in sorted(sizes.items())[::-1])
        table.add_row(dataset, algorithm, f"{updates:,}", " + ".join(shown))
    if len(groups) > COHORT_LIMIT:
        table.add_row("...", f"and {len(groups) - COHORT_LIMIT} more such rows", "", "")
    return table


def print_outcome(plan: Plan, trained: list[RunRecord], store: RunStore) -> None:
    """Print a table where it is short, what was done, where it is, and why runs failed."""
    experiment = plan.harness.experiment_name
    if len(plan.runs) <= TABLE_LIMIT:
        paths = (store.path(experiment, run.run_id) for run in plan.runs)
        records = [store.load(path) for path in paths if path.exists()]
        Console(width=None if sys.stdout.isatty() else 120).print(_table(records))
    counts = Counter(record.status for record in trained)
    print(
        f"{counts['completed']} runs completed, {counts['empty']} empty, "
        f"{counts['failed']} failed, {len(plan.runs) - len(plan.pending)} stored before; "
        f"records in {os.path.relpath(store.root / experiment)}"
    )
    causes = Counter(record.error for record in trained if record.status == "failed")
    for cause, count in causes.items():
        print(f"{count} failed: {cause}", file=sys.stderr)
    if plan.earlier_failures and not plan.harness.launcher.retry_failed:
        print(
            f"{len(plan.earlier_failures)} runs failed before and were not tried again; "
            "launcher.retry_failed=true does.",
            file=sys.stderr,
        )


def _table(records: list[RunRecord]) -> Table:
    table = Table()
    for name in ("environment", "coverage", "algorithm", "seed", "transitions"):
        table.add_column(name)
    for name in NUMBERS:
        table.add_column(name, justify="right")
    for r in sorted(records, key=lambda r: (r.environment, _coverage(r), r.algorithm, r.seed)):
        known = (r.final.get(name) for name in NUMBERS.values())
        shown = ("-" if value is None else f"{value:.3f}" for value in known)
        table.add_row(
            r.environment,
            _coverage(r),
            r.algorithm,
            str(r.seed),
            str(r.dataset.get("num_transitions", "-")),
            *(shown if r.status == "completed" else (r.status,)),
        )
    return table


def _coverage(record: RunRecord) -> str:
    name, severity = record.dataset["degradation"], record.dataset["severity"]
    return "none" if severity == 0 else f"{name} {severity:g}"
