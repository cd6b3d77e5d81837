"""Regret over two settings of one learner, to see how sensitive it is to them.

There is a heat map for any two settings of which an experiment holds every combination, all others
at the value that most of its runs have. A cell is the mean over the same data and seeds as its
neighbours'.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.results import RunRecord
from plots.labels import learner_settings
from plots.records import condition, replicate

MEASURE = "normalized_regret"
FEWEST_VALUES = (2, 3)


@dataclass(frozen=True)
class HeatMap:
    """Mean regret over two settings, a table per environment.

    Attributes:
        algorithm: Whose settings they are.
        settings: Their names, down and across.
        values: Their values as text, in order.
        means: Per environment ``[down, across]``; NaN where data or seeds of others are missing.
        errors: Standard errors of the means over runs.
        num_runs: Per environment, the runs in a cell.
    """

    algorithm: str
    settings: tuple[str, str]
    values: tuple[tuple[str, ...], tuple[str, ...]]
    means: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    num_runs: dict[str, int]

    @property
    def stem(self) -> str:
        """The figure's file name without its suffix."""
        return f"heatmap_{self.algorithm}_{self.settings[0]}_{self.settings[1]}".replace(".", "_")


def heat_maps(records: Iterable[RunRecord]) -> list[HeatMap]:
    """Return the heat maps that the completed records have all combinations for."""
    runs: dict[str, list[tuple[RunRecord, dict[str, str]]]] = defaultdict(list)
    for record in records:
        if record.status == "completed" and record.final.get(MEASURE) is not None:
            runs[record.algorithm].append((record, dict(learner_settings(record))))
    found = []
    for algorithm, own in sorted(runs.items()):
        usual = _usual(own)
        for down, across in combinations(usual, 2):
            others = {k: v for k, v in usual.items() if k not in (down, across)}
            chosen = [(r, s) for r, s in own if all(s.get(k) == v for k, v in others.items())]
            heat_map = _heat_map(algorithm, (down, across), chosen)
            if heat_map is not None:
                found.append(heat_map)
    return found


def _usual(runs: list[tuple[RunRecord, dict[str, str]]]) -> dict[str, str]:
    """Return the settings that vary within an environment, each with its most frequent value."""
    values: dict[str, Counter[str]] = defaultdict(Counter)
    within: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record, settings in runs:
        for name, value in settings.items():
            values[name][value] += 1
            within[record.environment, name].add(value)
    varying = {name for (_, name), seen in within.items() if len(seen) > 1}
    return {name: values[name].most_common(1)[0][0] for name in sorted(varying)}


def _heat_map(
    algorithm: str, settings: tuple[str, str], runs: list[tuple[RunRecord, dict[str, str]]]
) -> HeatMap | None:
    """Return the heat map of two settings, None unless there is a run for every combination."""
    cells: dict[tuple[str, str, str], dict[object, float]] = defaultdict(dict)
    for record, own in runs:
        place = (record.environment, own.get(settings[0], ""), own.get(settings[1], ""))
        regret = float(record.final[MEASURE] or 0.0)
        cells[place][condition(record), replicate(record)] = regret
    names = sorted({place[0] for place in cells})
    values = tuple(tuple(sorted({place[axis] for place in cells}, key=_order)) for axis in (1, 2))
    if tuple(sorted(map(len, values))) < FEWEST_VALUES or len(cells) < len(names) * len(
        values[0]
    ) * len(values[1]):
        return None
    means, errors, counts = {}, {}, {}
    for name in names:
        own_cells = [[cells[name, down, across] for across in values[1]] for down in values[0]]
        shared = set.intersection(*(set(cell) for row in own_cells for cell in row))
        scores = np.array([[[cell[key] for key in shared] for cell in row] for row in own_cells])
        if not shared:
            return None
        counts[name] = len(shared)
        means[name] = scores.mean(-1)
        spread = scores.std(-1, ddof=1) if len(shared) > 1 else np.full(means[name].shape, np.nan)
        errors[name] = spread / np.sqrt(len(shared))
    return HeatMap(algorithm, settings, (values[0], values[1]), means, errors, counts)


def _order(value: str) -> tuple[bool, float, str]:
    """Return what numbers sort by their size with, and words after them."""
    try:
        return False, float(value), ""
    except ValueError:
        return True, 0.0, value
