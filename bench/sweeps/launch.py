"""From a command's words to records on disk: plan, skip what is stored, train, tell."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.engines import stopping
from bench.errors import UserError
from bench.settings.composition import Composer
from bench.store import manifest
from bench.store.claims import at_work
from bench.store.records import RunStore
from bench.sweeps import ending, hours, opening
from bench.sweeps.plan import make_plan
from bench.sweeps.sweep import Sweep
from bench.sweeps.tidying import tidy
from bench.tracking.mirror import Mirror


def launch(overrides: list[str]) -> int:
    """Run everything that the words of the command line ask for; return the exit status."""
    composer = Composer(overrides)
    plan = make_plan(composer.jobs())
    plan = replace(plan, absent={name: str(why) for name, why in composer.absent.items()})
    harness, store = plan.harness, plan.store
    if harness.launcher.dry_run:
        opening.print_plan(plan)
        hours.print_hours(plan)
        return 0
    harness.launcher.engine.check()
    folder = store.root / harness.experiment_name
    _check_writable(folder)
    opening.print_opening(plan)
    manifest.leave(folder, overrides, plan.runs, plan.absent)
    for found in plan.kept.values():
        if found.path.parent != folder:
            store.adopt(found.path, harness.experiment_name)
    mirror = Mirror(harness.tracking, harness.results_dir)
    with stopping.listening(insist=True), _at_work(store, harness.experiment_name):
        sweep = Sweep(plan, mirror)
        sweep.run()
        signal_number = stopping.signal_number()
    left = sweep.left()
    tidy(plan.files, store)
    ending.print_outcome(plan, sweep, left)
    if (line := mirror.closing_line()) is not None:
        print(line)
    ending.print_notes(sweep.notes)
    return ending.conclude(plan, sweep, left, signal_number)


@contextmanager
def _at_work(store: RunStore, experiment: str) -> Iterator[None]:
    with at_work(store.root.resolve(), experiment) as held:
        if not held:
            raise UserError(f"{experiment!r} is being packed: try again when that is done.")
        yield


def _check_writable(folder: Path) -> None:
    """Find a folder that cannot be written before anything is trained, not after."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".partial"):
        pass
