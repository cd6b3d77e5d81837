"""The worst case of each learner, and what it loses to the best of each cell."""

from bench.measures.statistics.worst import WorstCase, worst_cases
from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.records import Condition
from plots.data.tasks import Field, fields
from plots.look.links import Anchors, Link
from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.sections import Section, TextFile
from plots.sections.comparisons.standing import interval

PLACE = 1.3
MEASURES = ("regret_to_covered", "normalized_regret")
ENDS = ("worst", "mean", "behind", "far_behind")
MOST_LEARNERS = 16


def section(frame: Frame) -> Section | None:
    """Return the worst cases, none where there are not two learners."""
    parts, rows, link = [], [], Anchors(frame).link
    for field in worst_fields(frame):
        found = dict(zip(field.learners, worst_cases(field.scores), strict=True))
        parts.append(_table(field, found, link))
        rows += [_row(field, learner, case) for learner, case in found.items()]
    if not parts:
        return None
    columns = ["environments", "measure", "learner", "minimax_rank", "num_cells"]
    columns += ["worst_environment", "worst_degradation", "worst_severity"]
    columns += [f"{name}{end}" for name in ENDS for end in ("", "_low", "_high")]
    parts.append(
        "`worst`: the largest mean regret over seeds of any cell, with where it is; `minimax`: the "
        "rank by it; `behind`: the mean over cells of what a learner loses to the best of each "
        "cell; `far behind`: its 95 % quantile over cells. Intervals are of a joint bootstrap over "
        "seeds. The largest of noisy means lies too high and the lowest too low, for all learners "
        "alike. Numbers are in units of optimum minus uniform; all are in [worst.csv](worst.csv)."
    )
    return Section("The worst cases", text="\n\n".join(parts), files=(
        TextFile("worst.csv", csv_table(columns, rows)),))  # fmt: skip


def worst_fields(frame: Frame) -> list[Field]:
    """Return fields by regret to covered where that is known of all of it, else by regret."""
    covered = fields(frame, MEASURES[0])
    known = {name for field in covered for name in field.environments}
    others = [f for f in fields(frame, MEASURES[1]) if not known & set(f.environments)]
    return [f for f in (*covered, *others) if len(f.learners) <= MOST_LEARNERS]


def _cell(field: Field, case: WorstCase) -> Condition:
    place, task = case.worst_cell
    return field.conditions[place][task]


def _table(field: Field, found: dict[str, WorstCase], link: Link) -> str:
    columns = ["learner", "minimax", "worst", "where", "mean", "behind", "far behind"]
    rows = []
    for learner, case in sorted(found.items(), key=lambda pair: pair[1].minimax_rank):
        at = _cell(field, case)
        where = f"{printed.environment(at.environment)}, {printed.degradation(at.degradation)}"
        where = f"{where} {at.severity:g}" if at.severity else where
        overall = [interval(e) for e in (case.mean, case.behind, case.far_behind)]
        numbers = [link(number, learner, None) for number in overall]
        rank = link(str(case.minimax_rank), learner, at)
        words = [escape_markdown(printed.learner(learner)), rank]
        worst = link(interval(case.worst), learner, at)
        rows.append([*words, worst, escape_markdown(where), *numbers])
    measure = printed.measure(field.measure).capitalize()
    return (
        f"{measure} over {field.num_tasks} cells ({escape_markdown(field.title)}):\n\n"
        f"{markdown_table(columns, rows, 1)}"
    )


def _row(field: Field, learner: str, case: WorstCase) -> dict[str, object]:
    at = _cell(field, case)
    row: dict[str, object] = {
        "environments": " ".join(field.environments), "measure": field.measure,
        "learner": learner, "minimax_rank": case.minimax_rank, "num_cells": case.num_cells,
        "worst_environment": at.environment, "worst_degradation": at.degradation,
        "worst_severity": at.severity,
    }  # fmt: skip
    for name in ENDS:
        estimate = getattr(case, name)
        row |= zip((name, f"{name}_low", f"{name}_high"), estimate[:3], strict=True)
    return row
