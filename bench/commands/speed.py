"""`python -m bench speed`: what an update costs, beside what the machine can do at most.

Every algorithm of conf/algorithm is timed at widths 64 and 256 (two hidden layers), alone and in a
cohort of 8, in each of these worlds that it has a class for: CartPole, for tabular ones a Garnet
table, and for continuous actions the linear-quadratic world. The matrix-product rate is that of
a cohort's own products, ``[8, batch, width] @ [8, width, width]``, on the same threads.

With `--peers` another table instead compares cohorts with the same updates in JAX, and with
d3rlpy's where it is installed (bench/peers), block by block on one core.

With `--scaling FOLDER` it is run-updates per second against the runs of a cohort, written into the
folder as a table and a figure (bench/commands/scaling.py).

Beside a run alone stands what the best public code in torch reaches (marks.csv), measured on
another machine with two cores: compare orders of magnitude.
"""

import argparse
import csv
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.atomic import atomic_write
from bench.cohorts import memory
from bench.cohorts.timing import SEED, machine, updates_per_second
from bench.commands import scaling
from bench.data.sources import Task
from bench.errors import Words
from bench.peers import comparison
from bench.peers.one_core import one_core
from bench.programs import gpu
from bench.programs.compilation import Mode
from bench.settings.composition import Composer
from bench.settings.groups import known_names
from bench.settings.run import HARNESS_KEYS, RunConfig, run_config
from bench.settings.typed import ConfigError

WIDTHS = (64, 256)
COHORTS = (1, 8)
BATCH_SIZE = 256
WORLDS = ("cartpole", "garnet", "lqr")
SCALED = ("cql", "td3_bc")
MARKS = Path(__file__).with_name("marks.csv")


def main(words: list[str]) -> int:
    """Measure, print the table and return the exit status."""
    parser = Words(
        prog="python -m bench speed", description="Updates per second of every algorithm."
    )
    parser.add_argument("--seconds", type=float, default=1.5, help="time for each figure")
    parser.add_argument("--compile", action="store_true", help="also compile the updates")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--peers",
        action="store_true",
        help="compare with the same updates in JAX, and with d3rlpy where it is, on one core",
    )
    parser.add_argument("--algorithm", default="", help="those to time, with commas; else all")
    parser.add_argument(
        "--scaling", type=Path, metavar="FOLDER",
        help=f"measure cohorts of up to {max(scaling.SIZES):,} runs and write table and figure; of "
        f"{' and '.join(SCALED)} unless others are named",
    )  # fmt: skip
    arguments = parser.parse_args(words)
    names = list(known_names("algorithm"))
    chosen: list[str] = arguments.algorithm.split(",") if arguments.algorithm else names
    if unknown := [name for name in chosen if name not in names]:
        raise ConfigError(f"algorithm is {unknown[0]!r}, but should be one of: {', '.join(names)}.")
    mode: Mode = "compiled" if arguments.compile else "traced"
    memory.keep_what_is_freed()  # As workers do.
    if arguments.device == "cuda":
        gpu.set_up()
    console = Console(width=100)
    if arguments.peers:
        comparison.check(chosen if arguments.algorithm else [], arguments.device)
        print_comparison(console, chosen, arguments.seconds, mode)
        return 0
    if arguments.scaling is not None:
        write_scaling(console, chosen if arguments.algorithm else SCALED, arguments, mode)
        return 0
    for width in WIDTHS:
        rate = matrix_product_rate(width, arguments.seconds, arguments.device)
        console.print(f"matrix product at width {width}: {rate / 1e9:.0f} GFLOP/s", highlight=False)
    table = Table(
        title=f"updates per second, batch {BATCH_SIZE}, {torch.get_num_threads()} threads"
    )
    for name in ("algorithm", "world", "width", "cohort"):
        table.add_column(name)
    for name in ("per run", "in total", "public torch"):
        table.add_column(name, justify="right")
    for row in rows(chosen, arguments.seconds, mode, arguments.device):
        table.add_row(*row)
    console.print(table)
    return 0


def print_comparison(console: Console, chosen: list[str], seconds: float, mode: Mode) -> None:
    """Measure beside the peers that are installed and print the table."""
    table = Table(title=f"run-updates per second, batch {comparison.BATCH_SIZE}")
    for name in ("algorithm", "world", "width", "runs", "peer"):
        table.add_column(name)
    for name in ("ours", "peer's", "ours / peer's"):
        table.add_column(name, justify="right")
    with one_core():
        for row in comparison.compare(_configs(chosen), seconds, mode):
            *names, ours, others, ratios = row
            spread = f"{median(ratios):.2f} [{min(ratios):.2f} to {max(ratios):.2f}]"
            table.add_row(*map(str, names), f"{ours:,.0f}", f"{others:,.0f}", spread)
    console.print(table)
    console.print(
        f"Medians [least to most] of {comparison.BLOCKS} blocks by the processor's time, one "
        f"thread pinned to one core, ours {mode}; {comparison.versions()}.",
        highlight=False,
        markup=False,
    )
    if untimed := comparison.untimed():
        console.print(untimed, highlight=False)


def write_scaling(
    console: Console, chosen: Sequence[str], arguments: argparse.Namespace, mode: Mode
) -> None:
    """Measure cohorts of all sizes and write ``scaling.csv`` and the figure."""
    # Only now: matplotlib alone takes longer than all that comes before.
    from plots.scaling import draw

    device = arguments.device
    points = []
    for point in scaling.measure(_everywhere(chosen), arguments.seconds, mode, device):
        points.append(point)
        console.print(*point[:-1], f"{point.rate:,.0f} run-updates per second", highlight=False)
    arguments.scaling.mkdir(parents=True, exist_ok=True)
    with atomic_write(arguments.scaling / "scaling.csv") as file:
        file.write(scaling.table(points).encode())
    where = f"on {device}, " if device != "cpu" else ""
    note = f"Updates {mode}, {where}{machine()}, torch {version('torch')}."
    draw(arguments.scaling, note)
    console.print(f"{note} Written into {arguments.scaling}.", highlight=False, markup=False)


def rows(chosen: list[str], seconds: float, mode: Mode, device: str) -> Iterator[tuple[str, ...]]:
    """Yield the cells of the table, row by row."""
    tasks: dict[str, Task] = {}
    known = marks()
    for name, world, config in _configs(chosen):
        algorithm, data = config.algorithm, config.dataset
        if world not in tasks:
            tasks[world] = data.source.load(data.name, SEED, data.discount, None)
        resizable = hasattr(algorithm, "hidden_sizes")
        for width in WIDTHS if resizable else (None,):
            resized: dict[str, Any] = {} if width is None else {"hidden_sizes": (width, width)}
            algorithm = replace(algorithm, **resized)
            for size in COHORTS:
                rate = updates_per_second(
                    algorithm, tasks[world], size, BATCH_SIZE, seconds, mode, device,
                    config.num_updates,
                )  # fmt: skip
                shown = "table" if width is None else str(width)
                mark = known.get((name, world, shown), "") if size == 1 else ""
                yield name, world, shown, str(size), f"{rate:,.0f}", f"{rate * size:,.0f}", mark


def marks() -> dict[tuple[str, str, str], str]:
    """Return the updates per second of public code, by learner, world and width."""
    with MARKS.open(encoding="utf-8", newline="") as file:
        return {
            (row["algorithm"], row["world"], row["width"]): row["updates_per_second"]
            for row in csv.DictReader(file)
        }


def matrix_product_rate(width: int, seconds: float, device: str) -> float:
    """Return floating-point operations per second of a cohort's matrix products."""
    x = torch.randn(8, BATCH_SIZE, width, device=device)
    weight = torch.randn(8, width, width, device=device)
    start, made = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(10):
            x @ weight
        if device == "cuda":
            torch.cuda.synchronize()
        made += 10
    return made * 2 * 8 * BATCH_SIZE * width**2 / (time.perf_counter() - start)


def _configs(chosen: Sequence[str]) -> Iterator[tuple[str, str, RunConfig]]:
    """Yield the tuned learners with the worlds that they are timed in, one for each class.

    Tables are for those that can do nothing else.
    """
    for name, world, config in _everywhere(chosen):
        if config.dataset.source.facts().tabular == config.algorithm.tabular_only:
            yield name, world, config


def _everywhere(chosen: Sequence[str]) -> Iterator[tuple[str, str, RunConfig]]:
    """Yield the tuned learners with all worlds that they can be in."""
    words = [f"algorithm={','.join(chosen)}", f"dataset={','.join(WORLDS)}", f"seed={SEED}"]
    for settings in Composer(words).jobs():
        config = run_config({k: v for k, v in settings.items() if k not in HARNESS_KEYS})
        facts = config.dataset.source.facts()
        if facts.action_kind in config.algorithm.action_kinds and (
            facts.tabular or not config.algorithm.tabular_only
        ):
            yield config.algorithm_name, config.dataset.name, config
