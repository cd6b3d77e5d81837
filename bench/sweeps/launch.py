"""From a command's words to records on disk: plan, skip what is stored, train, report."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bench.engines import stopping
from bench.settings.composition import Composer
from bench.store import manifest
from bench.store.folders import SweepFiles
from bench.store.records import RunStore
from bench.sweeps import dry_run, ending
from bench.sweeps.mirror import Mirror
from bench.sweeps.plan import Plan, make_plan
from bench.sweeps.sweep import Sweep
from bench.sweeps.tidying import tidy
from bench.training.checkpoints import Interrupted, interrupted


def launch(overrides: list[str]) -> int:
    """Run everything that the words of the command line ask for; return the exit status."""
    composer = Composer(overrides)
    plan = make_plan(composer.jobs())
    harness = plan.harness
    store = RunStore(harness.results_dir / "runs")
    plan = _with_what_is_there(plan, store)
    if harness.launcher.dry_run:
        dry_run.print_plan(plan)
        return 0
    harness.launcher.engine.check()
    folder = store.root / harness.experiment_name
    _check_writable(folder)
    manifest.leave(folder, overrides, plan.runs)
    store.adopt(
        (plan.stored[r.run_id] for r in plan.runs if r.run_id in plan.stored),
        harness.experiment_name,
    )
    mirror = Mirror(harness.tracking, harness.experiment_name, harness.results_dir)
    with stopping.listening(insist=True):
        sweep = Sweep(plan, store, mirror)
        sweep.run()
        signal_number = stopping.signal_number()
    left = sweep.left()
    tidy(SweepFiles(folder), store.stored().keys() - left)
    ending.print_outcome(plan, sweep.trained, left, store)
    if (line := mirror.closing_line()) is not None:
        print(line)
    ending.print_notes(sweep.notes)
    return ending.conclude(plan, sweep, left, signal_number)


def _with_what_is_there(plan: Plan, store: RunStore) -> Plan:
    """Return the plan with what is stored and what goes on from a checkpoint."""
    all_stored = store.stored()
    wanted = {run.run_id for run in plan.runs}
    stored = {run_id: path for run_id, path in all_stored.items() if run_id in wanted}
    failures = frozenset(
        run_id for run_id, path in stored.items() if store.status(path) == "failed"
    )
    plan = replace(plan, stored=stored, earlier_failures=failures)
    pending = {run.run_id for run in plan.pending}
    files = SweepFiles(store.root / plan.harness.experiment_name)
    found = interrupted(files.checkpoints)
    return replace(plan, interrupted=_usable(found, pending, all_stored.keys() - pending))


def _usable(
    found: Iterable[Interrupted], pending: set[str], recorded: set[str]
) -> tuple[Interrupted, ...]:
    """Return the cohorts that can go on, the furthest first, no run in two of them.

    One whose unrecorded runs are not all wanted now is left for a command that wants them all.
    """
    chosen: list[Interrupted] = []
    taken: set[str] = set()
    for cohort in sorted(found, key=lambda cohort: -cohort.update):
        unrecorded = set(cohort.run_ids) - recorded
        if cohort.runs is not None and unrecorded and unrecorded <= pending - taken:
            chosen.append(cohort)
            taken |= unrecorded
    return tuple(chosen)


def _check_writable(folder: Path) -> None:
    """Find a folder that cannot be written before anything is trained, not after."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".partial"):
        pass
