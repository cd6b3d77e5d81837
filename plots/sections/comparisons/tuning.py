"""What each learner's tuning was worth: regret by number of online evaluations of its settings.

A bandit tries the settings of one learner in one task, one evaluation after the other, and deploys
what looked best; an evaluation is a run of another seed of that task. Beside it stands what is
picked without any: the setting whose runs ended with the highest value or the lowest loss that they
recorded themselves.
"""

from collections import defaultdict
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from bench.measures.statistics.tuning import TuningCurve, tuning_curve
from plots.data import names as printed
from plots.data.frame import Frame, Learner
from plots.data.records import Condition
from plots.look.markup import csv_table
from plots.look.style import looks, text_width
from plots.sections import Illustration, Section, TextFile
from plots.sections.comparisons.ranking import kind_of

PLACE = 6.1
MEASURE = "normalized_regret"
FEWEST_SETTINGS = 3
# Beginnings of metrics by which a setting is picked offline, and whether the highest one is.
OFFLINE = {"value": True, "follower_value": True, "loss": False, "bellman_loss": False}


class Tuned(NamedTuple):
    """One learner in one kind of world; `offline` is regret by the metric that picks."""

    kind: str
    algorithm: str
    curve: TuningCurve
    offline: dict[str, float]
    num_tasks: int


def section(frame: Frame) -> Section | None:
    """Return the curves, none where no learner has settings to choose from."""
    found = tuned(frame)
    if not found:
        return None
    rows = [
        {"kind": t.kind, "algorithm": t.algorithm, "evaluations": k + 1, "regret": regret,
         "low": t.curve.low[k], "high": t.curve.high[k], "tasks": t.num_tasks}
        for t in found for k, regret in enumerate(t.curve.regret)
    ]  # fmt: skip
    rows += [
        {"kind": t.kind, "algorithm": t.algorithm, "evaluations": 0, "picked_by": name,
         "regret": regret, "tasks": t.num_tasks}
        for t in found for name, regret in t.offline.items()
    ]  # fmt: skip
    columns = ["kind", "algorithm", "evaluations", "picked_by", "regret", "low", "high", "tasks"]
    caption = (
        "Expected normalized regret of the setting that a UCB1 bandit deploys after so many online "
        "evaluations of a learner's settings, tuning for each task anew (arXiv 2504.11453); bands "
        "hold 95 % of simulated tunings. An evaluation is a run of one seed."
    )
    figure = Illustration("tuning", partial(draw, found), "what tuning is worth", caption)
    text = (
        "Regrets, also of what each learner's own last value or loss would have picked without an "
        "evaluation (0 evaluations), are in [tuning.csv](tuning.csv)."
    )
    file = TextFile("tuning.csv", csv_table(columns, rows))
    return Section("What tuning is worth", (figure,), text, (file,))


def tuned(frame: Frame) -> list[Tuned]:
    """Return every learner with enough settings over the tasks that all of these have."""
    scores: dict[tuple[str, str], dict[Condition, dict[str, dict[int, float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    metrics: dict[tuple[str, str, Condition, str], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record in frame.completed():
        if (score := record.final.get(MEASURE)) is None:
            continue
        learner = kind_of(frame, record), record.algorithm
        place, label = frame.places[record.run_id], frame.labels[record.run_id]
        scores[learner][place][label][record.seed] = float(score)
        for name in OFFLINE.keys() & record.metrics.keys():
            if record.metrics[name]:
                metrics[*learner, place, label][name].append(float(record.metrics[name][-1][1]))
    found = []
    for (kind, algorithm), places in sorted(scores.items()):
        settings = sorted({label for own in places.values() for label in own})
        whole = {p: own for p, own in places.items() if len(own) == len(settings)}
        if len(settings) < FEWEST_SETTINGS or not whole:
            continue
        tasks: list[np.ndarray] = []
        picked: dict[str, list[float]] = defaultdict(list)
        for place, own in whole.items():
            seeds = sorted(set.intersection(*(set(own[label]) for label in settings)))
            if not seeds:
                continue
            task = np.array([[own[label][seed] for seed in seeds] for label in settings])
            tasks.append(task)
            said = [metrics[kind, algorithm, place, label] for label in settings]
            for name, highest in OFFLINE.items():
                if all(name in values for values in said):
                    ends = np.array([np.mean(values[name]) for values in said])
                    best = int(np.argmax(ends) if highest else np.argmin(ends))
                    picked[name].append(float(task[best].mean()))
        if tasks:
            offline = {k: float(np.mean(v)) for k, v in picked.items() if len(v) == len(tasks)}
            curve = tuning_curve(tasks, np.random.default_rng(0))
            found.append(Tuned(kind, algorithm, curve, offline, len(tasks)))
    return found


def draw(found: list[Tuned]) -> Figure:
    """Return a panel per kind of world, a curve per learner."""
    kinds = sorted({t.kind for t in found})
    drawn_as = looks([Learner(name, name, 0) for name in sorted({t.algorithm for t in found})])
    figure = Figure(figsize=(text_width(), 2.6), layout="constrained")
    grid = figure.subplots(1, len(kinds), squeeze=False)[0]
    for axes, kind in zip(grid, kinds, strict=True):
        for one in [t for t in found if t.kind == kind]:
            look, curve = drawn_as[one.algorithm], one.curve
            evaluations = np.arange(1, len(curve.regret) + 1)
            axes.fill_between(
                evaluations, curve.low, curve.high, color=look.color, alpha=0.08, linewidth=0
            )
            name = printed.learner(one.algorithm)
            every = max(1, len(evaluations) // 6)
            axes.plot(evaluations, curve.regret, markevery=every, label=name, **look.line())
        axes.set_title(kind)
        axes.set_xlabel("online evaluations")
        axes.yaxis.set_major_formatter("{x:g}")
    grid[0].set_ylabel("normalized regret")
    handles = {h.get_label(): h for axes in grid for h in axes.get_legend_handles_labels()[0]}
    columns = max(1, int(text_width() / 1.1))
    figure.legend(
        handles=list(handles.values()), loc="outside upper center", ncols=columns, frameon=False
    )
    return figure
