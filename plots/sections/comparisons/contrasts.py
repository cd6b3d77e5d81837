"""One algorithm against the others under the same conditions: paired seeds, a joint bootstrap.

Scores are the regret to the best covered policy where it is known, else the regret, in units of
optimum minus uniform. Of one seed the two differ by the same amount for every learner, so that
differences between learners are those of either.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np

from bench.measures.statistics.intervals import Estimate
from bench.measures.statistics.paired import paired_contrast
from bench.store.labels import learner_settings
from bench.store.record import RunRecord
from plots.data.frame import Frame
from plots.data.records import Condition, replicate
from plots.look.links import Anchors, Link
from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.sections import Section, TextFile

PLACE = 7
SETTING = "leader_gradient"
MEASURES = ("regret_to_covered", "regret")
FEWEST_PAIRS = 2
# Differences below this share of optimum - uniform are no differences.
NEGLIGIBLE = 0.01
VERDICTS = ("under", "at", "over")
TELLING = {True: "yes", None: "not known", False: "no"}

Cells = dict[str, list[RunRecord]]


class Contrast(NamedTuple):
    """One variant of the chosen algorithm under one condition.

    Attributes:
        against: ``others``, or ``individual`` where a variant with total gradients is held against
            the one with individual gradients that is like it in all else.
        label: The variant's name in figures.
        measure: What was compared, in units of optimum minus uniform.
        mean: The variant's mean over the paired seeds.
        best_other: The learner with the lowest mean among those it is held against.
        median_mean: Median of their means.
        num_others: How many they are.
        to_best: Mean minus the lowest of theirs.
        to_median: Mean minus the median of theirs.
        num_pairs: Seeds that all of them completed.
    """

    condition: Condition
    informative: bool | None
    against: str
    label: str
    measure: str
    mean: float
    best_other: str
    best_mean: float
    median_mean: float
    num_others: int
    to_best: Estimate
    to_median: Estimate
    num_pairs: int


class Pooled(NamedTuple):
    """The mean of a variant's differences over the conditions not known to tell nothing."""

    against: str
    label: str
    to_best: Estimate
    to_median: Estimate
    num_conditions: int


@dataclass(frozen=True)
class Contrasts:
    """All contrasts of an experiment.

    Attributes:
        rows: One per condition, variant and what it is held against.
        pooled: One per variant and what it is held against.
        num_left_out: Contrasts that fewer than two seeds are left for.
    """

    rows: tuple[Contrast, ...] = ()
    pooled: tuple[Pooled, ...] = ()
    num_left_out: int = 0


def section(frame: Frame) -> Section | None:
    """Return the contrasts, none without the chosen algorithm or without others beside it."""
    found = contrasts(frame)
    if not found.rows:
        return None
    file, link = TextFile("contrasts.csv", contrasts_csv(found.rows)), Anchors(frame).link
    return Section(
        "Against the best of the others", text=contrasts_text(found, link), files=(file,)
    )


def contrasts(frame: Frame) -> Contrasts:
    """Return the chosen algorithm's contrasts, in the order of the frame's situations."""
    by_condition: dict[Condition, Cells] = defaultdict(lambda: defaultdict(list))
    for record in frame.completed():
        if _score(record, "regret") is not None:
            by_condition[frame.places[record.run_id]][frame.labels[record.run_id]].append(record)
    rows: list[Contrast] = []
    tables: dict[tuple[str, str], list[dict[Any, np.ndarray]]] = defaultdict(list)
    num_left_out = 0
    for place in [c for c in frame.situations if c in by_condition]:
        cells = by_condition[place]
        informative = frame.situations[place].informative
        for against, label, others in _opponents(cells, frame.chosen):
            measure = _measure(cells)
            table = _paired({name: cells[name] for name in (label, *others)}, measure)
            if len(table) < FEWEST_PAIRS:
                num_left_out += 1
                continue
            rows.append(_contrast(place, informative, against, label, others, measure, table))
            if informative is not False:
                tables[against, label].append(table)
    pooled = [Pooled(*key, *_bootstrap(found), len(found)) for key, found in tables.items()]
    return Contrasts(tuple(rows), tuple(sorted(pooled, key=_variant)), num_left_out)


def verdict(difference: Estimate) -> str:
    """Return ``under``, ``at`` or ``over``: where the interval lies, and whether it matters."""
    if difference.low <= 0 <= difference.high or abs(difference.point) < NEGLIGIBLE:
        return "at"
    return "under" if difference.high < 0 else "over"


def contrasts_csv(rows: tuple[Contrast, ...]) -> str:
    """Return all contrasts, one line each; an `informative` that is not known is left empty."""
    place = ["environment", "degradation", "severity", "informative", "against", "learner"]
    means = ["measure", "mean", "best_other", "best_mean", "median_mean", "num_others", "num_pairs"]
    lines: list[dict[str, Any]] = []
    for row in rows:
        line = row._asdict() | vars(row.condition) | {"learner": row.label}
        for which in ("to_best", "to_median"):
            difference = line[which]
            ends = (which, f"{which}_low", f"{which}_high")
            line |= zip(ends, difference[:3], strict=True)
            line[f"{which}_verdict"] = verdict(difference)
        lines.append(line)
    suffixes = ("", "_low", "_high", "_verdict")
    differences = [f"{which}{suffix}" for which in ("to_best", "to_median") for suffix in suffixes]
    return csv_table([*place, *means, *differences], lines)


def _opponents(cells: Cells, chosen: str) -> list[tuple[str, str, list[str]]]:
    """Return (against, label, labels it is held against) for every contrast of a condition."""
    algorithms = {label: runs[0].algorithm for label, runs in cells.items()}
    own = sorted(label for label, algorithm in algorithms.items() if algorithm == chosen)
    others = sorted(set(cells) - set(own))
    found = [("others", label, others) for label in own if others]
    settings = {label: dict(learner_settings(cells[label][0])) for label in own}
    gradients = {label: settings[label].pop(SETTING, None) for label in own}
    found += [
        ("individual", total, [individual])
        for total in own
        for individual in own
        if (gradients[total], gradients[individual]) == ("total", "individual")
        and settings[total] == settings[individual]
    ]
    return found


def _contrast(
    place: Condition,
    informative: bool | None,
    against: str,
    label: str,
    others: list[str],
    measure: str,
    table: dict[Any, np.ndarray],
) -> Contrast:
    means = np.mean(list(table.values()), axis=0)
    best = int(np.argmin(means[1:]))
    to_best, to_median = _bootstrap([table])
    return Contrast(
        condition=place,
        informative=informative,
        against=against,
        label=label,
        measure=measure,
        mean=float(means[0]),
        best_other=others[best],
        best_mean=float(means[1 + best]),
        median_mean=float(np.median(means[1:])),
        num_others=len(others),
        to_best=to_best,
        to_median=to_median,
        num_pairs=len(table),
    )


def _bootstrap(tables: list[dict[Any, np.ndarray]]) -> tuple[Estimate, Estimate]:
    """Return the mean differences to best and median over tables of scores by seed."""
    seeds = sorted(set().union(*tables), key=str)
    cells = []
    for table in tables:
        lacking = np.full(len(next(iter(table.values()))), np.nan)
        cells.append(np.stack([table.get(seed, lacking) for seed in seeds], axis=1))
    # A fresh generator per contrast: no interval depends on which others exist.
    found = paired_contrast(cells, np.random.default_rng(0))
    return found.best, found.median


def _paired(cells: Cells, measure: str) -> dict[Any, np.ndarray]:
    """Return per seed that all cells have their scores ``[learners]``, in the order of `cells`."""
    columns = []
    for runs in cells.values():
        scores: dict[Any, list[float]] = defaultdict(list)
        for record in runs:
            score = _score(record, measure)
            if score is not None:
                scores[replicate(record)].append(score)
        # Records that repeat a seed are one draw of it, not several.
        columns.append({seed: float(np.mean(repeated)) for seed, repeated in scores.items()})
    shared = set.intersection(*(set(column) for column in columns))
    return {
        seed: np.array([column[seed] for column in columns]) for seed in sorted(shared, key=str)
    }


def _measure(cells: Cells) -> str:
    """Return the first measure that all runs of the condition have."""
    runs = [record for group in cells.values() for record in group]
    return next(m for m in MEASURES if all(_score(record, m) is not None for record in runs))


def _score(record: RunRecord, measure: str) -> float | None:
    """Return a final number in units of optimum minus uniform, None if either is not known."""
    score = record.final.get(measure)
    optimum, uniform = record.values.get("optimum"), record.values.get("uniform")
    if score is None or optimum is None or uniform is None or optimum <= uniform:
        return None
    return float(score / (optimum - uniform))


def _variant(row: Contrast | Pooled) -> tuple[bool, str]:
    """Return what sorts variants by name, those against the others first."""
    return row.against != "others", row.label


def contrasts_text(found: Contrasts, link: Link) -> str:
    """Return the tables of verdicts, what they mean, and the pooled differences in sentences."""
    seeds = [row.num_pairs for row in found.rows]
    parts = []
    for against, name in (("others", "the best of the others"), ("individual", "individual")):
        rows = [row for row in found.rows if row.against == against]
        if not rows:
            continue
        if against == "individual":
            parts.append("Total gradients against individual ones, all else being equal:")
        parts.append(verdict_table(rows, link).rstrip())
        pooled = [
            _sentence(entry, name, link) for entry in found.pooled if entry.against == against
        ]
        parts += pooled
    few, many = min(seeds), max(seeds)
    left_out = f" Contrasts left out for want of two paired seeds: {found.num_left_out}."
    parts.append(
        "Counts are of conditions, by whether they can tell methods apart. Learners are paired by "
        f"seed ({few if few == many else f'{few} to {many}'} pairs per condition) and the best of "
        "the others, which are learners of other algorithms, is chosen anew in every resample. "
        "The lowest of several noisy means lies too low, so where others are about equal the "
        "difference to the best of them, pooled or not, errs upward: `under` is rarer than its "
        "interval says, and `over` more frequent. "
        "`under`: the 95 % interval of the difference lies below 0; `over`: above 0; `at`: it "
        f"holds 0 or the difference is smaller than {NEGLIGIBLE:g} of what lies between uniform "
        "policy and optimum. An `at` may also mean that there are too few seeds to tell; "
        f"`estimate at or under` counts the differences below {NEGLIGIBLE:g}, whatever their "
        "interval."
        + left_out * (found.num_left_out > 0)
        + " All differences are in [contrasts.csv](contrasts.csv)."
    )
    return "\n\n".join(parts)


def verdict_table(rows: Iterable[Contrast], link: Link) -> str:
    """Return counts of verdicts per learner, environment and degradation, in Markdown.

    They lead to the first of the cells that they count.
    """
    groups: dict[tuple[str, str, str, str], list[Contrast]] = {}
    for row in rows:
        environment, degradation, _ = astuple(row.condition)
        place = (row.label, environment, degradation, TELLING[row.informative])
        groups.setdefault(place, []).append(row)
    # Opponents of whom there is one have no median worth a column.
    with_median = any(row.num_others > 1 for group in groups.values() for row in group)
    columns = [*VERDICTS, "estimate at or under"]
    columns = ["learner", "environment", "degradation", "tells apart", *columns]
    columns += [f"{word} median" for word in VERDICTS] * with_median
    lines = []
    order = list(TELLING.values())
    labels = sorted({place[0] for place in groups})
    # The sort is stable: within a learner, environments stay in the order of the frame.
    for place in sorted(groups, key=lambda p: (labels.index(p[0]), order.index(p[3]) > 1)):
        group = groups[place]
        best = [verdict(row.to_best) for row in group]
        median = [verdict(row.to_median) for row in group]
        numbers = [best.count(word) for word in VERDICTS]
        numbers.append(sum(row.to_best.point < NEGLIGIBLE for row in group))
        numbers += [median.count(word) for word in VERDICTS] * with_median
        linked = [link(str(number), place[0], group[0].condition) for number in numbers]
        lines.append([*map(escape_markdown, place), *linked])
    return markdown_table(columns, lines, 4)


def _sentence(pooled: Pooled, name: str, link: Link) -> str:
    label, difference = escape_markdown(pooled.label), pooled.to_best
    number = link(f"{difference.point:+.3f}", pooled.label, None)
    return (
        f"{label}: over {pooled.num_conditions} conditions not known to tell "
        f"nothing, the mean difference to {name} is {number} (95 % interval "
        f"{difference.low:+.3f} to {difference.high:+.3f}, seeds resampled jointly over the "
        "conditions, in units of optimum minus uniform)."
    )
