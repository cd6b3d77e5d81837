"""From records to a paper's table: conditions by learners, published numbers beside ours.

Every cell is the mean and the standard deviation (ddof 1) over runs, the run being the unit of
replication. Where there is no number there is a reason.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

from scipy.special import stdtrit

from bench.store.record import RunRecord
from plots.data.frame import Frame, Learner
from plots.data.records import Condition, error_line, flatten
from plots.papertables.reported import Reported, Rule, Source, reported_scores
from plots.papertables.scores import NUMBER, behavior_score, scores

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Entry:
    """One learner under one condition.

    Attributes:
        by_rule: The scores of the runs that have one, by rule.
        rule: The rule of the table.
        num_runs: Runs that were recorded, with a score or without.
        reason: Why some have no score, empty where all have one.
        bold: Whether it lies within the interval of the best of its row.
    """

    by_rule: Mapping[Rule, tuple[float, ...]]
    rule: Rule
    num_runs: int
    reason: str = ""
    bold: bool = False

    @property
    def mean(self) -> float | None:
        """The mean over runs, None without any."""
        return mean_std(self.by_rule[self.rule])[0]

    @property
    def std(self) -> float | None:
        """The standard deviation over runs, None of fewer than two."""
        return mean_std(self.by_rule[self.rule])[1]


@dataclass(frozen=True)
class Row:
    """One condition: what learners score there, and what was published, by place of column.

    `behavior` is the score of who collected the data, the mean over seeds.
    """

    condition: Condition
    group: tuple[str, str, float]
    entries: tuple[Entry, ...]
    behavior: float | None
    published: tuple[Reported | None, ...]


@dataclass(frozen=True)
class Average:
    """Means over the rows of a group that all learners with any number in it have."""

    group: tuple[str, str, float]
    num_rows: int
    of: int
    means: tuple[float | None, ...]
    published: tuple[float | None, ...]


@dataclass(frozen=True)
class PaperTable:
    """A table as it is printed, whatever the format.

    Attributes:
        rule: Which evaluations of a run count.
        learners: Its columns.
        sources: Further columns: whose published number for which learner.
        rows: By group.
        averages: One per group.
        records: All runs of the experiment, evaluations and all.
    """

    experiment: str
    rule: Rule
    learners: tuple[Learner, ...]
    sources: tuple[tuple[Learner, Source], ...]
    rows: tuple[Row, ...]
    averages: tuple[Average, ...]
    records: tuple[RunRecord, ...]

    @property
    def reasons(self) -> list[str]:
        """Why numbers are missing, each once, in the order in which they are first needed."""
        return list(dict.fromkeys(e.reason for row in self.rows for e in row.entries if e.reason))


def mean_std(values: Iterable[float]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation with ddof 1; None where there are too few values."""
    known = list(values)
    return (
        fmean(known) if known else None,
        stdev(known) if len(known) > 1 else None,
    )


def lower_end(values: tuple[float, ...]) -> float:
    """Return the lower end of Student's 95 % interval of a mean; of one value, the value."""
    mean, std = mean_std(values)
    assert mean is not None
    if std is None:
        return mean
    return mean - float(stdtrit(len(values) - 1, 0.5 + CONFIDENCE / 2)) * std / sqrt(len(values))


def build_table(
    frame: Frame, whole: Iterable[RunRecord], absent: Mapping[str, str], rule: Rule
) -> PaperTable:
    """Return the table of an experiment.

    Args:
        frame: Its cells.
        whole: Its records with all their evaluations.
        absent: Why data was not there, by environment; only what has no record counts.
        rule: Which evaluations of a run count.
    """
    records = tuple(sorted(whole, key=lambda r: r.run_id))
    by_cell: dict[tuple[Condition, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        by_cell[frame.places[record.run_id], frame.labels[record.run_id]].append(record)
    holes = {name: why for name, why in absent.items() if name not in frame.environments}
    kinds = {r.environment: str(r.config["dataset"].get("target", "")) for r in records}
    conditions = [*frame.situations, *_holes(frame, holes)]
    groups = {c: (kinds.get(c.environment, _only(kinds)), *_loss(c)) for c in conditions}
    order = list(dict.fromkeys(groups[c] for c in conditions))
    conditions.sort(key=lambda c: (order.index(groups[c]), c.environment))
    known = {learner: _published(records, frame, learner.label) for learner in frame.learners}
    sources = tuple(
        (learner, source)
        for learner, found in known.items()
        for source in _shown_sources(found.values(), conditions, rule)
    )
    rows = []
    for condition in conditions:
        entries = [
            _entry(by_cell[condition, x.label], rule, holes.get(condition.environment))
            for x in frame.learners
        ]
        published = [
            known[learner].get((condition.environment, source.source, rule))
            or known[learner].get((condition.environment, source.source, None))
            if condition.degradation == "none"
            else None
            for learner, source in sources
        ]
        cells = [by_cell[condition, x.label] for x in frame.learners]
        behavior = mean_std(score for runs in cells for r in runs for score in behavior_score(r))[0]
        emphasized = _emphasized(entries)
        rows.append(Row(condition, groups[condition], emphasized, behavior, tuple(published)))
    averages = [_average(group, [r for r in rows if r.group == group]) for group in order]
    return PaperTable(
        frame.experiment,
        rule,
        frame.learners,
        sources,
        tuple(rows),
        tuple(average for average in averages if average is not None),
        records,
    )


def _loss(condition: Condition) -> tuple[str, float]:
    return condition.degradation, condition.severity


def _only(kinds: Mapping[str, str]) -> str:
    """Return the kind of data that all of the table is of, empty where there are several."""
    return next(iter(kinds.values())) if len(set(kinds.values())) == 1 else ""


def _holes(frame: Frame, holes: Mapping[str, str]) -> list[Condition]:
    losses = dict.fromkeys(map(_loss, frame.situations))
    return [Condition(name, *loss) for name in holes for loss in losses]


def _entry(records: list[RunRecord], rule: Rule, hole: str | None) -> Entry:
    """Return a cell, with the first reason why it or a part of it has no number."""
    by_rule: dict[Rule, list[float]] = {"last": [], "best": [], "last10": []}
    reasons = []
    for record in records:
        found = scores(record)
        for name, score in found.items():
            if score is not None:
                by_rule[name].append(score)
        if found[rule] is None:
            reasons.append(_reason(record))
    if not records:
        reasons.append(hole or "not trained")
    scored = {name: tuple(values) for name, values in by_rule.items()}
    return Entry(scored, rule, len(records), reasons[0] if reasons else "")


def _reason(record: RunRecord) -> str:
    if record.status == "failed":
        return f"failed: {error_line(record)}"
    if record.status == "empty":
        return "the degradation left no data"
    if record.evaluation_reason:
        return f"not evaluated: {record.evaluation_reason}"
    if record.final.get("normalized_score") is None:
        return "no returns are known that a score could be scaled by"
    return f"fewer than {NUMBER} evaluations"


def _emphasized(entries: list[Entry]) -> tuple[Entry, ...]:
    """Return a row's entries with those in bold that lie within the interval of the best."""
    means = [entry.mean for entry in entries if entry.mean is not None]
    if not means:
        return tuple(entries)
    best = next(entry for entry in entries if entry.mean == max(means))
    least = lower_end(best.by_rule[best.rule])
    return tuple(
        Entry(e.by_rule, e.rule, e.num_runs, e.reason, e.mean is not None and e.mean >= least)
        for e in entries
    )


def _average(group: tuple[str, str, float], rows: list[Row]) -> Average | None:
    means = [[entry.mean for entry in row.entries] for row in rows]
    there = [place for place in range(len(means[0])) if any(m[place] is not None for m in means)]
    complete = [
        (row, m) for row, m in zip(rows, means, strict=True) if all(m[p] is not None for p in there)
    ]
    if not there or not complete:
        return None
    columns = zip(*(row.published for row, _ in complete), strict=True)
    return Average(
        group,
        len(complete),
        len(rows),
        tuple(
            mean_std(mean for mean in column if mean is not None)[0]
            for column in zip(*(m for _, m in complete), strict=True)
        ),
        tuple(fmean(r.score for r in column if r) if all(column) else None for column in columns),
    )


def matching(record: RunRecord) -> list[Reported]:
    """Return the published numbers of a run's learner, on whatever data."""
    own = flatten(record.config.get("algorithm", {}))
    return [
        r
        for r in reported_scores()
        if r.algorithm == record.algorithm
        and all(own.get(key) == value for key, value in r.settings.items())
    ]


def _published(
    records: Iterable[RunRecord], frame: Frame, label: str
) -> dict[tuple[str, str, Rule | None], Reported]:
    """Return what was published of a learner, by dataset, source and rule."""
    record = next(r for r in records if frame.labels[r.run_id] == label)
    return {(r.dataset_id, r.source.source, r.rule): r for r in matching(record)}


def _shown_sources(
    found: Iterable[Reported], conditions: Iterable[Condition], rule: Rule
) -> list[Source]:
    """Return whose numbers stand beside ours: those by the same rule, else those by none stated."""
    rows = {c.environment for c in conditions}
    here = [r for r in found if r.dataset_id in rows]
    same = [r.source for r in here if r.rule == rule]
    return list(dict.fromkeys(same or [r.source for r in here if r.rule is None]))
