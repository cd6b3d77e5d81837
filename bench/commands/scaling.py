"""How speed grows with the runs of a cohort: what `python -m bench speed --scaling` measures.

Run-updates per second for 1 to 1,024 runs at once, of small networks with small batches, and with
one of width, batch and threads raised. Times are the clock's: the machine should have nothing else
to do.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch

from bench.cohorts.timing import PACED, SEED, finish, pace, ready
from bench.data.sources import Task
from bench.programs.compilation import Mode
from bench.settings.run import RunConfig

SIZES = (1, 4, 16, 64, 256, 1024)
# A curve ends where one update of all runs would take longer, in seconds.
LONGEST = 2.0


class Setting(NamedTuple):
    """Two hidden layers so wide, transitions of a minibatch, and threads."""

    width: int
    batch_size: int
    threads: int


SETTINGS = (Setting(64, 64, 1), Setting(64, 256, 1), Setting(256, 64, 1), Setting(64, 64, 2))


class Point(NamedTuple):
    """Run-updates per second of a cohort of `runs`; `width` is 0 for tables."""

    algorithm: str
    world: str
    width: int
    batch_size: int
    threads: int
    runs: int
    rate: float


def measure(
    configs: Iterator[tuple[str, str, RunConfig]], seconds: float, mode: Mode, device: str
) -> Iterator[Point]:
    """Yield the points of every learner's curves, one by one as they are measured."""
    threads = torch.get_num_threads()
    try:
        for name, world, config in configs:
            data = config.dataset
            task = data.source.load(data.name, SEED, data.discount, None)
            for setting in SETTINGS:
                torch.set_num_threads(setting.threads)
                yield from _curve(name, world, config, task, setting, seconds, mode, device)
    finally:
        torch.set_num_threads(threads)


def _curve(
    name: str,
    world: str,
    config: RunConfig,
    task: Task,
    setting: Setting,
    seconds: float,
    mode: Mode,
    device: str,
) -> Iterator[Point]:
    algorithm, width = config.algorithm, 0
    if task.environment.spec.observation_kind == "vector" and hasattr(algorithm, "hidden_sizes"):
        width = setting.width
        resized: dict[str, Any] = {"hidden_sizes": (width, width)}
        algorithm = replace(algorithm, **resized)
    elif setting.width != SETTINGS[0].width:
        return
    rate = 0.0
    for size in SIZES:
        # At best an update of all takes as much longer as there are more of them.
        if rate and size / rate > LONGEST:
            return
        cohort = ready(algorithm, task, size, setting.batch_size, mode, device, config.num_updates)
        # On a GPU a call is of several updates.
        at_once = 1 if size >= 64 and device == "cpu" else PACED
        rate = size * pace(partial(finish, cohort), seconds, at_once=at_once)
        yield Point(name, world, width, setting.batch_size, setting.threads, size, rate)


def table(points: list[Point]) -> str:
    """Return the points as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Point._fields)
    writer.writerows((*point[:-1], f"{point.rate:.0f}") for point in points)
    return text.getvalue()
