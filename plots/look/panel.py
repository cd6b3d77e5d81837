"""One panel of a figure: one environment under one degradation, a line per learner.

A line runs through the interquartile means of the learner's cells in the order of severity, with
their bootstrap intervals as bars, the chosen learner's as a band too if
it is one; a cell of one run has none.
Every marker stands at its place. Later learners have smaller markers, so that equal ones nest.
"""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from bench.measures.statistics.intervals import Estimate
from plots.data.frame import Frame
from plots.data.records import Condition
from plots.look.style import GREY, Look, looks

# In multiples of optimum minus uniform: what lies beyond is drawn as a triangle at the edge, so
# that one diverging learner cannot flatten all others.
HIGHEST = 1.5
LOWEST = -1.0

# Sizes of the first learner's markers and of the last one's.
LARGEST, SMALLEST = 5.4, 2.2

OPTIMUM: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "linestyle": "-"}
UNIFORM: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "linestyle": (0, (1.5, 1.5))}
HATCHING: dict[str, Any] = {
    "facecolor": "0.95",
    "edgecolor": "0.78",
    "hatch": "//////",
    "linewidth": 0,
}


class Plot(NamedTuple):
    """What a figure shows: a measure over an axis, `severity` or `coverage`, and which page."""

    measure: str
    axis: str
    page: int = 1

    @property
    def stem(self) -> str:
        """Return the file name without its suffix."""
        page = f"_{self.page}" if self.page > 1 else ""
        return f"{self.measure}_by_{self.axis}{page}"


def draw_panel(axes: Axes, frame: Frame, plot: Plot, environment: str, degradation: str) -> None:
    """Draw one environment under one degradation; the limits of the axes must be set already."""
    axes.axhline(0, zorder=1, **OPTIMUM)
    if plot.measure == "normalized_regret":
        axes.axhline(1, zorder=1, **UNIFORM)
    conditions = frame.curve(environment, degradation)
    _hatch_uninformative(axes, frame, plot, conditions)
    drawn_as = looks(frame.learners)
    # Several bands pile up to brown.
    banded = [learner.label for learner in frame.learners if learner.algorithm == frame.chosen]
    sizes = np.linspace(LARGEST, SMALLEST, len(frame.learners))
    for learner, size in zip(frame.learners, sizes, strict=True):
        points = _points(frame, plot, environment, degradation, learner.label)
        if points.size:
            _draw_curve(axes, points, drawn_as[learner.label], size, banded == [learner.label])


def _draw_curve(axes: Axes, points: np.ndarray, style: Look, size: float, banded: bool) -> None:
    """Draw one learner: bars where there is more than one run, triangles at the edges."""
    x, middle, low, high, num_runs = points.T
    several = num_runs > 1
    if banded:
        faint: dict[str, Any] = {"color": style.color, "linewidth": 0, "zorder": 0.5}
        axes.fill_between(x, low, high, where=list(several), alpha=0.16, **faint)
    thin: dict[str, Any] = {"color": style.color, "linewidth": 0.6, "alpha": 0.55}
    ends = np.stack([np.stack([x, low], -1), np.stack([x, high], -1)], 1)[several]
    # Not `vlines`, which looks for limits that are set already and takes five times as long.
    axes.add_collection(LineCollection(list(ends), **thin), autolim=False)
    axes.plot(x, middle, zorder=3, **(style.line() | {"markersize": size}))
    bottom, top = axes.get_ylim()
    margin = 0.03 * (top - bottom)
    edges = ((middle > top, "^", top - margin), (middle < bottom, "v", bottom + margin))
    for beyond, marker, edge in edges:
        if beyond.any():
            axes.plot(
                x[beyond],
                np.full(int(beyond.sum()), edge),
                linestyle="",
                marker=marker,
                markersize=2.8,
                color=style.color,
                zorder=4,
            )


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
    """Hatch around what cannot tell methods apart, at most halfway to the next place."""
    flags: dict[float, bool] = {}
    for condition in conditions:
        x = position(frame, plot, condition)
        if x is not None:
            unable = frame.situations[condition].tells_apart(plot.measure) is False
            flags[x] = flags.get(x, False) or unable
    places = sorted(flags)
    lowest, highest = sorted(axes.get_xlim())
    reach = 0.08 * (highest - lowest)
    for i, x in enumerate(places):
        if flags[x]:
            left = (places[i - 1] + x) / 2 if i > 0 else max(x - reach, lowest)
            right = (places[i + 1] + x) / 2 if i + 1 < len(places) else min(x + reach, highest)
            axes.axvspan(left, right, zorder=0, **HATCHING)
