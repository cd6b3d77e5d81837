"""From a command's words to records on disk: plan, skip what is stored, train, report."""

from dataclasses import replace

from hydra.core.config_loader import ConfigLoader
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench import manifest, report
from bench.composition import Composer
from bench.engine import Engine
from bench.plan import Plan, make_plan
from bench.results import RunRecord, RunStore
from bench.tracking import Mirror


def launch(config_loader: ConfigLoader, overrides: list[str]) -> int:
    """Run everything that the words of the command line ask for; return the exit status."""
    composer = Composer(config_loader, overrides)
    plan = make_plan(composer.jobs())
    store = RunStore(plan.harness.results_dir / "runs")
    plan = _skip_stored(plan, store)
    if plan.harness.launcher.dry_run:
        report.print_plan(plan)
        return 0
    experiment = plan.harness.experiment_name
    # A folder that cannot be written is found before anything is trained, not after.
    (store.root / experiment).mkdir(parents=True, exist_ok=True)
    words = ["-m", *overrides] if composer.axes else overrides
    manifest.leave(store.root / experiment, words, plan.runs)
    store.adopt((plan.stored[r.run_id] for r in plan.runs if r.run_id in plan.stored), experiment)
    mirror = Mirror(plan.harness.tracking, experiment, plan.harness.results_dir)
    trained = _train(plan, store, mirror)
    report.print_outcome(plan, trained, store)
    if (line := mirror.closing_line()) is not None:
        print(line)
    failed = sum(record.status == "failed" for record in trained)
    skipped_failures = 0 if plan.harness.launcher.retry_failed else len(plan.earlier_failures)
    return 1 if failed or skipped_failures else 0


def _skip_stored(plan: Plan, store: RunStore) -> Plan:
    wanted = {run.run_id for run in plan.runs}
    stored = {run_id: path for run_id, path in store.stored().items() if run_id in wanted}
    failures = frozenset(
        run_id for run_id, path in stored.items() if store.status(path) == "failed"
    )
    return replace(plan, stored=stored, earlier_failures=failures)


def _train(plan: Plan, store: RunStore, mirror: Mirror) -> list[RunRecord]:
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
                mirror.write(record)
                trained.append(record)
            # Runs that failed or were empty made no updates; the bar counts them as done.
            progress.update(bar, completed=done + len(cohort) * config.num_updates)
    return trained
