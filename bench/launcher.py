"""From a command's words to records on disk: plan, skip what is stored, train, report."""

import os
import sys
from dataclasses import replace

from hydra.core.config_loader import ConfigLoader
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.composition import Composer
from bench.engine import Engine
from bench.plan import Plan, make_plan
from bench.results import RunRecord, RunStore

TABLE_LIMIT = 24


def launch(config_loader: ConfigLoader, overrides: list[str]) -> int:
    """Run everything that the words of the command line ask for; return the exit status."""
    plan = make_plan(Composer(config_loader, overrides).jobs())
    store = RunStore(plan.harness.results_dir / "runs")
    plan = _skip_stored(plan, store)
    console = Console(stderr=False, width=None if sys.stdout.isatty() else 120)
    if plan.harness.launcher.dry_run:
        _print_plan(console, plan)
        return 0
    experiment = plan.harness.experiment_name
    store.adopt((plan.stored[r.run_id] for r in plan.runs if r.run_id in plan.stored), experiment)
    trained = _train(plan, store)
    _report(console, plan, trained, store)
    failed = sum(record.status == "failed" for record in trained)
    skipped_failures = 0 if plan.harness.launcher.retry_failed else len(plan.earlier_failures)
    return 1 if failed or skipped_failures else 0


def _skip_stored(plan: Plan, store: RunStore) -> Plan:
    wanted = {run.run_id for run in plan.runs}
    stored = {run_id: path for run_id, path in store.stored().items() if run_id in wanted}
    failures = frozenset(
        run_id
        for run_id, path in stored.items()
        if RunRecord.from_json(path.read_text()).status == "failed"
    )
    return replace(plan, stored=stored, earlier_failures=failures)


def _train(plan: Plan, store: RunStore) -> list[RunRecord]:
    harness = plan.harness
    engine = Engine(
        harness.experiment_name,
        harness.results_dir / "datasets",
        harness.device,
        harness.compile,
    )
    trained: list[RunRecord] = []
    total = sum(run.config.num_updates for run in plan.pending)
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        MofNCompleteColumn(), TextColumn("updates"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as progress:
        bar = progress.add_task("", total=total)
        for number, cohort in enumerate(plan.cohorts, 1):
            config = cohort[0].config
            name = f"{number}/{len(plan.cohorts)} {config.dataset.name} {config.algorithm_name}"
            progress.update(bar, description=f"{name} x{len(cohort)}")
            done = sum(r.config.num_updates for c in plan.cohorts[: number - 1] for r in c)
            for record in engine.run(cohort, lambda runs: progress.advance(bar, runs)):
                store.write(record)
                trained.append(record)
            # Runs that failed or were empty made no updates; the bar counts them as done.
            progress.update(bar, completed=done + len(cohort) * config.num_updates)
    return trained


def _print_plan(console: Console, plan: Plan) -> None:
    console.print(
        f"{len(plan.runs)} runs: {len(plan.runs) - len(plan.pending)} stored, "
        f"{len(plan.pending)} to train in {len(plan.cohorts)} cohorts."
    )
    for cohort in plan.cohorts:
        config = cohort[0].config
        console.print(
            f"  {config.dataset.name} {config.algorithm_name}: {len(cohort)} runs "
            f"of {config.num_updates} updates",
            highlight=False,
        )


def _report(console: Console, plan: Plan, trained: list[RunRecord], store: RunStore) -> None:
    """Print what was done, a table where it is short, and where the records are."""
    folder = os.path.relpath(store.root / plan.harness.experiment_name)
    if len(plan.runs) <= TABLE_LIMIT:
        wanted = {run.run_id for run in plan.runs}
        experiment = store.read(plan.harness.experiment_name)
        console.print(_table([record for record in experiment if record.run_id in wanted]))
    counts = {
        status: sum(record.status == status for record in trained)
        for status in ("completed", "empty", "failed")
    }
    console.print(
        f"{counts['completed']} runs completed, {counts['empty']} empty, {counts['failed']} failed, "
        f"{len(plan.runs) - len(plan.pending)} stored before; records in {folder}",
        highlight=False,
        soft_wrap=True,
    )
    causes: dict[str, int] = {}
    for record in trained:
        if record.status == "failed":
            causes[str(record.error)] = causes.get(str(record.error), 0) + 1
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
    columns = ("environment", "degradation", "severity", "algorithm", "seed", "status", "transitions")
    numbers = ("value", "normalized_regret", "regret_to_covered", "improvement")
    for name in columns:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    for r in sorted(records, key=lambda r: (r.environment, r.dataset["severity"], r.algorithm, r.seed)):
        known = (r.final.get(name) for name in numbers)
        table.add_row(
            r.environment,
            str(r.dataset["degradation"]),
            f"{r.dataset['severity']:g}",
            r.algorithm,
            str(r.seed),
            r.status,
            str(r.dataset.get("num_transitions", "-")),
            *("-" if value is None else f"{value:.3f}" for value in known),
        )
    return table
