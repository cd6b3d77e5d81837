"""Learners over all tasks: one number each by four aggregates, and performance profiles."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from bench.measures.statistics.aggregates import AGGREGATES, pooled_interquartile_mean
from bench.measures.statistics.intervals import Estimate, Resampled
from bench.measures.statistics.profiles import performance_profile
from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.tasks import Field, fields
from plots.look.links import Anchors, Link
from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.look.style import GREY, looks, text_width
from plots.sections import Illustration, Section, TextFile

PLACE = 1.1
MEASURE = "normalized_regret"
THRESHOLDS = np.linspace(0, 1.5, 76)
MOST_LEARNERS = 16


class Standing(NamedTuple):
    """One learner over the tasks of a field: an estimate per aggregate."""

    learner: str
    aggregates: dict[str, Estimate]
    corrected: Estimate


def section(frame: Frame) -> Section | None:
    """Return the ranking over all tasks, none where there are not two learners to rank."""
    found = fields(frame, frame.measure or MEASURE)
    if not found:
        return None
    parts, figures, rows, link = [], [], [], Anchors(frame).link
    for number, field in enumerate(found, 1):
        ranked = standings(field)
        parts.append(_text(field, ranked, link))
        rows += [
            {"field": number, "environments": " ".join(field.environments), "learner": s.learner,
             "aggregate": name, "point": e.point, "low": e.low, "high": e.high, "runs": e.num_runs}
            for s in ranked for name, e in _all(s).items()
        ]  # fmt: skip
        if len(field.learners) <= MOST_LEARNERS:
            figures += _figures(frame, field, ranked, "" if number == 1 else f"_{number}")
    columns = ["field", "environments", "learner", "aggregate", "point", "low", "high", "runs"]
    file = TextFile("standing.csv", csv_table(columns, rows))
    return Section("Learners over all tasks", tuple(figures), "\n\n".join(parts), (file,))


def standings(field: Field) -> list[Standing]:
    """Return the learners by their interquartile mean, the lowest first."""
    found = []
    for learner in field.learners:
        drawn = Resampled(field.of(learner))
        aggregates = {name: drawn.percentile(f) for name, f in AGGREGATES.items()}
        found.append(Standing(learner, aggregates, drawn.bca(pooled_interquartile_mean)))
    return sorted(found, key=lambda s: (s.aggregates["interquartile mean"].point, s.learner))


def _all(standing: Standing) -> dict[str, Estimate]:
    return {**standing.aggregates, "interquartile mean, BCa": standing.corrected}


def _text(field: Field, ranked: list[Standing], link: Link) -> str:
    rows = [
        [
            escape_markdown(printed.learner(s.learner)),
            *(link(interval(e), s.learner, None) for e in _all(s).values()),
        ]
        for s in ranked
    ]
    seeds = sorted({scores.shape[-1] for scores in field.scores})
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"{escape_markdown(printed.measure(field.measure).capitalize())} over {field.num_tasks} "
        f"tasks ({escape_markdown(field.title)}), {span} seeds each, with 95 % intervals; lower is "
        f"better.\n\n{markdown_table(['learner', *_all(ranked[0])], rows, 1)}"
    )


def interval(estimate: Estimate) -> str:
    """Return an estimate as printed: ``0.12 (0.10 to 0.15)``."""
    point, low, high = (f"{round(x, 3) + 0.0:.3f}" for x in estimate[:3])
    return f"{point} ({low} to {high})"


def _figures(frame: Frame, field: Field, ranked: list[Standing], suffix: str) -> list[Illustration]:
    over = f"over {field.num_tasks} tasks ({field.title})"
    unit = printed.measure(field.measure)
    one = (
        f"Each learner's {unit} {over}: interquartile mean over runs, mean and median over tasks, "
        "and optimality gap (what lies below 0 counting as 0). Lines are 95 % percentile-bootstrap "
        "intervals, seeds being resampled within environments; conditions that cannot tell "
        "methods apart are left out."
    )
    other = (
        f"Share of runs at or below each {unit} {over}, every task counting alike; bands are "
        "pointwise 95 % intervals. Further up and left is better."
    )
    return [
        Illustration(
            f"standing{suffix}", partial(draw, frame, ranked), "one number per learner", one
        ),
        Illustration(
            f"profile{suffix}", partial(draw_profiles, frame, field), "performance profiles", other
        ),
    ]


def draw(frame: Frame, ranked: list[Standing]) -> Figure:
    """Return a panel per aggregate, a line per learner, the best on top."""
    drawn_as, names = looks(frame.learners), list(AGGREGATES)
    width = text_width()
    columns = len(names) if width > 4 else 2
    rows = -(-len(names) // columns)
    size = (width, rows * (0.45 + 0.17 * len(ranked)))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, name in zip(grid, names, strict=True):
        for place, standing in enumerate(ranked):
            look, estimate = drawn_as[standing.learner], standing.aggregates[name]
            axes.hlines(place, estimate.low, estimate.high, color=look.color, linewidth=1.2)
            axes.plot(estimate.point, place, **(look.line() | {"linestyle": ""}))
        axes.set_title(name)
        axes.set_yticks(range(len(ranked)), [printed.learner(s.learner) for s in ranked])
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.margins(x=0.1)
    grid[0].invert_yaxis()
    return figure


def draw_profiles(frame: Frame, field: Field) -> Figure:
    """Return the profiles, dashed and marked beside their colours."""
    drawn_as, width = looks(frame.learners), text_width()
    figure = Figure(figsize=(width, 0.62 * width), layout="constrained")
    axes = figure.subplots()
    for number, learner in enumerate(field.learners):
        found = performance_profile(field.of(learner), THRESHOLDS)
        look = drawn_as[learner]
        band: dict[str, Any] = {"color": look.color, "linewidth": 0, "alpha": 0.1}
        axes.fill_between(THRESHOLDS, found.low, found.high, **band)
        label = printed.learner(learner)
        axes.plot(THRESHOLDS, found.share, markevery=(3 * number % 15, 15), label=label,
                  **look.line())  # fmt: skip
    axes.axvline(1, color=GREY, linewidth=0.6, linestyle=(0, (1.5, 1.5)))
    axes.set_xlabel(printed.measure(field.measure))
    axes.set_ylabel("share of runs at or below")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, THRESHOLDS[-1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    figure.legend(
        loc="outside upper center", ncols=max(1, int(width / 1.4)), frameon=False, handlelength=2.6
    )
    return figure
