"""What is said of a plan before it is trained, and all that a dry run says of it."""

import math
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.garbage import all_of_it_stays
from bench.progress import printer
from bench.progress.standing import Standing, State
from bench.settings.run import GROUPS, TrainingConfig
from bench.store.manifest import planned_run
from bench.sweeps.plan import Plan

WIDTH = 100
# Of an axis of the grid.
SHOWN_VALUES = 12
# So many kinds of cohorts still fit a screen.
COHORT_LIMIT = 40
# The axes that are always named.
AXES = {"algorithm": "algorithm", "dataset": "dataset", "coverage": "coverage",
        "severity": "coverage.severity", "seed": "seed"}  # fmt: skip


def print_opening(plan: Plan) -> None:
    """Print in one line what is planned, and in another what other code has made."""
    _print_opening(plan, _axes(plan))


def _print_opening(plan: Plan, axes: dict[str, list[str]]) -> None:
    axes = dict(axes)
    named = {name: len(axes.pop(key)) for name, key in AXES.items()}
    named |= {key: len(values) for key, values in axes.items()}
    sizes = f" ({' x '.join(named)}: {' x '.join(map(str, named.values()))})"
    cohorts = f" in {_count(len(plan.cohorts), 'cohort')}" if plan.cohorts else ""
    print(
        f"{_count(len(plan.runs), 'run')} planned{sizes if math.prod(named.values()) > 1 else ''}, "
        f"{len(plan.kept):,} stored, {len(plan.pending):,} to train{cohorts}."
    )
    for line in plan.left_out:
        print(f"Left out: {line}")
    if plan.absent:
        here = dict.fromkeys(run.config.dataset.environment_name for run in plan.runs)
        print(f"Data that is here: {', '.join(here)}.")
    for name, why in plan.absent.items():
        print(f"Left out, since its data is not here: {name}. {why}")
    if stale := [run for run in plan.runs if plan.is_stale(run.run_id)]:
        learners = ", ".join(sorted({run.config.algorithm_name for run in stale}))
        kept = sum(run.run_id in plan.kept for run in stale)
        found = _count(len(stale), "stored run")
        print(f"{found} made by other code of {learners}: {_fate(kept, len(stale))}.")


def _fate(kept: int, stale: int) -> str:
    again = f"{stale - kept:,} trained again (launcher.stale=keep keeps them)"
    stay = f"{kept:,} kept (launcher.stale=retrain trains them again)"
    return ", ".join([again] * (kept < stale) + [stay] * (kept > 0))


@all_of_it_stays()
def print_plan(plan: Plan) -> None:
    """Print the opening, the values of the grid, where its runs stand, and the cohorts."""
    axes = _axes(plan)
    _print_opening(plan, axes)
    for key, values in axes.items():
        if len(values) > 1:
            shown = ", ".join(values[:SHOWN_VALUES])
            more = "" if len(values) <= SHOWN_VALUES else f", ... ({len(values)} values)"
            print(textwrap.fill(f"  {key}: {shown}{more}", WIDTH, subsequent_indent="    "))
    places = Counter(found.path.parent.name for found in plan.kept.values())
    if places.keys() - {plan.harness.experiment_name}:
        print("stored: " + ", ".join(f"{count} in {name}" for name, count in places.items()))
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    for table in printer.tables(standing_of(plan), console.width):
        console.print(table, highlight=False)
    if len(plan.cohorts) > 1:
        console.print(_cohorts(plan), highlight=False)
    for line in _going_on(plan):
        print(line)


def standing_of(plan: Plan) -> Standing:
    """Return where a plan's runs stand before it begins."""
    pending = {run.run_id for run in plan.pending}
    recorded: dict[str, State] = {}
    for run_id, found in plan.stored.items():
        status: Any = found.status
        recorded[run_id] = "stale" if found.stale and run_id in pending else status
    return Standing({run.run_id: planned_run(run) for run in plan.runs}, recorded)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _axes(plan: Plan) -> dict[str, list[str]]:
    """Return the axes that are always named, and other settings that vary, with their values.

    What varies only because learners or worlds differ was chosen for them and is no axis.
    """
    values: dict[str, dict[str, None]] = {key: {} for key in AXES.values()}
    within: dict[tuple[str, ...], dict[str, set[str]]] = {}
    met: set[tuple[str, ...]] = set()
    for run in plan.runs:
        kind = tuple(str(run.settings[group]["name"]) for group in GROUPS)
        for group, own in _parts(run.settings):
            # Of runs of one kind most share what is in a group; of each it is read once.
            if (part := (*kind, group, repr(own))) in met:
                continue
            met.add(part)
            for key, value in _flat(group, own).items():
                values.setdefault(key, {})[value] = None
                within.setdefault(kind, {}).setdefault(key, set()).add(value)
    varying = {key for found in within.values() for key, seen in found.items() if len(seen) > 1}
    named = [*AXES.values(), *sorted(varying - set(AXES.values()) - {"dataset.seed"})]
    return {key: list(values[key]) for key in named}


def _parts(settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the groups of a run's settings by name and, without one, what belongs to none."""
    yield from ((group, settings[group]) for group in GROUPS)
    yield "", {key: settings[key] for key in TrainingConfig.model_fields if key in settings}


def _flat(group: str, own: dict[str, Any]) -> dict[str, str]:
    """Return what may tell runs apart in a group, by the name that it has in a command."""
    if not group:
        return {key: str(value) for key, value in own.items()}
    flat = {f"{group}.{k}": str(v) for k, v in own.items() if k not in ("name", "target")}
    return {group: str(own["name"])} | flat


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
