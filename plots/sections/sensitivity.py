"""Regret over two settings of one learner, to see how sensitive it is to them.

There is a heat map for any two settings of which an experiment holds every combination in some
environment, all others at the value that most runs there have. A cell is the mean over the same
data and seeds as its neighbours'. Environments may differ in the values they have: a row or a
column that one of them lacks is empty there.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.store.records import RunRecord
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
        means: Per environment ``[down, across]``; NaN where it has no such value.
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
        usual = {name: _usual(of_one) for name, of_one in _by_environment(own).items()}
        varying = sorted({setting for one in usual.values() for setting in one})
        for pair in combinations(varying, 2):
            chosen = [
                (r, s)
                for r, s in own
                if all(s.get(k) == v for k, v in usual[r.environment].items() if k not in pair)
            ]
            panels = {
                name: panel
                for name, of_one in _by_environment(chosen).items()
                if (panel := _panel(pair, of_one)) is not None
            }
            if panels:
                found.append(_heat_map(algorithm, pair, panels))
    return found


Runs = list[tuple[RunRecord, dict[str, str]]]


def _by_environment(runs: Runs) -> dict[str, Runs]:
    """Return the runs of each environment, in the order of names."""
    apart: dict[str, Runs] = defaultdict(list)
    for record, settings in runs:
        apart[record.environment].append((record, settings))
    return dict(sorted(apart.items()))


def _usual(runs: Runs) -> dict[str, str]:
    """Return the settings that vary in an environment, each with its most frequent value."""
    values: dict[str, Counter[str]] = defaultdict(Counter)
    for _, settings in runs:
        for name, value in settings.items():
            values[name][value] += 1
    return {name: seen.most_common(1)[0][0] for name, seen in values.items() if len(seen) > 1}


# Scores ``[runs]`` of one environment by the values of the two settings, the same runs in each.
Panel = dict[tuple[str, str], np.ndarray]


def _panel(settings: tuple[str, str], runs: Runs) -> Panel | None:
    """Return an environment's scores, None unless it has a run for every combination."""
    cells: dict[tuple[str, str], dict[object, float]] = defaultdict(dict)
    for record, own in runs:
        place = (own.get(settings[0], ""), own.get(settings[1], ""))
        cells[place][condition(record), replicate(record)] = float(record.final[MEASURE] or 0.0)
    numbers = [len({place[axis] for place in cells}) for axis in (0, 1)]
    shared = set.intersection(*map(set, cells.values()))
    if tuple(sorted(numbers)) < FEWEST_VALUES or len(cells) < numbers[0] * numbers[1] or not shared:
        return None
    return {place: np.array([cell[key] for key in shared]) for place, cell in cells.items()}


def _heat_map(algorithm: str, settings: tuple[str, str], panels: dict[str, Panel]) -> HeatMap:
    """Return the heat map of two settings, a panel per environment."""
    places = {place for panel in panels.values() for place in panel}
    down, across = (tuple(sorted({p[axis] for p in places}, key=_order)) for axis in (0, 1))
    means, errors, counts = {}, {}, {}
    for name, panel in panels.items():
        means[name], errors[name] = np.full((2, len(down), len(across)), np.nan)
        for (row, column), scores in panel.items():
            at = down.index(row), across.index(column)
            counts[name] = len(scores)
            means[name][at] = scores.mean()
            if len(scores) > 1:
                errors[name][at] = scores.std(ddof=1) / np.sqrt(len(scores))
    return HeatMap(algorithm, settings, (down, across), means, errors, counts)


def _order(value: str) -> tuple[bool, float, str]:
    """Return what numbers sort by their size with, and words after them."""
    try:
        return False, float(value), ""
    except ValueError:
        return True, 0.0, value
