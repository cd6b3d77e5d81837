"""What a sweep's records say at first sight: at most three sentences with numbers.

Learners are compared over the conditions that all of them have and that are not known to tell
nothing apart, each learner paired with the next one by seed. Who leads is picked by the same runs,
but against the next one and not against the worst, so that this favours it little.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bench.measures.statistics.intervals import Estimate
from bench.measures.statistics.paired import paired_contrast
from bench.measures.statistics.telling import tells_apart
from bench.measures.statistics.worst import worst_cases
from bench.store.conditions import Condition, condition, replicate
from bench.store.labels import degradation_labels, learner_labels
from bench.store.record import RunRecord

MEASURE = "normalized_regret"
# Below this, intervals hold the truth in clearly less than the 95 % that they are named after.
ENOUGH_SEEDS = 10


class Scores(NamedTuple):
    """Normalized regrets of one sweep.

    Attributes:
        seeds: All replications, the columns of cells.
        cells: Per condition and learner a row ``[seeds]``, NaN where a run is lacking.
        telling: Whether a condition can tell methods apart, None where that is not known.
    """

    seeds: list[tuple[int, object]]
    cells: dict[Condition, dict[str, np.ndarray]]
    telling: dict[Condition, bool | None]


def findings(records: Iterable[RunRecord]) -> list[str]:
    """Return the main findings, nothing where there are no two learners and no two severities."""
    scores = _scores(records)
    found = [*_comparison(scores), *_growth(scores)]
    number = len(scores.seeds)
    if found and number < ENOUGH_SEEDS:
        worth = "no interval can be had" if number == 1 else "only large differences are safe"
        found[-1] += f" With {number} seed{'s' * (number > 1)}, {worth}."
    return found


def _scores(records: Iterable[RunRecord]) -> Scores:
    runs = [r for r in records if r.final.get(MEASURE) is not None]
    learners, losses = learner_labels(runs), degradation_labels(runs)
    seeds = sorted({replicate(r) for r in runs}, key=str)
    column = {seed: number for number, seed in enumerate(seeds)}
    cells: dict[Condition, dict[str, np.ndarray]] = defaultdict(dict)
    faced: dict[Condition, list[RunRecord]] = defaultdict(list)
    for run in sorted(runs, key=lambda r: r.run_id):
        place = replace(condition(run), degradation=losses[run.run_id])
        faced[place].append(run)
        row = cells[place].setdefault(learners[run.run_id], np.full(len(seeds), np.nan))
        row[column[replicate(run)]] = run.final[MEASURE]
    telling = {place: tells_apart(r.values for r in own) for place, own in faced.items()}
    return Scores(seeds, dict(cells), telling)


def _comparison(scores: Scores) -> list[str]:
    """Return who has the lowest mean and who the lowest worst case, of the largest field."""
    fields = defaultdict(list)
    having: dict[str, set[str]] = defaultdict(set)
    for place, rows in scores.cells.items():
        having[place.environment] |= rows.keys()
    for place, rows in scores.cells.items():
        everyone = tuple(sorted(having[place.environment]))
        if scores.telling[place] is not False and len(everyone) > 1 and len(rows) == len(everyone):
            fields[everyone].append(place)
    if not fields:
        return []
    learners, places = max(fields.items(), key=lambda field: (len(field[1]), field[0]))
    cells = {place: np.stack([scores.cells[place][name] for name in learners]) for place in places}
    # One stratum: conditions that share seeds are not independent.
    cases = worst_cases([np.stack(list(cells.values()), axis=1)])
    first, second, *_ = sorted(range(len(learners)), key=lambda i: cases[i].mean.point)
    mean = (
        f"Lowest mean normalized regret over {_named(places, scores)}: {learners[first]} "
        f"({_shown(cases[first].mean)}); {learners[second]} is next, "
        f"{_difference([rows[[second, first]] for rows in cells.values()])}."
    )
    if len(places) == 1:
        return [mean]
    best, other, *_ = sorted(range(len(learners)), key=lambda i: cases[i].worst.point)
    place = places[cases[best].worst_cell[1]]
    worst = (
        f"Lowest worst case among them: {learners[best]}, {_shown(cases[best].worst)} in "
        f"{place.environment}, {_lost(place)}; {learners[other]} is next "
        f"with {_shown(cases[other].worst)}."
    )
    return [mean, worst]


def _named(places: list[Condition], scores: Scores) -> str:
    """Return how many conditions are compared, and in what if that is not all of the sweep's."""
    environments = sorted({place.environment for place in places})
    everywhere = len(environments) == len({place.environment for place in scores.cells})
    unknown = sum(scores.telling[place] is None for place in places)
    can = f"that can{' or may' * (unknown > 0)} tell methods apart"
    where = "" if everywhere else f" in {', '.join(environments)}"
    return f"{len(places)} condition{'s' * (len(places) > 1)} {can}{where}"


def _growth(scores: Scores) -> list[str]:
    """Return by how much regret grows from severity 0 to the highest, over all learners and most
    and least of them.
    """
    highest = max((place.severity for place in scores.cells), default=0.0)
    by_learner: dict[str, list[np.ndarray]] = defaultdict(list)
    for place, rows in scores.cells.items():
        whole = scores.cells.get(Condition(place.environment, "none", 0.0), {})
        for name in rows.keys() & whole.keys() if place.severity == highest > 0 else ():
            pair = np.stack([rows[name], whole[name]])
            if not np.isnan(pair).any(axis=0).all():
                by_learner[name].append(pair)
    if not by_learner:
        return []
    grown = {name: _contrast(pairs) for name, pairs in by_learner.items()}
    everything = _contrast([pair for name in sorted(by_learner) for pair in by_learner[name]])
    said = (
        f"From severity 0 to {highest:g}, normalized regret changes by {_shown(everything, '+')}"
        f"{' in the mean over learners' if len(grown) > 1 else ''}"
    )
    if len(grown) > 1:
        least, *_, most = sorted(grown, key=lambda name: (grown[name].point, name))
        said += f": least for {least} ({grown[least].point:+.3f}), "
        said += f"most for {most} ({grown[most].point:+.3f})"
    return [f"{said}."]


def _contrast(pairs: list[np.ndarray]) -> Estimate:
    """Return the mean over cells ``[2, seeds]`` of the first row minus the second."""
    return paired_contrast(pairs, np.random.default_rng(0)).best


def _difference(pairs: list[np.ndarray]) -> str:
    """Return by how much the first row lies above the second, and whether that is chance."""
    paired = [pair for pair in pairs if not np.isnan(pair).any(axis=0).all()]
    if not paired:
        return "with no seed in common"
    found = _contrast(paired)
    chance = ", within chance" if found.num_runs > 1 and found.low <= 0 <= found.high else ""
    return f"higher by {_shown(found)}{chance}"


def _shown(estimate: Estimate, sign: str = "") -> str:
    """Return a number with its interval, which a single seed does not give."""
    point, low, high = (f"{round(x, 3) + 0.0:{sign}.3f}" for x in estimate[:3])
    return point if low == high else f"{point}, 95 % interval {low} to {high}"


def _lost(place: Condition) -> str:
    return "nothing removed" if place.severity == 0 else f"{place.degradation} {place.severity:g}"
