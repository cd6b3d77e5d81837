"""How fast a cohort's updates are on this machine."""

import time

import torch

from algorithms.base import Algorithm
from bench.cohorts.cohort import Cohort, Member
from bench.data.sources import Task
from bench.programs.compilation import Mode

# Whichever it is, the speed is the same.
SEED = 0


def updates_per_second(
    algorithm: Algorithm,
    task: Task,
    size: int,
    batch_size: int,
    seconds: float,
    mode: Mode,
    device: str,
    step: int = 0,
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
        step: Which update is taken for the first: a learner that begins by cloning does other work
            later.
    """
    members = [Member(algorithm, SEED + run, task.data, task.data) for run in range(size)]
    cohort = Cohort(members, batch_size, device=device, mode=mode)
    cohort.step = step
    # All variants of an update that copies a target every so often are traced before timing.
    _finish(cohort, max(2, getattr(algorithm, "target_interval", 0) + 1), device)
    start, made = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        _finish(cohort, 20, device)
        made += 20
    return made / (time.perf_counter() - start)


def _finish(cohort: Cohort, updates: int, device: str) -> None:
    for _ in cohort.train(updates):
        pass
    if device == "cuda":
        torch.cuda.synchronize()
