"""The figure that says what estimates of coverage are worth: each against its exact counterpart."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from plots.sections.comparisons import COUNTERPARTS, Agreement, Comparison, agreements
from plots.style import COLORS, GREY, MARKERS, TEXT_WIDTH

STEM = "measures"
COLUMNS = 3
# Concentrabilities span orders of magnitude and are often 0, which a logarithm cannot show.
LINEAR_BELOW = 1e-3
WIDTH_OF_ZERO = 8e-4
OVER_DECADES = ("effective_sample_size", "inverse_relative_condition_number")
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
IDENTITY: dict[str, Any] = {"color": GREY, "linewidth": 0.6, "zorder": 1}


def draw_measures(compared: tuple[Comparison, ...]) -> Figure:
    """Return the figure, a panel per estimate, of at least one comparison."""
    found = agreements(compared)
    worlds = sorted({c.world for c in compared})
    num_rows = -(-len(found) // COLUMNS)
    figure = Figure(figsize=(TEXT_WIDTH, 0.35 + 2.05 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, COLUMNS, squeeze=False).ravel()
    for axes, (measure, agreement) in zip(grid, found.items(), strict=False):
        _draw_panel(axes, measure, [c for c in compared if c.measure == measure], worlds)
        axes.set_title(_numbers(agreement), fontsize=6.5)
    handles = [Line2D([], [], label=world, **_look(worlds, world)) for world in worlds]
    handles.append(Line2D([], [], label="equal", **IDENTITY))
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    if len(found) < len(grid):
        grid[-1].legend(handles=handles, loc="center", frameon=False)
    else:
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    return figure


def _draw_panel(axes: Axes, measure: str, compared: list[Comparison], worlds: list[str]) -> None:
    points = np.array([(c.exact, c.estimate) for c in compared])
    # On every scale that both axes share a straight line from corner to corner.
    ends = [min(0.0, points.min()), max(1.0, points.max())]
    axes.plot(ends, ends, **IDENTITY)
    for world in worlds:
        own = points[[c.world == world for c in compared]]
        if measure in OVER_DECADES:
            # At exactly 0 there are many: worlds stand side by side.
            place = (worlds.index(world) + 0.5) / len(worlds) - 0.5
            own[own[:, 0] == 0, 0] = place * WIDTH_OF_ZERO
        axes.plot(*own.T, alpha=0.5, clip_on=False, **_look(worlds, world))
    if measure in OVER_DECADES:
        ticks = [0, 1e-3, 1e-2, 1e-1, 1]
        for axis, limits in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
            scale = axes.set_xscale if axis is axes.xaxis else axes.set_yscale
            scale("symlog", linthresh=LINEAR_BELOW, linscale=0.5)
            limits(-WIDTH_OF_ZERO / 2, 1.3)
            axis.set_ticks(ticks, ["0", ".001", ".01", ".1", "1"], minor=False)
            axis.set_ticks([], minor=True)
    elif measure != "tq":
        axes.set_xlim(-0.04, 1.04)
        axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel(LABELS[COUNTERPARTS[measure]])
    axes.set_ylabel(LABELS[measure])


def _look(worlds: list[str], world: str) -> dict[str, Any]:
    place = worlds.index(world)
    return {
        "color": COLORS[place % len(COLORS)],
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


def measures_caption(compared: tuple[Comparison, ...]) -> str:
    """Return the caption of the figure, plain text."""
    environments = {c.condition.environment for c in compared}
    pairs = "; ".join(
        f"{LABELS[measure]} against {LABELS[COUNTERPARTS[measure]]}".replace(r"$L_2$", "L2")
        for measure in agreements(compared)
    )
    return (
        "What measures of coverage that need no table are worth, where tables say the truth: "
        f"{pairs}. Each point is one degraded dataset of {len(environments)}, whichever learners "
        "ran on it; the line is equality. Rank correlations are Spearman's, over all points and "
        "over those whose exact concentrability is above 0: it is 0 as soon as one pair that the "
        "optimal policy visits, however rarely, has no data, which no sample can see (at 0 worlds "
        "stand side by side). Tables of few states are easy for all of them: where states recur, "
        "balls shrink to points and a classifier can count. SACo knows no comparator and TQ no "
        "support: they are drawn against what is nearest to them, and measure something else."
    )


def measures_table(compared: tuple[Comparison, ...]) -> str:
    """Return what the figure says as a table in Markdown."""
    head = ["estimate", "exact counterpart", "datasets", "rank correlation", "exact above 0"]
    head += ["rank correlation there", "within a dataset (median)", "estimate - exact (median)"]
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * 2}{' ---: |' * (len(head) - 2)}"]
    for measure, agreement in agreements(compared).items():
        entries = [
            f"`{measure}`",
            f"`{COUNTERPARTS[measure]}`",
            str(agreement.num_datasets),
            written(agreement.rank),
            str(agreement.num_covered or "-"),
            written(agreement.rank_covered),
            f"{written(agreement.rank_within)} ({agreement.num_within})"
            if agreement.num_within
            else "-",
            written(agreement.bias),
        ]
        lines.append(f"| {' | '.join(entries)} |")
    return "\n".join(lines) + "\n"
