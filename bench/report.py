"""What a command prints: the plan, a short table, counts, causes of failure."""

import os
import sys
from collections import Counter

from rich.console import Console
from rich.table import Table

from bench.plan import Plan
from bench.results import RunRecord, RunStore

# A sweep's table is drawn by `python -m plots`; a handful of runs is shown at once.
TABLE_LIMIT = 24
NUMBERS = {
    "value": "value",
    "normalized regret": "normalized_regret",
    "regret to covered": "regret_to_covered",
    "improvement": "improvement",
}


def print_plan(plan: Plan) -> None:
    """Print what would be trained and in which cohorts."""
    print(
        f"{len(plan.runs)} runs: {len(plan.runs) - len(plan.pending)} stored, "
        f"{len(plan.pending)} to train in {len(plan.cohorts)} cohorts."
    )
    for cohort in plan.cohorts:
        config = cohort[0].config
        run = f"{config.dataset.name} {config.algorithm_name}"
        print(f"  {run}: {len(cohort)} runs of {config.num_updates} updates")


def print_outcome(plan: Plan, trained: list[RunRecord], store: RunStore) -> None:
    """Print a table where it is short, what was done, where it is, and why runs failed."""
    experiment = plan.harness.experiment_name
    if len(plan.runs) <= TABLE_LIMIT:
        wanted = {run.run_id for run in plan.runs}
        records = [record for record in store.read(experiment) if record.run_id in wanted]
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
