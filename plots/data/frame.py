"""From records to cells: one aggregate per environment, degradation, severity and learner.

A cell's scores are the final evaluations of its completed runs, one per seed. Their aggregate is
the interquartile mean with a 95 % bootstrap interval over runs.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from bench.measures.statistics.aggregates import pooled_interquartile_mean
from bench.measures.statistics.intervals import Estimate, Resampled
from bench.store.labels import degradation_labels, learner_labels
from bench.store.record import RunRecord
from plots.data.records import Condition, condition, replicate
from plots.data.surroundings import Situation, Surroundings, situation, surroundings

# Whose regret is held against the others' unless another is named.
CHOSEN = "stackelberg"
MEASURES = ("normalized_regret", "regret_to_covered", "regret_to_support", "improvement")


class Learner(NamedTuple):
    """A curve: its label, its algorithm and its place among that algorithm's variants."""

    label: str
    algorithm: str
    variant: int


@dataclass(frozen=True)
class Cell:
    """One learner under one condition.

    Attributes:
        num_runs: Completed runs, those that the estimates are of.
        num_empty: Runs whose degradation left no data.
        num_failed: Runs that ended in an error.
        num_missing: Runs that this cell lacks although another cell of the environment has them.
        num_repeated: Runs beyond the first for the same seed.
        estimates: Per measure the aggregate; measures that no run of the cell has are absent.
    """

    num_runs: int
    num_empty: int
    num_failed: int
    num_missing: int
    num_repeated: int
    estimates: dict[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """All records and cells of one experiment, in the order in which they are shown.

    Attributes:
        records: By run id.
        labels: Per run id the learner's label.
        places: Per run id the run's condition, its degradation named as in figures.
        left_out: Per environment what is not drawn of it, a sentence; of most there is none.
        chosen: The algorithm that is held against the others.
        measure: The one measure that figures are asked for, None for all that there are.
    """

    experiment: str
    records: tuple[RunRecord, ...]
    labels: dict[str, str]
    places: dict[str, Condition]
    environments: dict[str, Surroundings]
    degradations: tuple[str, ...]
    learners: tuple[Learner, ...]
    situations: dict[Condition, Situation]
    cells: dict[tuple[Condition, str], Cell]
    left_out: dict[str, str] = field(default_factory=dict)
    chosen: str = CHOSEN
    measure: str | None = None

    def conditions(self, environment: str, degradation: str | None = None) -> list[Condition]:
        """Return an environment's conditions by severity, all of them or one degradation's."""
        return [
            c
            for c in self.situations
            if c.environment == environment and degradation in (None, c.degradation)
        ]

    def curve(self, environment: str, degradation: str) -> list[Condition]:
        """Return the conditions of one panel by severity; all panels share severity 0."""
        degraded = self.conditions(environment, degradation)
        if degradation == "none" or not degraded:
            return degraded
        return self.conditions(environment, "none") + degraded

    def has(self, environment: str, measure: str) -> bool:
        """Return whether any cell of the environment has the measure."""
        return any(
            measure in cell.estimates
            for (c, _), cell in self.cells.items()
            if c.environment == environment
        )

    def completed(self) -> list[RunRecord]:
        """Return the records of the runs that completed."""
        return [record for record in self.records if record.status == "completed"]


def build_frame(
    experiment: str,
    records: Iterable[RunRecord],
    left_out: dict[str, str] | None = None,
    chosen: str = CHOSEN,
    measure: str | None = None,
) -> Frame:
    """Return the cells of an experiment's records; the records' order does not matter."""
    records = tuple(sorted(records, key=lambda r: r.run_id))
    labels = learner_labels(records)
    losses = degradation_labels(records)
    places = {r.run_id: replace(condition(r), degradation=losses[r.run_id]) for r in records}
    environments = _environments(records)
    order = list(environments)
    present = sorted(
        set(places.values()),
        key=lambda c: (order.index(c.environment), c.severity > 0, c.degradation, c.severity),
    )
    degraded = sorted({c.degradation for c in present if c.severity > 0})
    by_condition: dict[Condition, list[RunRecord]] = defaultdict(list)
    by_cell: dict[tuple[Condition, str], list[RunRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda r: (str(replicate(r)), r.run_id)):
        by_condition[places[record.run_id]].append(record)
        by_cell[places[record.run_id], labels[record.run_id]].append(record)
    replicates = {
        name: {replicate(r) for r in records if r.environment == name} for name in environments
    }
    return Frame(
        experiment=experiment,
        records=records,
        labels=labels,
        places=places,
        environments=environments,
        degradations=tuple(degraded or ["none"]),
        learners=_learners({labels[r.run_id]: r.algorithm for r in records}),
        situations={c: situation(by_condition[c]) for c in present},
        cells={
            key: _cell(runs, len(replicates[key[0].environment])) for key, runs in by_cell.items()
        },
        left_out=left_out or {},
        chosen=chosen,
        measure=measure,
    )


def _learners(algorithms: dict[str, str]) -> tuple[Learner, ...]:
    learners = []
    variants: Counter[str] = Counter()
    for label, algorithm in sorted(algorithms.items(), key=lambda pair: (pair[1], pair[0])):
        learners.append(Learner(label, algorithm, variants[algorithm]))
        variants[algorithm] += 1
    return tuple(learners)


def _environments(records: Iterable[RunRecord]) -> dict[str, Surroundings]:
    """Return the environments, exactly solved ones first."""
    runs: dict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        runs[record.environment].append(record)
    found = {name: surroundings(group) for name, group in runs.items()}
    return dict(sorted(found.items(), key=lambda pair: (not pair[1].exact, pair[0])))


def _cell(records: list[RunRecord], num_replicates: int) -> Cell:
    counts = Counter(record.status for record in records)
    seeds = {replicate(record) for record in records}
    estimates = {}
    for measure in MEASURES:
        scores = [r.final.get(measure) for r in records if r.status == "completed"]
        known = np.array([score for score in scores if score is not None], dtype=float)
        if known.size:
            estimates[measure] = Resampled([known]).percentile(pooled_interquartile_mean)
    return Cell(
        num_runs=counts["completed"],
        num_empty=counts["empty"],
        num_failed=counts["failed"],
        num_missing=max(num_replicates - len(seeds), 0),
        num_repeated=len(records) - len(seeds),
        estimates=estimates,
    )
