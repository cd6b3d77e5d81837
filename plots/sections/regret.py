"""The figures: regret over severity and over measured coverage, environments by degradations."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, MultipleLocator

from plots.captions import MEASURE_WORDS, cautions, rule, statuses, uninformative_rule
from plots.frame import Frame
from plots.panel import (
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
)  # fmt: skip
from plots.sections import Illustration, Section
from plots.style import GREY, TEXT_WIDTH, looks

PLACE = 3
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
LABEL = 0.14
AXIS_LABELS = {
    "severity": "severity",
    "coverage": "measured coverage",
}
MEASURE_LABELS = {
    "normalized_regret": "normalized regret",
    "regret_to_covered": "regret to the best covered policy",
    "regret_to_support": "regret to the best policy on seen actions",
}
COVERAGE_WORDS = {
    "support_fraction": "the share of the optimal policy's occupancy on visited (state, action)"
    " pairs",
    "nearest_neighbor_support": "the share of the reference policy's steps near the data",
}


def section(frame: Frame) -> Section:
    """Return the figures that the records have the numbers for, page by page."""
    plots = [page for plot in PLOTS for page in pages(frame, plot)]
    return Section("Figures", tuple(_illustration(frame, plot) for plot in plots))


def _illustration(frame: Frame, plot: Plot) -> Illustration:
    title = f"{plot.measure} by {plot.axis}".replace("_", " ")
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
    ]


def caption(frame: Frame, plot: Plot) -> str:
    """Return the caption of a figure, plain text."""
    names = rows(frame, plot)
    if plot.axis == "severity":
        over = "by severity of the degradation; every curve starts from the shared severity 0"
    else:
        over = (
            "by measured coverage, which falls to the right; each point is one severity, at the "
            "mean measured coverage of its runs: "
        ) + _coverage_measures(frame, names)
    sentences = [
        f"{MEASURE_WORDS[plot.measure]} {over}.",
        "Rows are environments, columns degradations.",
        rule(frame),
        "Bands and bars are those intervals; a cell of one run has none.",
    ]
    if plot.axis == "severity":
        sentences.append("Learners stand side by side at each severity so that equal ones show.")
    if any(exceeds(frame, plot, name) for name in names):
        sentences.append(f"Triangles at an edge: values beyond the axis, {_cut(plot)}.")
    if _uninformative(frame, plot, names):
        sentences.append(f"Hatched: {uninformative_rule(plot.measure)}.")
    left_out = [name for name in frame.environments if name not in _shown(frame, plot)]
    if left_out:
        sentences.append(f"Left out, since the quantity is not known there: {', '.join(left_out)}.")
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
    columns = frame.degradations
    # Up to four columns fit the text width; more make a wider figure rather than smaller type.
    width = max(TEXT_WIDTH, 0.5 + 1.25 * len(columns))
    figure = Figure(figsize=(width, 0.95 + 1.2 * len(names)), layout="constrained")
    grid = figure.subplots(len(names), len(columns), sharex=True, sharey="row", squeeze=False)
    _set_x_axis(grid[-1, 0], frame, plot, names)
    for row, environment in enumerate(names):
        for column, degradation in enumerate(columns):
            axes = grid[row, column]
            axes.set_ylim(*limits(frame, plot, environment))
            draw_panel(axes, frame, plot, environment, degradation)
            if row == 0:
                axes.set_title(degradation)
            if environment == names[-1]:
                axes.set_xlabel(AXIS_LABELS[plot.axis])
        grid[row, 0].set_ylabel(environment.replace(", ", "\n"))
        ticks = MultipleLocator(0.5) if plot.measure == "normalized_regret" else MaxNLocator(4)
        grid[row, 0].yaxis.set_major_locator(ticks)
    figure.supylabel(MEASURE_LABELS[plot.measure], fontsize=7)
    _add_legends(figure, frame, plot, names)
    return figure


def _set_x_axis(axes: Any, frame: Frame, plot: Plot, names: list[str]) -> None:
    """Set the shared x axis: from intact data on the left to degraded data on the right."""
    used = [c for c in frame.situations if c.environment in names]
    places = sorted({x for c in used if (x := position(frame, plot, c)) is not None})
    # Room for the learners at the outermost places, which stand side by side.
    pad = 0.09 * (places[-1] - places[0]) or 0.3
    if plot.axis == "coverage":
        axes.set_xlim(places[-1] + pad, places[0] - pad)
        axes.xaxis.set_major_formatter("{x:g}")
        return
    axes.set_xlim(places[0] - pad, places[-1] + pad)
    if len(places) <= 6:
        # From four columns on, only ".75" leaves room for its neighbour ".9".
        zero = "0." if len(frame.degradations) < 4 else "."
        shown = _apart(places)
        texts = [f"{x:.2g}".replace("0.", zero, 1) if x in shown else "" for x in places]
        axes.set_xticks(places, texts)


def _apart(places: list[float]) -> list[float]:
    """Return those, from the last, whose labels do not run into each other's."""
    shown = [places[-1]]
    for x in reversed(places):
        if shown[-1] - x >= LABEL * (places[-1] - places[0]):
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
        Line2D([], [], label=learner.label, **drawn_as[learner.label].line())
        for learner in frame.learners
        if learner.label in shown
    ]
    normalized = plot.measure == "normalized_regret"
    zero = "optimum" if normalized else MEASURE_LABELS[plot.measure].removeprefix("regret to the ")
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
