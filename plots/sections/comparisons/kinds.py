"""Learners by kind of world: how bad the unseen is decides who fares well without data.

Which kind a world is of stands in ``names.yaml``.
"""

from collections.abc import Iterator

from bench.measures.statistics.worst import WorstCase, worst_cases
from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.tasks import Field, fields
from plots.look.links import Anchors, Link
from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.sections import Section, TextFile

PLACE = 1.4
MEASURE = "normalized_regret"
ALL = "all"
COLUMNS = ("kind", "environments", "learner", "num_cells", "mean", "mean_low", "mean_high", "worst",
           "worst_low", "worst_high")  # fmt: skip


def section(frame: Frame) -> Section | None:
    """Return the table, none where all worlds are of one kind."""
    parts, rows, link = [], [], Anchors(frame).link
    for field in fields(frame, MEASURE):
        found = dict(_by_kind(field))
        # Worlds of two kinds at least, and all of them together.
        if len(found) > 2:
            parts.append(_table(field, found, link))
            rows += [_row(*place, case) for place, cases in found.items() for case in cases.items()]
    if not parts:
        return None
    parts.append(
        "Mean normalized regret over the conditions that can tell methods apart and, behind it, "
        "that of the worst of them. 95 % intervals, of a joint bootstrap over seeds, are in "
        "[kinds.csv](kinds.csv)."
    )
    file = TextFile("kinds.csv", csv_table(COLUMNS, rows))
    return Section("By kind of world", text="\n\n".join(parts), files=(file,))


def _by_kind(field: Field) -> Iterator[tuple[tuple[str, tuple[str, ...]], dict[str, WorstCase]]]:
    """Yield per kind, with its worlds, every learner's cases; all worlds come last."""
    kinds = [printed.kind(name) for name in field.environments]
    for kind in [*dict.fromkeys(kinds), ALL]:
        places = [i for i, found in enumerate(kinds) if kind in (found, ALL)]
        cases = worst_cases([field.scores[place] for place in places])
        worlds = tuple(field.environments[place] for place in places)
        yield (kind, worlds), dict(zip(field.learners, cases, strict=True))


def _table(
    field: Field, found: dict[tuple[str, tuple[str, ...]], dict[str, WorstCase]], link: Link
) -> str:
    counts = [next(iter(cases.values())).num_cells for cases in found.values()]
    heads = [f"{kind} ({n})" for (kind, _), n in zip(found, counts, strict=True)]
    everywhere = list(found.values())[-1]
    rows = [
        [
            escape_markdown(printed.learner(learner)),
            *(_cell(field, worlds, x[learner], learner, link) for (_, worlds), x in found.items()),
        ]
        for learner in sorted(field.learners, key=lambda name: everywhere[name].mean.point)
    ]
    return f"{escape_markdown(field.title)}:\n\n{markdown_table(['learner', *heads], rows, 1)}"


def _cell(field: Field, worlds: tuple[str, ...], case: WorstCase, learner: str, link: Link) -> str:
    """Return the mean, which leads to a learner's runs, and the worst, which leads to its cell."""
    place, task = case.worst_cell
    at = field.conditions[field.environments.index(worlds[place])][task]
    mean, worst = f"{case.mean.point:.3f}", f"{case.worst.point:.2f}"
    return f"{link(mean, learner, None)}, {link(worst, learner, at)}"


def _row(kind: str, worlds: tuple[str, ...], told: tuple[str, WorstCase]) -> dict[str, object]:
    learner, case = told
    row: dict[str, object] = {
        "kind": kind,
        "environments": " ".join(worlds),
        "learner": learner,
        "num_cells": case.num_cells,
    }
    for name in ("mean", "worst"):
        row |= zip((name, f"{name}_low", f"{name}_high"), getattr(case, name)[:3], strict=True)
    return row
