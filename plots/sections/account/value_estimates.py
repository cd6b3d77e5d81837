"""What data alone says of policies' values, where nothing could be acted in."""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from plots.data import names as printed
from plots.data.estimates import Estimated, estimated
from plots.data.frame import Frame
from plots.data.records import Condition
from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.sections import Section, TextFile

PLACE = 4.2
NUMBERS = (
    "fitted", "bound_low", "bound_high", "importance_sampling", "importance_sampling_low",
    "importance_sampling_high", "doubly_robust", "doubly_robust_low", "doubly_robust_high",
    "effective_trajectories", "unseen_share", "fitted_clipped_share", "support_share", "agreement",
    "agreement_where_acting",
)  # fmt: skip
# Columns of the table: an estimate, and the numbers that are its interval.
SHOWN: dict[str, tuple[str, tuple[str, ...]]] = {
    "fitted (bounds)": ("fitted", ("bound_low", "bound_high")),
    "importance sampling": (
        "importance_sampling", ("importance_sampling_low", "importance_sampling_high"),
    ),
    "doubly robust": ("doubly_robust", ("doubly_robust_low", "doubly_robust_high")),
    "effective trajectories": ("effective_trajectories", ()),
    "supported": ("support_share", ()),
    "agreement": ("agreement", ()),
    "where acting": ("agreement_where_acting", ()),
}  # fmt: skip

Row = tuple[Condition, str, str]


def section(frame: Frame) -> Section | None:
    """Return a table of the estimates of policies that were not evaluated, None without any."""
    alone = [one for one in estimated(frame) if one.value is None]
    if not alone:
        return None
    rows: dict[Row, list[Estimated]] = defaultdict(list)
    for one in alone:
        rows[one.place, one.learner, one.way].append(one)
    columns = ("environment", "degradation", "severity", "learner", "acting", "runs")
    table = markdown_table(
        (*columns, *SHOWN), (_row(row, rows[row]) for row in sorted(rows, key=_order)), 5
    )
    return Section(
        "Estimated values, no returns",
        text=f"{_caption(alone)}\n\n{table}\nEvery run is a line of "
        "[value_estimates.csv](value_estimates.csv).",
        files=(TextFile("value_estimates.csv", _csv(alone)),),
        screen=(_sentence(alone),),
    )


def _sentence(alone: Sequence[Estimated]) -> str:
    return (
        f"Nothing could be acted in for {len(alone)} policies: report.html and value_estimates.csv "
        "have estimates of their values, which are no returns."
    )


def _caption(alone: Sequence[Estimated]) -> str:
    """Return what the numbers are and are not."""
    told = {name: sorted({str(one.about.get(name)) for one in alone})
            for name in ("of", "behavior_policy", "states")}  # fmt: skip
    parts = [f"{name.replace('_', ' ')}: {', '.join(found)}" for name, found in told.items()]
    return (
        "From the data alone, since nothing could be acted in: no returns and no regrets, and no "
        "measure of what a policy would do to anyone. What each kind of estimate has been worth "
        "where the truth is known is what `experiment=value_estimates` shows. Means over runs, "
        "intervals those of the runs on average; a dash where all runs had fewer than 30 effective "
        f"trajectories. {escape_markdown('; '.join(parts).capitalize())}."
    )


def _order(row: Row) -> tuple[Any, ...]:
    return (*vars(row[0]).values(), *row[1:])


def _row(row: Row, runs: Sequence[Estimated]) -> list[str]:
    place, learner, way = row
    words = [printed.environment(place.environment), printed.degradation(place.degradation)]
    words += [f"{place.severity:g}", printed.learner(learner), way]
    cells = [_cell(runs, *shown) for shown in SHOWN.values()]
    return [*map(escape_markdown, words), str(len(runs)), *cells]


def _cell(runs: Sequence[Estimated], name: str, ends: Sequence[str]) -> str:
    """Return a mean over the runs that have the number, and of the ends of its interval."""
    known = [one.found for one in runs if one.found.get(name) is not None]
    if not known:
        return "-"
    means = [
        f"{fmean(found[end] for found in known):.4g}"
        for end in ends
        if all(found.get(end) is not None for found in known)
    ]
    interval = f" ({' to '.join(means)})" if means else ""
    some = f", {len(known)} of them" if len(known) < len(runs) else ""
    return f"{fmean(found[name] for found in known):.4g}{interval}{some}"


def _csv(alone: Sequence[Estimated]) -> str:
    columns = ["environment", "degradation", "severity", "data", "learner", "acting"]
    rows = [
        {**vars(one.place), "data": one.data, "learner": one.learner, "acting": one.way}
        | {name: one.found.get(name) for name in NUMBERS}
        for one in sorted(alone, key=lambda o: (*vars(o.place).values(), o.learner, o.way, o.data))
    ]
    return csv_table([*columns, *NUMBERS], rows)
