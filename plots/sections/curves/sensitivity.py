"""Regret over two settings of one learner, to see how sensitive it is to them.

There is a heat map for any two settings of which an experiment holds every combination in some
environment, all others at the value that most runs there have. A cell is the mean over the same
data and seeds as its neighbours'. Environments may differ in the values they have: a row or a
column that one of them lacks is empty there.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
from matplotlib.figure import Figure

from bench.store.labels import learner_settings
from bench.store.record import RunRecord
from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.records import condition, replicate
from plots.look.captions import cautions
from plots.look.markup import file_stem
from plots.look.style import text_width
from plots.sections import Illustration, Section

PLACE = 5
MEASURE = "normalized_regret"
FEWEST_VALUES = (2, 3)
PANELS_PER_ROW = 3
# More cells beside each other leave no room for their numbers.
CELLS_PER_INCH = 3.3

# Runs with what may set their learners apart.
Runs = list[tuple[RunRecord, dict[str, str]]]
# Scores ``[runs]`` of one environment by the values of the two settings, the same runs in each.
Scores = dict[tuple[str, str], np.ndarray]


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
        return file_stem(f"heatmap_{self.algorithm}_{self.settings[0]}_{self.settings[1]}")


def section(frame: Frame) -> Section | None:
    """Return a figure for every two settings of which there is every combination."""
    variants = Counter(learner.algorithm for learner in frame.learners)
    # Runs of a learner that has one name differ in no setting within an environment.
    found = heat_maps(record for record in frame.records if variants[record.algorithm] > 1)
    figures = tuple(_illustration(frame, heat_map) for heat_map in found)
    return Section("Sensitivity", figures) if figures else None


def _illustration(frame: Frame, found: HeatMap) -> Illustration:
    title = f"regret by {' and '.join(found.settings)}".replace("_", " ")
    note = cautions(frame, environments=found.means, algorithms=[found.algorithm])
    return Illustration(found.stem, partial(draw, found), title, caption(found), note)


def heat_maps(records: Iterable[RunRecord]) -> list[HeatMap]:
    """Return the heat maps that the completed records have all combinations for."""
    runs: dict[str, Runs] = defaultdict(list)
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


def _panel(settings: tuple[str, str], runs: Runs) -> Scores | None:
    """Return an environment's scores, None unless it has a run for every combination."""
    cells: dict[tuple[str, str], dict[object, float]] = defaultdict(dict)
    for record, own in runs:
        place = (own.get(settings[0], ""), own.get(settings[1], ""))
        cells[place][condition(record), replicate(record)] = float(record.final[MEASURE] or 0.0)
    numbers = [len({place[axis] for place in cells}) for axis in (0, 1)]
    shared = set.intersection(*map(set, cells.values()))
    if tuple(sorted(numbers)) < FEWEST_VALUES or len(cells) < numbers[0] * numbers[1] or not shared:
        return None
    # Sums round by their order, which a set does not have.
    order = sorted(shared, key=str)
    return {place: np.array([cell[key] for key in order]) for place, cell in cells.items()}


def _heat_map(algorithm: str, settings: tuple[str, str], panels: dict[str, Scores]) -> HeatMap:
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


def draw(heat_map: HeatMap) -> Figure:
    """Return the figure, one panel per environment on one scale of colours."""
    names = list(heat_map.means)
    down, across = heat_map.values
    columns = max(
        1, min(len(names), PANELS_PER_ROW, int(CELLS_PER_INCH * text_width()) // len(across))
    )
    rows = -(-len(names) // columns)
    height = 0.5 + rows * (0.45 + 0.2 * len(down))
    figure = Figure(figsize=(text_width(), height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    image = None
    for axes, name in zip(grid.ravel(), names, strict=False):
        means = heat_map.means[name]
        image = axes.imshow(means, vmin=0, vmax=1.2, cmap="viridis_r", aspect="auto")
        for (row, column), mean in np.ndenumerate(means):
            if np.isfinite(mean):
                text = f"{mean:.2f}"
                shade = "white" if mean > 0.6 else "black"
                axes.text(column, row, text, ha="center", va="center", color=shade, fontsize=5.5)
        axes.set_title(printed.environment(name))
        values = map(printed.value, across)
        axes.set_xticks(range(len(across)), values, rotation=30, ha="right")
        axes.set_yticks(range(len(down)), map(printed.value, down))
    # The lowest panel of every column has the labels.
    for axes in grid.ravel()[max(0, len(names) - columns) : len(names)]:
        axes.tick_params(labelbottom=True)
    for axes in grid.ravel()[len(names) :]:
        axes.set_axis_off()
    figure.supylabel(printed.setting(heat_map.settings[0]), fontsize=7)
    figure.supxlabel(printed.setting(heat_map.settings[1]), fontsize=7)
    if image is not None:
        figure.colorbar(image, ax=grid, label="normalized regret", shrink=0.8, extend="both")
    return figure


def caption(heat_map: HeatMap) -> str:
    """Return what the figure shows, and how uncertain its numbers are."""
    counts = sorted(set(heat_map.num_runs.values()))
    runs = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    errors = np.concatenate([e[np.isfinite(e)] for e in heat_map.errors.values()])
    largest = f"{errors.max():.2f}" if errors.size else "unknown"
    return (
        f"Mean normalized regret of {heat_map.algorithm} (0 the optimum, 1 the uniform policy) by "
        f"{heat_map.settings[0]} and {heat_map.settings[1]}, over all data, degradations and "
        f"seeds of the experiment, the same {runs} runs in every cell; colours end at 0 and 1.2. "
        f"The largest standard error of a cell is {largest}."
    )
