"""How long a plan's training takes on this machine: every kind of cohort is timed for a moment.

Only of plans that are long by a rough count; whoever looks at a short one wants it at once.
"""

import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch

from bench.cohorts.at_once import updates_at_once
from bench.cohorts.timing import updates_per_second
from bench.data.sources import DataSource
from bench.programs import gpu
from bench.progress.printer import duration
from bench.settings.spec import RunSpec
from bench.sweeps import grouping
from bench.sweeps.execution import HarnessConfig
from bench.sweeps.plan import Plan

# Of one core, by `grouping.seconds`: longer plans are timed.
LONG_SECONDS = 3600.0
SECONDS_EACH = 2.0
SAY_EVERY = 10.0
# Of data that is collected, so many transitions are enough to time an update.
FEW_TRANSITIONS = 2000


class Hours(NamedTuple):
    """Seconds of training.

    Attributes:
        by_algorithm: Of one process, by learner.
        longest: Of the cohort that takes longest, which no other process can help with.
        processes: How many share the work.
    """

    by_algorithm: dict[str, float]
    longest: float
    processes: int

    @property
    def seconds(self) -> float:
        """How long it takes with all processes at work."""
        return max(sum(self.by_algorithm.values()) / self.processes, self.longest)


def print_hours(plan: Plan) -> None:
    """Print how long a long plan takes; nothing of a short one, or of one trained elsewhere."""
    if plan.harness.launcher.engine.elsewhere:
        return
    if sum(map(grouping.seconds, plan.pending)) < LONG_SECONDS:
        return
    found = measured(plan)
    each = ", ".join(f"{name} {duration(s)}" for name, s in sorted(found.by_algorithm.items()))
    print(
        f"About {duration(found.seconds)} of updates on this machine as busy as it is now, with "
        f"{found.processes} processes ({each} of one process), uncompiled; long trainings are "
        "compiled where they can be, and evaluations come on top."
    )


def measured(plan: Plan) -> Hours:
    """Return how long a plan's training takes by the speed of its updates."""
    engine, device = plan.harness.launcher.engine, plan.harness.device
    kinds = {_kind(cohort): cohort for cohort in reversed(plan.cohorts)}
    rates: dict[str, float] = {}
    with _threads(engine.worker_threads()):
        for kind in _told(kinds):
            rates[kind] = _rate(kinds[kind], plan.harness)
    by_algorithm: dict[str, float] = defaultdict(float)
    longest = 0.0
    done = {id(c): f.update for c, f in zip(plan.cohorts, plan.interrupted, strict=False)}
    for cohort in plan.cohorts:
        config = cohort[0].config
        seconds = (config.num_updates - done.get(id(cohort), 0)) / rates[_kind(cohort)]
        by_algorithm[config.algorithm_name] += seconds
        longest = max(longest, seconds)
    return Hours(dict(by_algorithm), longest, engine.sharers(device))


def _told(kinds: Collection[str]) -> Iterator[str]:
    """Yield the kinds that are timed one after another, saying now and then how far that is."""
    noun = "kind" if len(kinds) == 1 else "kinds"
    print(f"Timing {len(kinds)} {noun} of cohorts for a moment each ...", flush=True)
    said = time.monotonic()
    for number, kind in enumerate(kinds):
        if time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            print(f"{number} of {len(kinds)} timed.", flush=True)
        yield kind


def _kind(cohort: list[RunSpec]) -> str:
    """Return what an update's speed depends on: the learner, minibatch, world and company."""
    run = cohort[0]
    algorithm = json.loads(run.cohort_key)[0]
    names = run.config.dataset.source.facts().observation_names
    return json.dumps([algorithm, run.config.batch_size, len(names), len(cohort)], sort_keys=True)


def _rate(cohort: list[RunSpec], harness: HarnessConfig) -> float:
    """Return the updates per second of a cohort, halfway through its training."""
    config = cohort[0].config
    device = "cuda" if harness.device == "cuda" else "cpu"
    if device == "cuda":
        gpu.set_up(config.precision)
    dataset = config.dataset.model_copy(update={"source": _smaller(config.dataset.source)})
    task = dataset.load(None)
    size: Any = config.batch_size
    batch_size = FEW_TRANSITIONS if size == "full" else size
    return updates_per_second(
        config.algorithm, task, len(cohort), batch_size, SECONDS_EACH, "traced", device,
        config.num_updates,
        updates_at_once(harness.updates_per_graph, config.eval_every, device, "traced"),
    )  # fmt: skip


def _smaller(source: DataSource) -> DataSource:
    """Return a source of less data where it is collected first, else the source."""
    given: Any = source
    few = {f.name: FEW_TRANSITIONS for f in fields(given) if f.name == "num_transitions"}
    return replace(given, **few) if source.facts().collected else source


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
