"""One panel of a figure: one environment under one degradation, a line per learner.

A line runs through the interquartile means of the learner's cells in the order of severity, with
their bootstrap band, for a single cell a bar; a cell of one run has neither.
"""

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from bench.statistics import Estimate
from plots.frame import Frame
from plots.records import Condition
from plots.style import GREY, look

# In multiples of optimum minus uniform: what lies beyond is drawn as a triangle at the edge, so
# that one diverging learner cannot flatten all others.
HIGHEST = 1.5
LOWEST = -1.0

OPTIMUM: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "linestyle": "-"}
UNIFORM: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "linestyle": (0, (1.5, 1.5))}
HATCHING: dict[str, Any] = {
    "facecolor": "0.95",
    "edgecolor": "0.78",
    "hatch": "//////",
    "linewidth": 0,
}


class Plot(NamedTuple):
    """What a figure shows: a measure over an axis, `severity` or `coverage`."""

    measure: str
    axis: str

    @property
    def stem(self) -> str:
        """Return the file name without its suffix."""
        return f"{self.measure}_by_{self.axis}"


def draw_panel(axes: Axes, frame: Frame, plot: Plot, environment: str, degradation: str) -> None:
    """Draw one environment under one degradation; the limits of the axes must be set already."""
    if not frame.conditions(environment, degradation):
        axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", color=GREY)
        return
    axes.axhline(0, zorder=1, **OPTIMUM)
    if plot.measure == "normalized_regret":
        axes.axhline(1, zorder=1, **UNIFORM)
    conditions = frame.curve(environment, degradation)
    _hatch_uninformative(axes, frame, plot, conditions)
    # Learners over one place stand side by side; over several, their lines tell them apart.
    left, right = axes.get_xlim()
    step = 0.04 * (right - left) if len(conditions) == 1 else 0.0
    bottom, top = axes.get_ylim()
    above: dict[float, list[str]] = defaultdict(list)
    below: dict[float, list[str]] = defaultdict(list)
    for number, learner in enumerate(frame.learners):
        points = _points(frame, plot, environment, degradation, learner.label)
        if points.size == 0:
            continue
        style = look(learner)
        x, middle, low, high, num_runs = points.T
        x = x + step * (number - (len(frame.learners) - 1) / 2)
        repeated = num_runs > 1
        if len(points) > 1:
            axes.fill_between(
                x, low, high, where=list(repeated), color=style.color, alpha=0.15, linewidth=0
            )
        else:
            axes.vlines(x[repeated], low[repeated], high[repeated], color=style.color, linewidth=1)
        axes.plot(x, middle, zorder=3, **style.line())
        for place, value in zip(x, middle, strict=True):
            if value > top:
                above[place].append(style.color)
            elif value < bottom:
                below[place].append(style.color)
    margin = 0.03 * (top - bottom)
    _mark_beyond(axes, above, "^", top - margin)
    _mark_beyond(axes, below, "v", bottom + margin)


def position(frame: Frame, plot: Plot, condition: Condition) -> float | None:
    """Return where on the x axis a condition lies, None if its coverage was not measured."""
    if plot.axis == "severity":
        return condition.severity
    return frame.situations[condition].coverage


def limits(frame: Frame, plot: Plot, environment: str) -> tuple[float, float]:
    """Return the y limits of an environment's panels, in the measure's units."""
    normalized = plot.measure == "normalized_regret"
    scale = 1.0 if normalized else frame.environments[environment].scale or 1.0
    ends = np.array([e[:3] for e in _estimates(frame, plot, environment)]) / scale
    top = np.clip(ends.max() + 0.05, 1.08 if normalized else 0.3, HIGHEST)
    bottom = np.clip(ends.min() - 0.05, LOWEST, -0.08)
    return float(bottom * scale), float(top * scale)


def exceeds(frame: Frame, plot: Plot, environment: str) -> bool:
    """Return whether a point of the environment lies beyond its `limits`."""
    bottom, top = limits(frame, plot, environment)
    return not all(bottom <= e.point <= top for e in _estimates(frame, plot, environment))


def _estimates(frame: Frame, plot: Plot, environment: str) -> list[Estimate]:
    return [
        cell.estimates[plot.measure]
        for (condition, _), cell in frame.cells.items()
        if condition.environment == environment and plot.measure in cell.estimates
    ]


def _points(frame: Frame, plot: Plot, environment: str, degradation: str, label: str) -> np.ndarray:
    """Return a curve as rows of x, point, low, high and number of runs, by severity."""
    found = []
    for condition in frame.curve(environment, degradation):
        cell = frame.cells.get((condition, label))
        x = position(frame, plot, condition)
        if x is not None and cell is not None and plot.measure in cell.estimates:
            found.append((x, *cell.estimates[plot.measure]))
    return np.array(found, dtype=float)


def _hatch_uninformative(axes: Axes, frame: Frame, plot: Plot, conditions: list[Condition]) -> None:
    """Hatch around what cannot tell methods apart, up to halfway to the neighbouring cells."""
    flags: dict[float, bool] = {}
    for condition in conditions:
        x = position(frame, plot, condition)
        if x is not None:
            unable = frame.situations[condition].informative is False
            flags[x] = flags.get(x, False) or unable
    places = sorted(flags)
    for i, x in enumerate(places):
        if flags[x]:
            left = (places[i - 1] + x) / 2 if i > 0 else x - 0.05
            right = (places[i + 1] + x) / 2 if i + 1 < len(places) else x + 0.05
            axes.axvspan(left, right, zorder=0, **HATCHING)


def _mark_beyond(axes: Axes, colors: dict[float, list[str]], marker: str, height: float) -> None:
    """Put the triangles of learners beyond the axis side by side, at their x, inside the panel."""
    left, right = sorted(axes.get_xlim())
    gap = 0.022 * (right - left)
    for x, group in colors.items():
        half = gap * (len(group) - 1) / 2
        start = max(min(x + half, right - gap) - 2 * half, left + gap)
        for number, color in enumerate(group):
            axes.plot(
                [start + number * gap],
                [height],
                linestyle="",
                marker=marker,
                markersize=2.8,
                color=color,
                zorder=4,
            )
