"""One algorithm against the best of the others, condition by condition, in tables and sentences."""

from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

from plots.data.contrasts import NEGLIGIBLE, Contrast, Contrasts, Pooled, contrasts, verdict
from plots.data.frame import Frame
from plots.look.links import Anchors, Link
from plots.look.markup import csv_table, escape_markdown, markdown_table
from plots.sections import Section, TextFile

PLACE = 7
VERDICTS = ("under", "at", "over")
TELLING = {True: "yes", None: "not known", False: "no"}


def section(frame: Frame) -> Section | None:
    """Return the contrasts, none without the chosen algorithm or without others beside it."""
    found = contrasts(frame)
    if not found.rows:
        return None
    file, link = TextFile("contrasts.csv", contrasts_csv(found.rows)), Anchors(frame).link
    return Section(
        "Against the best of the others", text=contrasts_text(found, link), files=(file,)
    )


def contrasts_csv(rows: tuple[Contrast, ...]) -> str:
    """Return all contrasts, one line each; an `informative` that is not known is left empty."""
    place = ["environment", "degradation", "severity", "informative", "against", "learner"]
    means = ["measure", "mean", "best_other", "best_mean", "median_mean", "num_others", "num_pairs"]
    lines: list[dict[str, Any]] = []
    for row in rows:
        line = row._asdict() | vars(row.condition) | {"learner": row.label}
        for which in ("to_best", "to_median"):
            difference = line[which]
            ends = (which, f"{which}_low", f"{which}_high")
            line |= zip(ends, difference[:3], strict=True)
            line[f"{which}_verdict"] = verdict(difference)
        lines.append(line)
    suffixes = ("", "_low", "_high", "_verdict")
    differences = [f"{which}{suffix}" for which in ("to_best", "to_median") for suffix in suffixes]
    return csv_table([*place, *means, *differences], lines)


def contrasts_text(found: Contrasts, link: Link) -> str:
    """Return the tables of verdicts, what they mean, and the pooled differences in sentences."""
    seeds = [row.num_pairs for row in found.rows]
    parts = []
    for against, name in (("others", "the best of the others"), ("individual", "individual")):
        rows = [row for row in found.rows if row.against == against]
        if not rows:
            continue
        if against == "individual":
            parts.append("Total gradients against individual ones, all else being equal:")
        parts.append(verdict_table(rows, link).rstrip())
        pooled = [
            _sentence(entry, name, link) for entry in found.pooled if entry.against == against
        ]
        parts += pooled
    few, many = min(seeds), max(seeds)
    left_out = f" Contrasts left out for want of two paired seeds: {found.num_left_out}."
    parts.append(
        "Counts are of conditions, by whether they can tell methods apart. Learners are paired by "
        f"seed ({few if few == many else f'{few} to {many}'} pairs per condition) and the best of "
        "the others, which are learners of other algorithms, is chosen anew in every resample. "
        "The lowest of several noisy means lies too low, so where others are about equal the "
        "difference to the best of them, pooled or not, errs upward: `under` is rarer than its "
        "interval says, and `over` more frequent. "
        "`under`: the 95 % interval of the difference lies below 0; `over`: above 0; `at`: it "
        f"holds 0 or the difference is smaller than {NEGLIGIBLE:g} of what lies between uniform "
        "policy and optimum. An `at` may also mean that there are too few seeds to tell; "
        f"`estimate at or under` counts the differences below {NEGLIGIBLE:g}, whatever their "
        "interval."
        + left_out * (found.num_left_out > 0)
        + " All differences are in [contrasts.csv](contrasts.csv)."
    )
    return "\n\n".join(parts)


def verdict_table(rows: Iterable[Contrast], link: Link) -> str:
    """Return counts of verdicts per learner, environment and degradation, in Markdown.

    They lead to the first of the cells that they count.
    """
    groups: dict[tuple[str, str, str, str], list[Contrast]] = {}
    for row in rows:
        environment, degradation, _ = astuple(row.condition)
        place = (row.label, environment, degradation, TELLING[row.informative])
        groups.setdefault(place, []).append(row)
    # Opponents of whom there is one have no median worth a column.
    with_median = any(row.num_others > 1 for group in groups.values() for row in group)
    columns = [*VERDICTS, "estimate at or under"]
    columns = ["learner", "environment", "degradation", "tells apart", *columns]
    columns += [f"{word} median" for word in VERDICTS] * with_median
    lines = []
    order = list(TELLING.values())
    labels = sorted({place[0] for place in groups})
    # The sort is stable: within a learner, environments stay in the order of the frame.
    for place in sorted(groups, key=lambda p: (labels.index(p[0]), order.index(p[3]) > 1)):
        group = groups[place]
        best = [verdict(row.to_best) for row in group]
        median = [verdict(row.to_median) for row in group]
        numbers = [best.count(word) for word in VERDICTS]
        numbers.append(sum(row.to_best.point < NEGLIGIBLE for row in group))
        numbers += [median.count(word) for word in VERDICTS] * with_median
        linked = [link(str(number), place[0], group[0].condition) for number in numbers]
        lines.append([*map(escape_markdown, place), *linked])
    return markdown_table(columns, lines, 4)


def _sentence(pooled: Pooled, name: str, link: Link) -> str:
    label, difference = escape_markdown(pooled.label), pooled.to_best
    number = link(f"{difference.point:+.3f}", pooled.label, None)
    return (
        f"{label}: over {pooled.num_conditions} conditions not known to tell "
        f"nothing, the mean difference to {name} is {number} (95 % interval "
        f"{difference.low:+.3f} to {difference.high:+.3f}, seeds resampled jointly over the "
        "conditions, in units of optimum minus uniform)."
    )
