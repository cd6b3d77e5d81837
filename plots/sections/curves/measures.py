"""What estimates of coverage are worth, beside the exact quantities that they stand in for.

A record of a tabular task may hold both; one of a world that is cut into cells has the support
fraction alone, which then stands for the others.
"""

from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plots.data import names as printed
from plots.data.compared import (
    CONCENTRABILITIES,
    COUNTERPARTS,
    Agreement,
    Comparison,
    agreements,
    comparisons,
)
from plots.data.frame import Frame
from plots.data.records import Condition
from plots.look.markup import csv_table, markdown_table
from plots.look.style import GREY, MARKERS, WORLD_COLORS, text_width
from plots.sections import Illustration, Section, TextFile

PLACE = 4
COLUMNS = 3


# Concentrabilities span orders of magnitude and are often 0, which a logarithm cannot show.
LINEAR_BELOW = 1e-3
WIDTH_OF_ZERO = 8e-4
LABELS = {
    "nearest_neighbor_support": "nearest-neighbor support",
    "effective_sample_size": "effective sample size",
    "inverse_relative_condition_number": "inverse relative condition number",
    "saco": "SACo",
    "tq": "TQ",
    "support_fraction": "support fraction",
    "inverse_l2_concentrability": r"inverse $L_2$ concentrability",
    "inverse_concentrability": "inverse concentrability",
    "behavior_value": "value of the behavior policy",
}
OF_RATIOS = (
    " and over those whose exact concentrability is above 0: it is 0 as soon "
    "as one pair that the optimal policy visits, however rarely, has no data, which no sample can "
    "see (at 0 worlds stand side by side). Tables of few states are easy for all of them: where "
    "states recur, balls shrink to points and a classifier can count."
)
OF_CELLS = (
    ". Of continuous actions a policy that always does the same has no density, hence there are no "
    "exact ratios of densities: the share of its visits that lies on cells with data nearby stands "
    "for them, which orders datasets and has another scale."
)
IDENTITY: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "zorder": 1}


def section(frame: Frame) -> Section | None:
    """Return the comparison, none where no estimate is made from samples."""
    compared = comparisons(frame)
    if not compared:
        return None
    table = measures_table(compared)
    text = (
        f"{table}\n"
        "`exact above 0`: on how many datasets the exact counterpart is above 0. `within a "
        "dataset`: the median of the rank correlations over the degradations of one dataset, in "
        "parentheses of how many: an estimate may tell worlds apart and not what was taken from "
        "them. All points are in [measures.csv](measures.csv)."
    )
    title = "estimates against exact measures"
    figure = Illustration("measures", partial(draw, compared), title, caption(compared))
    files = (TextFile("measures.csv", measures_csv(compared)), TextFile("measures.md", table))
    return Section("Measures of coverage", (figure,), text, files)


def measures_csv(compared: tuple[Comparison, ...]) -> str:
    """Return one line per degraded dataset with every estimate and every exact counterpart."""
    lines: dict[tuple[Condition, str], dict[str, Any]] = {}
    for c in compared:
        place = vars(c.condition) | {"data_seed": c.data_seed}
        line = lines.setdefault((c.condition, str(c.data_seed)), place)
        line |= {c.measure: float(c.estimate), c.counterpart: float(c.exact)}
    numbers = [*COUNTERPARTS, *dict.fromkeys(COUNTERPARTS.values())]
    columns = ["environment", "degradation", "severity", "data_seed", *numbers]
    return csv_table(columns, lines.values())


def draw(compared: tuple[Comparison, ...]) -> Figure:
    """Return the figure, a panel per estimate, of at least one comparison."""
    found = agreements(compared)
    worlds = sorted({c.world for c in compared})
    num_rows = -(-len(found) // COLUMNS)
    figure = Figure(figsize=(text_width(), 0.35 + 2.05 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, COLUMNS, squeeze=False).ravel()
    for axes, (pair, agreement) in zip(grid, found.items(), strict=False):
        own = [c for c in compared if (c.measure, c.counterpart) == pair]
        _draw_panel(axes, *pair, own, worlds)
        axes.set_title(_numbers(agreement), fontsize=6.5)
    handles = [
        Line2D([], [], label=printed.environment(world), **_look(worlds, world)) for world in worlds
    ]
    handles.append(Line2D([], [], label="equal", **IDENTITY))
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    if len(found) < len(grid):
        grid[-1].legend(handles=handles, loc="center", frameon=False)
    else:
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    return figure


def _draw_panel(
    axes: Axes, measure: str, counterpart: str, compared: list[Comparison], worlds: list[str]
) -> None:
    points = np.array([(c.exact, c.estimate) for c in compared])
    # On every scale that both axes share a straight line from corner to corner.
    ends = [min(0.0, points.min()), max(1.0, points.max())]
    axes.plot(ends, ends, **IDENTITY)
    for world in worlds:
        own = points[[c.world == world for c in compared]]
        if counterpart in CONCENTRABILITIES:
            # At exactly 0 there are many: worlds stand side by side.
            place = (worlds.index(world) + 0.5) / len(worlds) - 0.5
            own[own[:, 0] == 0, 0] = place * WIDTH_OF_ZERO
        axes.plot(*own.T, alpha=0.5, clip_on=False, **_look(worlds, world))
    if counterpart in CONCENTRABILITIES:
        ticks = [0, 1e-3, 1e-2, 1e-1, 1]
        for axis, limits in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
            scale = axes.set_xscale if axis is axes.xaxis else axes.set_yscale
            scale("symlog", linthresh=LINEAR_BELOW, linscale=0.5)
            limits(-WIDTH_OF_ZERO / 2, 1.3)
            axis.set_ticks(ticks, ["0", "0.001", "0.01", "0.1", "1"], minor=False)
            axis.set_ticks([], minor=True)
    elif measure != "tq":
        axes.set_xlim(-0.04, 1.04)
        axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel(LABELS[counterpart])
    axes.set_ylabel(LABELS[measure])


def _look(worlds: list[str], world: str) -> dict[str, Any]:
    place = worlds.index(world)
    return {
        "color": WORLD_COLORS[place % len(WORLD_COLORS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": "",
        "markersize": 2.6,
        "markeredgewidth": 0,
    }


def _numbers(agreement: Agreement) -> str:
    """Return the rank correlations as they stand above a panel."""
    lines = [f"rank correlation {written(agreement.rank)}, n = {agreement.num_datasets}"]
    if agreement.rank_covered is not None:
        covered = f"{written(agreement.rank_covered)}, n = {agreement.num_covered}"
        lines.append(f"exact > 0: {covered}")
    return "\n".join(lines)


def written(value: float | None) -> str:
    """Return a correlation or bias as printed, a dash where there is none."""
    return "-" if value is None else f"{round(value, 2) + 0.0:.2f}"


def caption(compared: tuple[Comparison, ...]) -> str:
    """Return the caption of the figure, plain text."""
    environments = {c.condition.environment for c in compared}
    pairs = "; ".join(
        f"{LABELS[measure]} against {LABELS[counterpart]}".replace(r"$L_2$", "L2")
        for measure, counterpart in agreements(compared)
    )
    ratios = any(c.counterpart in CONCENTRABILITIES for c in compared)
    return (
        "What measures of coverage that need no table are worth, where tables or grids say the "
        f"truth: {pairs}. Each point is one degraded dataset of {len(environments)}, whichever "
        "learners ran on it; the line is equality. Rank correlations are Spearman's, over all "
        f"points{OF_RATIOS if ratios else OF_CELLS} SACo knows no comparator and TQ no support: "
        "they are drawn against what is nearest to them, and measure something else."
    )


def measures_table(compared: tuple[Comparison, ...]) -> str:
    """Return what the figure says as a table in Markdown."""
    columns = ["estimate", "exact counterpart", "datasets", "rank correlation", "exact above 0"]
    columns += ["rank correlation there", "within a dataset (median)", "estimate - exact (median)"]
    rows = []
    for (measure, counterpart), agreement in agreements(compared).items():
        within = f"{written(agreement.rank_within)} ({agreement.num_within})"
        names = [f"`{measure}`", f"`{counterpart}`"]
        numbers = [str(agreement.num_datasets), written(agreement.rank)]
        numbers += [str(agreement.num_covered or "-"), written(agreement.rank_covered)]
        numbers += [within if agreement.num_within else "-", written(agreement.bias)]
        rows.append([*names, *numbers])
    return markdown_table(columns, rows, 2)
