"""What `launcher.dry_run=true` prints: the grid, what would be skipped, and the cohorts."""

import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.settings.run import GROUPS, TrainingConfig
from bench.settings.spec import RunSpec
from bench.sweeps.plan import Plan

WIDTH = 100
# Of an axis of the grid.
SHOWN_VALUES = 12
# So many kinds of cohorts still fit a screen.
COHORT_LIMIT = 40


def print_plan(plan: Plan) -> None:
    """Print what would be trained: how much of everything, and in which cohorts."""
    skipped = plan.earlier_failures - {run.run_id for run in plan.pending}
    failed = f" ({len(skipped)} of them failed)" if skipped else ""
    print(
        f"{len(plan.runs)} runs: {len(plan.runs) - len(plan.pending)} stored{failed}, "
        f"{len(plan.pending)} to train in {len(plan.cohorts)} cohorts."
    )
    for key, values in _axes([run.settings for run in plan.runs]).items():
        shown = ", ".join(values[:SHOWN_VALUES])
        more = "" if len(values) <= SHOWN_VALUES else f", ... ({len(values)} values)"
        print(textwrap.fill(f"  {key}: {shown}{more}", WIDTH, subsequent_indent="    "))
    if plan.stored:
        places = Counter(path.parent.name for path in plan.stored.values())
        print("stored: " + ", ".join(f"{count} in {name}" for name, count in places.items()))
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(_sizes(plan), highlight=False)
    if plan.cohorts:
        console.print(_cohorts(plan), highlight=False)
    for line in _going_on(plan):
        print(line)


def _axes(settings: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the settings that differ between runs and their values, in order of appearance."""
    values: dict[str, dict[str, None]] = {}
    for one in settings:
        for group in GROUPS:
            values.setdefault(group, {})[str(one[group]["name"])] = None
        values.setdefault("coverage.severity", {})[str(one["coverage"]["severity"])] = None
        for key, value in one["algorithm"].items():
            if key not in ("name", "target"):
                values.setdefault(f"algorithm.{key}", {})[str(value)] = None
        for key in TrainingConfig.model_fields:
            values.setdefault(key, {})[str(one[key])] = None
    return {key: list(found) for key, found in values.items() if len(found) > 1}


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


def _going_on(plan: Plan) -> list[str]:
    """Return a line for every cohort that goes on from a checkpoint; they come first."""
    pending = {run.run_id for run in plan.pending}
    lines = []
    for cohort, found in zip(plan.cohorts, plan.interrupted, strict=False):
        recorded = sum(run.run_id not in pending for run in cohort)
        along = f" ({recorded} of them recorded already)" if recorded else ""
        config = cohort[0].config
        lines.append(
            f"{len(cohort)} runs{along} of {config.algorithm_name} on {config.dataset.name} "
            f"go on at update {found.update} of {config.num_updates}."
        )
    return lines
