"""The figures: regret over severity and over measured coverage, environments by degradations."""

import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, MultipleLocator

from plots.data import names as printed
from plots.data.frame import Frame
from plots.look.captions import MEASURE_WORDS, cautions, rule, statuses, uninformative_rule
from plots.look.panel import (
    HATCHING,
    HIGHEST,
    LOWEST,
    OPTIMUM,
    UNIFORM,
    Plot,
    draw_panel,
    exceeds,
    limits,
    position,
)
from plots.look.style import GREY, looks, text_width
from plots.sections import Illustration, Section

PLACE = 1
PLOTS = (
    Plot("normalized_regret", "severity"),
    Plot("regret_to_covered", "severity"),
    Plot("normalized_regret", "coverage"),
    Plot("regret_to_covered", "coverage"),
    Plot("regret_to_support", "severity"),
)
# More environments than this go on a further page, which stays legible.
ROWS_PER_PAGE = 8
# What a label of a tick takes of the axis.
LABEL_INCHES = 0.25
MOST_TICKS = 10
# No panel is narrower than this share of the text.
PANEL_SHARE = 0.22
# Letters of an environment's name beside its row.
ROW_LETTERS = 17
# Conditions whose coverage differs by less are no curve over it.
SAME_COVERAGE = 0.05
AXIS_LABELS = {
    "severity": "severity",
    "coverage": "measured coverage",
}
COVERAGE_WORDS = {
    "support_fraction": "the share of the optimal policy's occupancy on visited (state, action)"
    " pairs",
    "nearest_neighbor_support": "the share of the reference policy's steps near the data",
}


def section(frame: Frame) -> Section:
    """Return the figures that the records have the numbers for, page by page."""
    plots = [page for plot in _asked(frame) for page in pages(frame, plot)]
    return Section("Figures", tuple(_illustration(frame, plot) for plot in plots))


def _asked(frame: Frame) -> list[Plot]:
    return [plot for plot in PLOTS if frame.measure in (None, plot.measure)]


def _illustration(frame: Frame, plot: Plot) -> Illustration:
    title = f"{printed.measure(plot.measure)} by {AXIS_LABELS[plot.axis]}"
    note = cautions(frame, environments=rows(frame, plot))
    return Illustration(plot.stem, partial(draw, frame, plot), title, caption(frame, plot), note)


def pages(frame: Frame, plot: Plot) -> list[Plot]:
    """Return the figure page by page, none if no environment has what it shows."""
    count = -(-len(_shown(frame, plot)) // ROWS_PER_PAGE)
    return [plot._replace(page=number) for number in range(1, count + 1)]


def rows(frame: Frame, plot: Plot) -> list[str]:
    """Return the environments on the figure's page."""
    return _shown(frame, plot)[(plot.page - 1) * ROWS_PER_PAGE : plot.page * ROWS_PER_PAGE]


def _shown(frame: Frame, plot: Plot) -> list[str]:
    """Return the environments that have what the figure shows."""
    return [
        name
        for name, surroundings in frame.environments.items()
        if frame.has(name, plot.measure)
        and (plot.axis == "severity" or surroundings.coverage_name is not None)
        and any(_has_panel(frame, plot, name, d) for d in frame.degradations)
    ]


def caption(frame: Frame, plot: Plot) -> str:
    """Return the caption of a figure, plain text."""
    names = rows(frame, plot)
    if plot.axis == "severity":
        over = "by severity of the degradation"
        if any(place.severity == 0 for place in frame.situations):
            over += "; every curve starts from the shared severity 0"
    else:
        over = (
            "by measured coverage, which falls to the right; each point is one severity, at the "
            "mean measured coverage of its runs: "
        ) + _coverage_measures(frame, names)
    sentences = [
        f"{MEASURE_WORDS[plot.measure]} {over}.",
        "Rows are environments, columns degradations.",
        rule(frame),
        "Bars are those intervals, the chosen learner's with a band; a cell of one run has none. "
        "Learners are drawn from large markers to small ones, so that equal ones nest.",
    ]
    if any(exceeds(frame, plot, name) for name in names):
        sentences.append(f"Triangles at an edge: values beyond the axis, {_cut(plot)}.")
    if _uninformative(frame, plot, names):
        sentences.append(f"Hatched: {uninformative_rule(plot.measure)}.")
    left_out = [name for name in frame.environments if name not in _shown(frame, plot)]
    if left_out:
        why = "the quantity is not known there"
        if plot.axis == "coverage":
            why = "the quantity is not known or measured coverage hardly varies there"
        names = [printed.environment(name) for name in left_out]
        sentences.append(f"Left out, since {why}: {', '.join(names)}.")
    return " ".join([*sentences, statuses(frame)])


def _cut(plot: Plot) -> str:
    if plot.measure == "normalized_regret":
        return f"which is cut at {HIGHEST:g}"
    return (
        f"which is cut at {HIGHEST:g} (above 0) and {abs(LOWEST):g} (below 0) times the value of "
        "the optimum minus that of the uniform policy"
    )


def _coverage_measures(frame: Frame, names: list[str]) -> str:
    measured = {name: frame.environments[name].coverage_name for name in names}
    return "; ".join(
        f"{words} ({', '.join(name for name in names if measured[name] == measure)})"
        for measure, words in COVERAGE_WORDS.items()
        if measure in measured.values()
    )


def _uninformative(frame: Frame, plot: Plot, names: list[str]) -> bool:
    shown = [s for c, s in frame.situations.items() if c.environment in names]
    return any(situation.tells_apart(plot.measure) is False for situation in shown)


def draw(frame: Frame, plot: Plot) -> Figure:
    """Return the figure of a page that `pages` has given."""
    names = rows(frame, plot)
    columns = [d for d in frame.degradations if any(_has_panel(frame, plot, n, d) for n in names)]
    # Many columns make a wider figure rather than smaller type.
    width = max(text_width(), 0.5 + PANEL_SHARE * text_width() * len(columns))
    height = 0.95 + min(1.2, 0.45 + 0.45 * width / len(columns)) * len(names)
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(len(names), len(columns), sharex=True, sharey="row", squeeze=False)
    _set_x_axis(grid[-1, 0], frame, plot, names, width / len(columns))
    for row, environment in enumerate(names):
        shown = [d for d in columns if _has_panel(frame, plot, environment, d)]
        for axes, degradation in zip(grid[row], columns, strict=True):
            if degradation not in shown:
                axes.set_axis_off()
                continue
            axes.set_ylim(*limits(frame, plot, environment))
            draw_panel(axes, frame, plot, environment, degradation)
            axes.tick_params(labelleft=degradation == shown[0])
        _name_row(grid[row, -1], environment)
        ticks = MultipleLocator(0.5) if plot.measure == "normalized_regret" else MaxNLocator(4)
        grid[row, 0].yaxis.set_major_locator(ticks)
        grid[row, 0].yaxis.set_major_formatter("{x:g}")
    for column, degradation in enumerate(columns):
        drawn = [r for r, n in enumerate(names) if _has_panel(frame, plot, n, degradation)]
        title = textwrap.fill(printed.degradation(degradation), int(16 * width / len(columns)))
        grid[drawn[0], column].set_title(title)
        grid[drawn[-1], column].tick_params(labelbottom=True)
        grid[drawn[-1], column].set_xlabel(AXIS_LABELS[plot.axis])
    figure.supylabel(printed.measure(plot.measure), fontsize=7)
    _add_legends(figure, frame, plot, names)
    return figure


def _has_panel(frame: Frame, plot: Plot, environment: str, degradation: str) -> bool:
    """Return whether there is something to see: conditions at more than one place, or none else."""
    if not frame.conditions(environment, degradation):
        return False
    if plot.axis == "severity":
        return True
    found = [position(frame, plot, c) for c in frame.curve(environment, degradation)]
    known = [x for x in found if x is not None]
    return len(known) > 1 and max(known) - min(known) > SAME_COVERAGE


def _name_row(axes: Any, environment: str) -> None:
    """Write the environment's name on the right of its row."""
    name = textwrap.fill(printed.environment(environment), ROW_LETTERS)
    place: dict[str, Any] = {"xycoords": "axes fraction", "rotation": -90}
    axes.annotate(name, (1.03, 0.5), ha="left", va="center", fontsize=7, **place)


def _set_x_axis(axes: Any, frame: Frame, plot: Plot, names: list[str], width: float) -> None:
    """Set the shared x axis, `width` inches long: from intact data to degraded data."""
    used = [c for c in frame.situations if c.environment in names]
    places = sorted({x for c in used if (x := position(frame, plot, c)) is not None})
    pad = 0.06 * (places[-1] - places[0]) or 0.3
    axes.xaxis.set_major_formatter("{x:g}")
    if plot.axis == "coverage":
        axes.set_xlim(places[-1] + pad, places[0] - pad)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        return
    axes.set_xlim(places[0] - pad, places[-1] + pad)
    if len(places) <= MOST_TICKS:
        shown = _apart(places, LABEL_INCHES / width)
        axes.set_xticks(places, [f"{x:g}" if x in shown else "" for x in places])


def _apart(places: list[float], share: float) -> list[float]:
    """Return those, from the last, whose labels of a share of the axis leave each other room."""
    shown = [places[-1]]
    for x in reversed(places):
        if shown[-1] - x >= share * (places[-1] - places[0]):
            shown.append(x)
    return shown


def _add_legends(figure: Figure, frame: Frame, plot: Plot, names: list[str]) -> None:
    """Put the learners above all panels and the other marks below; only what is shown."""
    shown = {
        label
        for (condition, label), cell in frame.cells.items()
        if condition.environment in names and plot.measure in cell.estimates
    }
    drawn_as = looks(frame.learners)
    learners = [
        Line2D([], [], label=printed.learner(learner.label), **drawn_as[learner.label].line())
        for learner in frame.learners
        if learner.label in shown
    ]
    normalized = plot.measure == "normalized_regret"
    zero = "optimum" if normalized else printed.measure(plot.measure).removeprefix("regret to the ")
    marks: list[Line2D | Patch] = [Line2D([], [], label=zero, **OPTIMUM)]
    if normalized:
        marks.append(Line2D([], [], label="uniform policy", **UNIFORM))
    if _uninformative(frame, plot, names):
        marks.append(Patch(label="cannot tell methods apart", **HATCHING))
    if any(exceeds(frame, plot, name) for name in names):
        beyond: dict[str, Any] = {"linestyle": "", "marker": "^", "markersize": 2.8}
        marks.append(Line2D([], [], label="beyond the axis", color=GREY, **beyond))
    _legend(figure, learners, "outside upper center")
    _legend(figure, marks, "outside lower center")


def _legend(figure: Figure, handles: Sequence[Line2D | Patch], place: Any) -> None:
    labels = [str(handle.get_label()) for handle in handles]
    figure.legend(
        handles=handles,
        loc=place,
        ncols=_legend_columns(labels, figure.get_figwidth()),
        frameon=False,
        handlelength=2.6,
        columnspacing=1.2,
        borderpad=0.1,
    )


def _legend_columns(labels: list[str], width: float) -> int:
    """Return the most columns of legend entries, filled one after the other, that fit `width`."""
    for columns in range(len(labels), 1, -1):
        filled = np.array_split([len(label) for label in labels], columns)
        # Inches: the line sample with its gaps, and a letter of the legend's type.
        if sum(0.5 + 0.052 * column.max() for column in filled) <= width:
            return columns
    return 1
