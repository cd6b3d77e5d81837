"""How fast a cohort's updates are on this machine."""

import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from algorithms.base import Algorithm
from bench.cohorts.at_once import updates_at_once
from bench.cohorts.cohort import Cohort, Member
from bench.data.sources import Task
from bench.programs.compilation import Mode

# Whichever it is, the speed is the same.
SEED = 0
# Updates that are timed together: enough for a clock to see.
PACED = 20
# Updates; no setting that a learner has here makes one another at a longer interval.
LOOKED_AHEAD = 1001


def updates_per_second(
    algorithm: Algorithm,
    task: Task,
    size: int,
    batch_size: int,
    seconds: float,
    mode: Mode,
    device: str,
    num_updates: int,
    at_once: int | None = None,
) -> float:
    """Return the updates per second of each run of a cohort, minibatches included.

    Args:
        algorithm: The learner.
        task: The data of all runs.
        size: Their number.
        batch_size: Transitions of a minibatch.
        seconds: How long to look.
        mode: How updates are made.
        device: Where.
        num_updates: Of a whole training, whose middle is timed: a learner that begins by cloning
            does other work later.
        at_once: Of a call, on a GPU; None is as many as it would be for rare evaluations.
    """
    cohort = ready(algorithm, task, size, batch_size, mode, device, num_updates, at_once)
    number = cohort.updates_at_once
    # Whole calls.
    return pace(partial(finish, cohort), seconds, at_once=-(-PACED // number) * number)


def ready(
    algorithm: Algorithm,
    task: Task,
    size: int,
    batch_size: int,
    mode: Mode,
    device: str,
    num_updates: int,
    at_once: int | None = None,
) -> Cohort:
    """Return a cohort, its arguments as above, whose next updates take what most will."""
    members = [Member(algorithm, SEED + run, task.data, task.data) for run in range(size)]
    number = at_once or updates_at_once("auto", PACED, device, mode)
    cohort = Cohort(members, batch_size, device=device, mode=mode, at_once=number)
    # Calls of several updates start at multiples of their number.
    cohort.step = first = num_updates // 2 // number * number
    # All variants of an update that are to come are traced before timing: those, say, that copy a
    # target every so often.
    last = min(num_updates, first + LOOKED_AHEAD)
    to_come = [algorithm.phase(step) for step in range(first, max(last, first + 1))]
    finish(cohort, max(2, 1 + max(map(to_come.index, set(to_come)))))
    if number > 1:
        finish(cohort, max(0, first + _until_replayed(to_come, number) - cohort.step))
        finish(cohort, -cohort.step % number)
    return cohort


def _until_replayed(phases: list[int], number: int) -> int:
    """Return the updates after which all kinds of calls that are met again are replayed."""
    calls = [tuple(phases[i : i + number]) for i in range(0, len(phases) - number + 1, number)]
    met = [calls[:i].count(call) for i, call in enumerate(calls)]
    return number * max((i + 1 for i, times in enumerate(met) if times == 1), default=0)


def pace(
    advance: Callable[[int], object],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    at_once: int = PACED,
) -> float:
    """Return updates per second by a clock, looking so long; `advance` makes so many at once."""
    start, made, passed = clock(), 0, 0.0
    # A clock may stand still for a while.
    while passed <= 0 or passed < seconds:
        advance(at_once)
        made += at_once
        passed = clock() - start
    return made / passed


def finish(cohort: Cohort, updates: int) -> None:
    """Make updates and wait for them."""
    for _ in cohort.train(updates):
        pass
    if cohort.device.type == "cuda":
        torch.cuda.synchronize()


def machine() -> str:
    """Return the name of the processor, where the system tells it."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text("utf-8").splitlines() if told.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
