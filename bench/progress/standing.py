"""Where runs stand: what was planned, what became of it, how long the rest may take."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple, get_args

from bench.garbage import all_of_it_stays
from bench.store import heartbeats, manifest
from bench.store.code import fingerprint
from bench.store.folders import SweepFiles
from bench.store.heads import Head
from bench.store.heartbeats import Heartbeat
from bench.store.manifest import Manifest, PlannedRun
from bench.store.record import Status
from bench.store.records import DamagedRecordError, RunStore

State = Literal["completed", "empty", "failed", "stale", "running", "missing"]
# Younger cohorts have not shown yet how fast they are.
TIMED_AFTER = 5.0
NUMBER = re.compile(
    # A line of a file is no number that varies.
    r"\b0x[0-9a-f]+\b|(?<!\.py:)(?<![\w.])[-+]?\d+(\.\d+)?(e[-+]?\d+)?(?!\w)",
    re.IGNORECASE,
)

Kind = tuple[str, str]


class TimeLeft(NamedTuple):
    """How long the rest takes.

    Attributes:
        seconds: For runs whose kind (algorithm and environment) is timed; None without such runs.
        untimed: Runs of other kinds: an update of one may take a thousand times as long as of
            another, so nothing is said of them.
        processes: How many processes share the work; 1 where none is at it.
    """

    seconds: float | None
    untimed: int
    processes: int


class Cause(NamedTuple):
    """Why runs failed: the message without its numbers, how many, and one of them."""

    message: str
    runs: int
    run_id: str


@dataclass(frozen=True, eq=False)
class Standing:
    """Where runs stand: those of an experiment, as its folder tells, or those of a plan.

    Attributes:
        runs: Everything planned or recorded, by run id.
        recorded: What became of those that have a record: its status, or that it is stale.
        heads: What is known of the records, by run id, as far as they were read.
        heartbeats: What was last heard of cohorts in training, those of dead processes included.
        manifests: The commands that planned it, latest first.
        damaged: Files of plans that cannot be read.
    """

    runs: dict[str, PlannedRun]
    recorded: Mapping[str, State]
    heads: Mapping[str, Head] = field(default_factory=dict)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    manifests: list[Manifest] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)

    @cached_property
    def live(self) -> list[Heartbeat]:
        """Cohorts that are being trained as far as one can tell."""
        return [cohort for cohort in self.heartbeats if not cohort.silent]

    @cached_property
    def states(self) -> dict[str, State]:
        """The state of every run; one whose record is about to be replaced is running."""
        in_training = {run_id for cohort in self.live for run_id in cohort.run_ids}
        states: dict[str, State] = {}
        for run_id in self.runs:
            state = self.recorded.get(run_id, "missing")
            done = state in ("completed", "empty")
            states[run_id] = "running" if run_id in in_training and not done else state
        return states

    @property
    def unplanned(self) -> int:
        """How many records no plan names: those of older sweeps or of plans taken back."""
        planned = {run.run_id for plan in self.manifests for run in plan.runs}
        return sum(run_id not in planned for run_id in self.heads)

    def of_plan(self, plan: Manifest, states: Collection[State]) -> set[str]:
        """Return the runs of a plan that are in one of some states."""
        return {run.run_id for run in plan.runs if self.states[run.run_id] in states}


def known(root: Path) -> list[str]:
    """Return the experiments that have a record or a plan."""
    planned = {path.parents[2].name for path in root.glob(f"*/{manifest.FOLDER}/[!.]*.json")}
    return sorted(planned | set(RunStore(root).experiments()))


@all_of_it_stays()
def stand(root: Path, experiment: str) -> Standing:
    """Return where an experiment under a store's root stands.

    Raises:
        DamagedRecordError: If a file of it is not a record; the message names it.
    """
    store, folder = RunStore(root), root / experiment
    heads = {head.run_id: head for head in store.heads(experiment)}
    manifests, damaged = manifest.read(folder)
    runs = {i: _recorded(head, folder) for i, head in heads.items()}
    runs |= {run.run_id: run for plan in manifests for run in plan.runs}
    recorded = {run_id: _state(head) for run_id, head in heads.items()}
    heard = heartbeats.read(SweepFiles(folder).heartbeats)
    return Standing(runs, recorded, heads, heard, manifests, damaged)


def _state(head: Head) -> State:
    today = fingerprint(*head.targets) if head.targets else None
    fresh = today is not None and head.code == today
    status: State = head.status
    return status if fresh else "stale"


def time_left(standing: Standing) -> TimeLeft:
    """Estimate from the speed of what is running and, where none is, of what was recorded."""
    costs = _recorded_costs(standing) | _running_costs(standing)
    left: dict[str, float] = {
        run_id: standing.runs[run_id].num_updates
        for run_id, state in standing.states.items()
        if state in ("missing", "stale")
    }
    processes = max(1, len({(cohort.host, cohort.pid) for cohort in standing.live}))
    longest = 0.0
    for cohort in standing.live:
        own = {i: cohort.num_updates - cohort.update for i in cohort.run_ids if i in standing.runs}
        left |= {i: updates for i, updates in own.items() if standing.states[i] == "running"}
        alone = (updates * costs.get(_kind(standing.runs[i]), 0.0) for i, updates in own.items())
        longest = max(longest, sum(alone))
    untimed = sum(_kind(standing.runs[run_id]) not in costs for run_id in left)
    if left and untimed == len(left):
        return TimeLeft(None, untimed, processes)
    every = sum(n * costs.get(_kind(standing.runs[i]), 0.0) for i, n in left.items())
    # However many share the work, a cohort in training is not shared.
    return TimeLeft(max(every / processes, longest), untimed, processes)


def causes(standing: Standing) -> list[Cause]:
    """Return why runs failed, the most frequent cause first; numbers in messages are left out."""
    groups: dict[str, list[str]] = defaultdict(list)
    for run_id, state in standing.states.items():
        if state == "failed":
            groups[normalised(standing.heads[run_id].error)].append(run_id)
    found = [Cause(message, len(ids), min(ids)) for message, ids in groups.items()]
    return sorted(found, key=lambda cause: (-cause.runs, cause.message))


def normalised(error: str | None) -> str:
    """Return the last line of an error with ``N`` for every number in it."""
    lines = (error or "").strip().splitlines() or ["no cause was recorded"]
    return NUMBER.sub("N", " ".join(lines[-1].split()))


def commands(standing: Standing, *states: State) -> Iterator[tuple[Manifest, int]]:
    """Yield commands that together name all runs in some states, and how many each one adds."""
    listed: set[str] = set()
    concerned = [(plan, standing.of_plan(plan, states)) for plan in standing.manifests]
    for plan, run_ids in sorted(concerned, key=lambda pair: -len(pair[1])):
        if added := run_ids - listed:
            listed |= added
            yield plan, len(added)


def _kind(run: PlannedRun) -> Kind:
    return run.algorithm, run.environment


def _recorded_costs(standing: Standing) -> dict[Kind, float]:
    """Return the seconds that an update of one run took, by kind: the median over records."""
    costs: dict[Kind, list[float]] = defaultdict(list)
    for run_id, head in standing.heads.items():
        run, seconds = standing.runs[run_id], head.wall_seconds
        updates = run.num_updates * (head.cohort_size or 1)
        if seconds and updates:
            costs[_kind(run)].append(seconds / updates)
    return {kind: median(values) for kind, values in costs.items()}


def _running_costs(standing: Standing) -> dict[Kind, float]:
    """Return what an update of one run takes now, by kind: the mean over cohorts in training."""
    timed: dict[Kind, list[tuple[float, int]]] = defaultdict(list)
    for cohort in standing.live:
        ids = [run_id for run_id in cohort.run_ids if run_id in standing.runs]
        seconds, made = cohort.heard - cohort.started, cohort.update - cohort.started_at_update
        if ids and made > 0 and seconds >= TIMED_AFTER:
            timed[_kind(standing.runs[ids[0]])].append((seconds, made * len(cohort.run_ids)))
    return {
        kind: sum(seconds for seconds, _ in pairs) / sum(made for _, made in pairs)
        for kind, pairs in timed.items()
    }


def _recorded(head: Head, folder: Path) -> PlannedRun:
    """Return what a record was planned as, whatever old ones lack."""
    try:
        if head.status not in get_args(Status):
            raise ValueError(f"its status is {head.status!r}")
        return PlannedRun(
            head.run_id,
            str(head.algorithm),
            str(head.environment),
            str(head.degradation),
            float(head.severity),
            head.seed,
            int(head.num_updates),
        )
    except (TypeError, ValueError) as error:
        path = folder / f"{head.run_id}.json"
        raise DamagedRecordError(f"{path} is not a usable run record: {error}.") from error
