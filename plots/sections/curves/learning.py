"""Learning curves: regret after each evaluation, where runs were evaluated more than once."""

from collections import defaultdict
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from bench.measures.statistics.intervals import seed_counts
from bench.store.record import RunRecord
from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.records import Condition
from plots.look.markup import csv_table, file_stem
from plots.look.panel import HIGHEST, OPTIMUM, UNIFORM
from plots.look.style import looks, text_width
from plots.sections import Illustration, Section, TextFile

PLACE = 9.5
COLUMNS = 3


class Curve(NamedTuple):
    """One learner under one condition, each ``[evaluations]``.

    Attributes:
        updates: Updates made before each evaluation.
        regret: Mean normalized regret over the runs that have it.
        low: Lower end of its pointwise 95 % percentile-bootstrap interval over runs.
        high: Its upper end.
        num_runs: How many runs that is.
    """

    updates: np.ndarray
    regret: np.ndarray
    low: np.ndarray
    high: np.ndarray
    num_runs: np.ndarray


Curves = dict[Condition, dict[str, Curve]]


def section(frame: Frame) -> Section | None:
    """Return the curves, none where runs were evaluated at their end alone."""
    found = curves(frame)
    if not found:
        return None
    rows = [
        vars(place) | {"learner": label} | dict(zip(Curve._fields, point, strict=True))
        for place, own in found.items()
        for label, curve in own.items()
        for point in zip(*(column.tolist() for column in curve), strict=True)
    ]
    columns = ["environment", "degradation", "severity", "learner", *Curve._fields]
    figures = [_illustration(frame, name, found) for name in dict.fromkeys(
        place.environment for place in found
    )]  # fmt: skip
    text = "Every condition's curves are in [learning.csv](learning.csv)."
    file = TextFile("learning.csv", csv_table(columns, rows))
    return Section("Learning curves", tuple(figures), text, (file,))


def curves(frame: Frame) -> Curves:
    """Return the curves of more than one evaluation, by condition in the frame's order."""
    scores: dict[tuple[Condition, str], dict[int, list[float]]]
    scores = defaultdict(lambda: defaultdict(list))
    for record in frame.completed():
        own = scores[frame.places[record.run_id], frame.labels[record.run_id]]
        for update, regret in _regrets(record):
            own[update].append(regret)
    found: Curves = defaultdict(dict)
    for place in frame.situations:
        for learner in frame.learners:
            points = scores.get((place, learner.label), {})
            if len(points) > 1:
                found[place][learner.label] = _curve(points)
    return dict(found)


def _regrets(record: RunRecord) -> list[tuple[int, float]]:
    """Return the normalized regret after each update that was evaluated, where there is one."""
    optimum, uniform = record.values.get("optimum"), record.values.get("uniform")
    if optimum is None or uniform is None or optimum <= uniform:
        return []
    values = [(evaluation.get("update"), _value(evaluation)) for evaluation in record.evaluations]
    return [
        (int(update), (optimum - value) / (optimum - uniform))
        for update, value in values
        if update is not None and value is not None
    ]


def _value(evaluation: dict[str, Any]) -> float | None:
    """Return what final numbers are made of: the exact value, else the mean of the episodes."""
    exact = evaluation.get("exact_value")
    if exact is not None:
        return float(exact)
    episodes = evaluation.get("discounted_returns") or evaluation.get("returns")
    return float(np.mean(episodes)) if episodes else None


def _curve(points: dict[int, list[float]]) -> Curve:
    lines = []
    for update in sorted(points):
        scores = np.array(points[update])
        replicas = seed_counts(len(scores)) @ scores / len(scores)
        lines.append((update, scores.mean(), *np.quantile(replicas, [0.025, 0.975]), len(scores)))
    updates, regret, low, high, runs = np.array(lines).T
    return Curve(updates.astype(int), regret, low, high, runs.astype(int))


def _illustration(frame: Frame, environment: str, found: Curves) -> Illustration:
    places = shown(frame, environment, found)
    caption = (
        f"Normalized regret in {printed.environment(environment)} against updates: mean over runs "
        "with pointwise 95 % percentile-bootstrap intervals as bands, without degradation and at "
        f"each degradation's highest severity. Axes are cut at {HIGHEST:g}."
    )
    title = f"learning curves in {printed.environment(environment)}"
    drawing = partial(draw, frame, places, found)
    return Illustration(file_stem(f"learning_{environment}"), drawing, title, caption)


def shown(frame: Frame, environment: str, found: Curves) -> list[Condition]:
    """Return the conditions that are drawn: severity 0 and the highest of each degradation."""
    highest: dict[str, Condition] = {}
    for place in sorted(frame.conditions(environment), key=lambda place: place.severity):
        if place in found:
            highest[place.degradation] = place
    return list(highest.values())


def draw(frame: Frame, places: list[Condition], found: Curves) -> Figure:
    """Return a panel per condition, a line per learner."""
    drawn_as, width = looks(frame.learners), text_width()
    columns = min(len(places), COLUMNS if width > 4 else 1)
    rows = -(-len(places) // columns)
    figure = Figure(figsize=(width, 0.7 + 1.6 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(places) :]:
        axes.set_axis_off()
    for number, (axes, place) in enumerate(zip(grid, places, strict=False)):
        # What has no panel below it shows its own ticks.
        axes.tick_params(labelbottom=number + columns >= len(places))
        axes.axhline(0, zorder=1, **OPTIMUM)
        axes.axhline(1, zorder=1, **UNIFORM)
        for label, curve in found[place].items():
            look, updates = drawn_as[label], curve.updates
            axes.fill_between(updates, curve.low, curve.high, color=look.color, alpha=0.1, lw=0)
            every = max(1, len(updates) // 6)
            axes.plot(updates, curve.regret, markevery=every, **look.line())
        severity = f" {place.severity:g}" if place.severity else ""
        axes.set_title(f"{printed.degradation(place.degradation)}{severity}")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
    bottom, top = grid[0].get_ylim()
    grid[0].set_ylim(bottom, min(top, HIGHEST))
    labels = [x.label for x in frame.learners if any(x.label in found[place] for place in places)]
    lines = [grid[0].plot([], [], **drawn_as[label].line())[0] for label in labels]
    names = [printed.learner(label) for label in labels]
    beside: dict[str, Any] = {"loc": "outside upper center", "ncols": max(1, int(width / 1.4))}
    figure.legend(lines, names, frameon=False, handlelength=2.6, **beside)
    figure.supxlabel("updates", fontsize=7)
    figure.supylabel(printed.measure("normalized_regret"), fontsize=7)
    return figure
