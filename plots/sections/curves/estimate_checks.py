"""What estimates of policies' values from data alone are worth, where the truth is known.

Each policy of a run, by its mode and if stochastic by sampling, is one case. Policies that were
learned from the same degraded dataset are ranked by an estimate and by what they were found to be
worth.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import fmean, median
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bench.measures.statistics.ranks import rank_correlation
from plots.data import names as printed
from plots.data.estimates import Estimated, estimated
from plots.data.frame import Frame
from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.look.style import GREY, MARKERS, WORLD_COLORS, text_width
from plots.sections import Illustration, Section, TextFile

PLACE = 4.1


class Estimator(NamedTuple):
    """An estimate: its printed name, the number that ranks policies, and its interval's stem."""

    title: str
    number: str
    interval: str | None


ESTIMATORS = (
    Estimator("importance sampling", "importance_sampling", "importance_sampling"),
    Estimator("doubly robust", "doubly_robust", "doubly_robust"),
    Estimator("fitted Q evaluation", "fitted", None),
    Estimator("bounds (ranked by the lower)", "bound_low", "bound"),
)
BOUNDS = ESTIMATORS[-1]
# Of optimum minus uniform: so near to an interval a truth counts as held. Some truths are means of
# episodes, others lie at the very end of what values can be.
SLACK = 0.01


class Check(NamedTuple):
    """How one estimator did over some cases.

    Attributes:
        policies: Number of cases, and `given` of those of which the estimator said anything.
        error: Median distance from the truth, as a share of optimum minus uniform; None of bounds.
        held: Share of intervals that hold the truth, to within `SLACK`; None without any.
        rank: Mean rank correlation with the truth over datasets of three policies or more, and
            `datasets` their number.
    """

    policies: int
    given: int
    error: float | None
    held: float | None
    rank: float | None
    datasets: int


ROWS: dict[str, tuple[str, Callable[[Check], float | None]]] = {
    "error": ("error", lambda check: check.error),
    "held": ("intervals\nthat hold", lambda check: check.held),
    "rank": ("rank\ncorrelation", lambda check: check.rank),
    "given": ("share given", lambda check: check.given / check.policies),
}


def section(frame: Frame) -> Section | None:
    """Return the check of every estimator, None where no estimate has a truth beside it."""
    cases = [one for one in estimated(frame) if one.value is not None and one.scale is not None]
    if not cases:
        return None
    table = _table(cases)
    figure = Illustration(
        "value_estimates", partial(draw, frame, cases), "estimates against the truth", _caption()
    )
    text = (
        f"{table}\nBy dataset's world over all degradations; `given`: of how many policies the "
        "estimator says anything. Each condition is in "
        "[value_estimate_checks.csv](value_estimate_checks.csv)."
    )
    files = (TextFile("value_estimate_checks.csv", checks_csv(cases)),
             TextFile("value_estimate_checks.md", table))  # fmt: skip
    return Section("Estimates of values, where the truth is known", (figure,), text, files)


def check(estimator: Estimator, cases: Iterable[Estimated]) -> Check:
    """Return how an estimator did over some cases, each with a truth."""
    cases = list(cases)
    given = [one for one in cases if one.found.get(estimator.number) is not None]
    errors = [
        abs(one.found[estimator.number] - (one.value or 0.0)) / abs(one.scale or 1.0)
        for one in given
    ]
    held = [inside for one in given if (inside := _holds(estimator, one)) is not None]
    datasets: dict[tuple[Any, str], list[Estimated]] = defaultdict(list)
    for one in given:
        datasets[one.place, one.data].append(one)
    ranks = [rank for group in datasets.values() if (rank := _rank(estimator, group)) is not None]
    return Check(
        policies=len(cases),
        given=len(given),
        error=median(errors) if errors and estimator is not BOUNDS else None,
        held=fmean(held) if held else None,
        rank=fmean(ranks) if ranks else None,
        datasets=len(ranks),
    )


def _holds(estimator: Estimator, one: Estimated) -> bool | None:
    """Return whether the interval holds the truth, or all but; None where there is no interval."""
    low, high = (one.found.get(f"{estimator.interval}_{end}") for end in ("low", "high"))
    if low is None or high is None or one.value is None:
        return None
    slack = SLACK * abs(one.scale or 1.0)
    return bool(low - slack <= one.value <= high + slack)


def _rank(estimator: Estimator, cases: Sequence[Estimated]) -> float | None:
    return rank_correlation(
        np.array([one.found[estimator.number] for one in cases]),
        np.array([one.value for one in cases]),
    )


def checks_csv(cases: Sequence[Estimated]) -> str:
    """Return a line per condition and estimator, and per condition over all environments."""
    groups: dict[tuple[str, str, float], list[Estimated]] = defaultdict(list)
    for one in cases:
        for environment in (one.place.environment, "all"):
            groups[environment, one.place.degradation, one.place.severity].append(one)
    columns = ["environment", "degradation", "severity", "estimator", *Check._fields]
    rows = [
        {"environment": key[0], "degradation": key[1], "severity": key[2]}
        | {"estimator": estimator.number, **check(estimator, group)._asdict()}
        for key, group in sorted(groups.items())
        for estimator in ESTIMATORS
    ]
    return csv_table(columns, rows, 4)


def _table(cases: Sequence[Estimated]) -> str:
    """Return a line per environment and estimator, then those over all environments."""
    worlds = sorted({one.place.environment for one in cases})
    lines = []
    for world in (*worlds, "all"):
        own = [one for one in cases if world in (one.place.environment, "all")]
        name = escape_markdown(printed.environment(world))
        for estimator in ESTIMATORS:
            found = check(estimator, own)
            given = f"{found.given} of {found.policies}"
            numbers = (found.error, found.held, found.rank)
            lines.append([name, estimator.title, given, *map(_written, numbers)])
    columns = ("environment", "estimate", "given", "error (median)", "intervals hold", "rank")
    return markdown_table(columns, lines, 2)


def _written(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 2) + 0.0:.2f}"


def draw(frame: Frame, cases: Sequence[Estimated]) -> Figure:
    """Return the figure: a column per degradation, a row per question, a line per estimator."""
    degradations = frame.degradations
    size = (text_width(), 0.4 + 1.05 * len(ROWS))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(ROWS), len(degradations), squeeze=False, sharex=True, sharey="row")
    for column, degradation in enumerate(degradations):
        grid[0, column].set_title(printed.degradation(degradation))
        grid[-1, column].set_xlabel("severity")
        own = [one for one in cases if one.place.degradation in (degradation, "none")]
        for row, (label, measure) in enumerate(ROWS.values()):
            _draw_panel(grid[row, column], own, measure)
            if column == 0:
                grid[row, 0].set_ylabel(label)
    for axes, limits in zip(grid[:, 0], ((0, None), (0, 1.05), (-1.05, 1.05), (0, 1.05)),
                            strict=True):  # fmt: skip
        axes.set_ylim(*limits)
    for axes in grid[1]:
        axes.axhline(0.95, color=GREY, linewidth=0.6, zorder=1)
    for axes in grid[2]:
        axes.axhline(0, color=GREY, linewidth=0.6, zorder=1)
    handles = [Line2D([], [], label=e.title, **_look(i)) for i, e in enumerate(ESTIMATORS)]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    return figure


def _draw_panel(
    axes: Axes, cases: Sequence[Estimated], measure: Callable[[Check], float | None]
) -> None:
    severities = sorted({one.place.severity for one in cases})
    for place, estimator in enumerate(ESTIMATORS):
        points = [
            (severity, value)
            for severity in severities
            if (found := check(estimator, (c for c in cases if c.place.severity == severity)))
            and (value := measure(found)) is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), **_look(place))


def _look(place: int) -> dict[str, Any]:
    return {"color": WORLD_COLORS[place], "marker": MARKERS[place], "linewidth": 1.0}


def _caption() -> str:
    return (
        "What estimates from data alone are worth where the truth is known, over all environments "
        "and policies. Error: median distance from the true value, 1 being optimum minus uniform. "
        "Intervals: the share that holds the truth to within .01 (95 % were meant; bounds claim no "
        "level). Rank "
        "correlation: Spearman's, among policies of the same dataset, mean over datasets. "
        "Given: of how many policies the estimator says anything; importance sampling and the "
        "doubly robust estimate are withheld below 30 effective trajectories, so that their other "
        "rows are of the easier cases."
    )
