"""Where the regret comes from: signed parts that add up to it, against severity, per learner."""

import textwrap
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.splits import OFF_SUPPORT, TERMS, Split, Splits, over_worlds, splits, unsplit
from plots.look.captions import num_runs
from plots.look.markup import csv_table, escape_markdown
from plots.look.style import GREY, WORLD_COLORS, text_width
from plots.sections import Illustration, Section, TextFile

PLACE = 1.5
# Beyond so many learners, which are then settings of a few, the CSV has them alone.
MOST_LEARNERS = 16
# So little of optimum minus uniform is not worth a word.
LITTLE = 0.01
# A part that is this much of another counts beside it.
SHARE = 0.1
COLORS = dict(zip(TERMS, (WORLD_COLORS[i] for i in (1, 4, 3, 6, 0)), strict=True))
ALL = "all"


def section(frame: Frame) -> Section | None:
    """Return the figure, a sentence per learner and the CSV, None where no record has a split."""
    found = splits(frame)
    if not found:
        return None
    learners = _learners(frame, found)
    figure = Illustration(
        "regret_split", partial(draw, frame, found), "where the regret comes from",
        _caption(frame, found),
    )  # fmt: skip
    told = [f"- {sentence(frame, found, learner)}" for learner in learners]
    return Section(
        "Where the regret comes from",
        (figure,) if len(learners) <= MOST_LEARNERS else (),
        "\n".join([*told, "", *_without(frame), CSV_WORDS]),
        (TextFile("regret_split.csv", _csv(frame, found)),),
    )


def _learners(frame: Frame, found: Splits) -> list[str]:
    having = {label for _, label in found}
    return [learner.label for learner in frame.learners if learner.label in having]


def _severities(found: Splits, degradation: str) -> list[float]:
    """Return those of a panel: intact data comes first."""
    own = {c.severity for c, _ in found if c.degradation in (degradation, "none")}
    return sorted(own)


def _at(degradation: str, severity: float) -> tuple[str, float]:
    return (degradation if severity else "none", severity)


def draw(frame: Frame, found: Splits) -> Figure:
    """Return the figure: a row per learner, a column per degradation, a bar per severity."""
    learners, columns = _learners(frame, found), _degradations(frame, found)
    width = max(text_width(), 0.5 + 0.22 * text_width() * len(columns))
    figure = Figure(figsize=(width, 0.75 + 0.82 * len(learners)), layout="constrained")
    grid = figure.subplots(len(learners), len(columns), squeeze=False, sharey="row", sharex="col")
    for column, degradation in enumerate(columns):
        severities = _severities(found, degradation)
        for row, learner in enumerate(learners):
            _draw_panel(grid[row, column], found, learner, degradation, severities)
        letters = int(16 * width / len(columns))
        grid[0, column].set_title(textwrap.fill(printed.degradation(degradation), letters))
        grid[-1, column].set_xlabel("severity")
    for row, learner in enumerate(learners):
        grid[row, 0].yaxis.set_major_locator(MaxNLocator(4))
        name = textwrap.fill(printed.learner(learner), 15)
        place: dict[str, Any] = {"xycoords": "axes fraction", "rotation": -90}
        grid[row, -1].annotate(name, (1.03, 0.5), ha="left", va="center", fontsize=7, **place)
    figure.supylabel("share of optimum minus uniform", fontsize=7)
    handles: list[Any] = [
        Patch(color=COLORS[name], label=printed.measure(name)) for name in _shown(found)
    ]
    handles.append(Line2D([], [], label="their sum, the regret", **_DOT))
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False)
    return figure


_DOT: dict[str, Any] = {
    "marker": "D", "markersize": 3, "color": "black", "markeredgecolor": "white",
    "markeredgewidth": 0.5, "linestyle": "",
}  # fmt: skip


def _draw_panel(
    axes: Axes,
    found: Splits,
    learner: str,
    degradation: str,
    severities: list[float],
) -> None:
    places = range(len(severities))
    for place, severity in zip(places, severities, strict=True):
        split = over_worlds(found, learner, _at(degradation, severity))
        if split is None:
            continue
        up = down = 0.0
        for name in TERMS:
            value = split.terms[name]
            if not value:
                continue
            bottom = up if value > 0 else down
            axes.bar(place, value, 0.72, bottom, color=COLORS[name], linewidth=0, zorder=2)
            up, down = (up + value, down) if value > 0 else (up, down + value)
        axes.plot(place, split.regret, zorder=4, **_DOT)
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=3)
    axes.set_xticks(list(places), [f"{severity:g}" for severity in severities])
    axes.set_xlim(-0.6, len(severities) - 0.4)


def _degradations(frame: Frame, found: Splits) -> list[str]:
    having = {condition.degradation for condition, _ in found}
    return [name for name in frame.degradations if name in having] or ["none"]


def _shown(found: Splits) -> list[str]:
    """Return the terms that are anywhere other than 0."""
    return [name for name in TERMS if any(split.terms[name] for split in found.values())]


def sentence(frame: Frame, found: Splits, learner: str) -> str:
    """Return the finding of a learner: per degradation what most of its regret is made of."""
    parts = []
    for degradation in _degradations(frame, found):
        severities = [s for s in _severities(found, degradation) if s or degradation == "none"]
        several = [
            split
            for severity in severities
            if (split := over_worlds(found, learner, _at(degradation, severity)))
        ]
        if several:
            name = escape_markdown(printed.degradation(degradation))
            where = "on intact data" if degradation == "none" else f"under {name}"
            parts.append(f"{where} {_said(several)}")
    said = "; ".join(parts) or "nothing is known but on intact data"
    return f"**{escape_markdown(printed.learner(learner))}**: {said}."


def _said(several: list[Split]) -> str:
    """Return what the mean of some splits, of one weight each, is made of."""
    regret = float(np.mean([one.regret for one in several]))
    terms = {name: float(np.mean([one.terms[name] or 0.0 for one in several])) for name in TERMS}
    up = sorted((n for n in TERMS if terms[n] > LITTLE), key=lambda n: -terms[n])
    if regret < LITTLE or not up:
        return f"it has next to no regret ({regret:.2f})"
    first, rest = up[0], up[1:]
    whole = sum(terms[name] for name in up)
    much = "most" if terms[first] > whole / 2 else "the largest part"
    said = f"{much} of its regret of {regret:.2f} is {printed.measure(first)}, {terms[first]:.2f}"
    if first == OFF_SUPPORT:
        said += f" ({_whose(several)})"
    beside = [_term(name, terms) for name in rest if terms[name] > SHARE * terms[first]]
    if beside:
        said += f", then {' and '.join(beside)}"
    against = [_term(n, terms) for n in TERMS if terms[n] < -max(LITTLE, SHARE * terms[first])]
    return f"{said}, less {' and '.join(against)}" if against else said


def _term(name: str, terms: dict[str, float]) -> str:
    return f"{abs(terms[name]):.2f} of {printed.measure(name)}"


def _whose(several: list[Split]) -> str:
    """Return on whose pairs the off-support error is."""
    missed = float(np.mean([one.missed for one in several]))
    chased = float(np.mean([one.chased for one in several]))
    if missed >= chased:
        return "the critic undervalues unseen pairs of the optimal policy"
    return "the critic overvalues unseen pairs that the learner takes"


def _without(frame: Frame) -> Iterator[str]:
    """Yield who has no split, and why."""
    for learner, reasons in unsplit(frame).items():
        for why, number in reasons.items():
            name = escape_markdown(printed.learner(learner))
            yield f"{name}, {number} runs without a split: {why}\n"


CSV_WORDS = (
    "\nMeans over severities above 0, in units of optimum minus uniform. Every cell is in "
    "[regret_split.csv](regret_split.csv), `all` being the mean over worlds; there `missed` and "
    "`chased` are the off-support error's parts on the optimal policy's pairs and on the "
    "learner's own, `promised` is by how much the critic overstates the learner's policy."
)


def _caption(frame: Frame, found: Splits) -> str:
    worlds = list(dict.fromkeys(printed.environment(c.environment) for c, _ in found))
    unknown = any(None in split.terms.values() for split in found.values())
    said = "is misspecification: critics are tables"
    if unknown:
        said = "is shown as misspecification, which is not known of critics with hidden layers"
    return (
        f"Signed parts of the exact regret to the optimal policy, means over {num_runs(frame)}, "
        f"then over {', '.join(worlds)}, in units of optimum minus uniform; diamonds are their "
        "sum. A bar is the difference between the optimal policy and the learner's. Off-support "
        "error: by how much the critic is wrong, over what they visit, at pairs without data. "
        "Uncertainty: by how much the data's mean outcomes differ from the true ones at the "
        "others. Bias: by how much the critic differs from what the data's mean outcomes and "
        "itself imply there. Optimization error: by how much the critic itself prefers the optimal "
        f"policy, below 0 where it prefers the learner's. Nothing {said}. Axes differ between rows."
    )


def _csv(frame: Frame, found: Splits) -> str:
    columns = ("environment", "degradation", "severity", "learner", "num", "regret", *TERMS,
               "missed", "chased", "promised")  # fmt: skip
    rows = [
        _row(condition.environment, (condition.degradation, condition.severity), label, split)
        for condition in frame.situations
        for label in _learners(frame, found)
        if (split := found.get((condition, label)))
    ]
    places = dict.fromkeys((c.degradation, c.severity) for c in frame.situations)
    rows += [
        _row(ALL, at, label, split)
        for at in places
        for label in _learners(frame, found)
        if (split := over_worlds(found, label, at))
    ]
    return csv_table(columns, rows)


def _row(environment: str, at: tuple[str, float], label: str, split: Split) -> dict[str, Any]:
    degradation, severity = at
    return {
        "environment": environment, "degradation": degradation, "severity": severity,
        "learner": label, "num": split.num_runs, "regret": split.regret, **split.terms,
        "missed": split.missed, "chased": split.chased, "promised": split.promised,
    }  # fmt: skip
