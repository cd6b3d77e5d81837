"""How often a learner was under, at or over the others, counted and put into words."""

from collections.abc import Iterable
from dataclasses import astuple

from plots.sections.contrasts import NEGLIGIBLE, Contrast, Contrasts, Pooled, verdict

VERDICTS = ("under", "at", "over")
TELLING = {True: "yes", None: "not known", False: "no"}


def contrasts_text(found: Contrasts) -> str:
    """Return the tables of verdicts, what they mean, and the pooled differences in sentences."""
    seeds = [row.num_pairs for row in found.rows]
    parts = []
    for against, name in (("others", "the best of the others"), ("individual", "individual")):
        rows = [row for row in found.rows if row.against == against]
        if not rows:
            continue
        if against == "individual":
            parts.append("Total gradients against individual ones, all else being equal:")
        parts.append(verdict_table(rows).rstrip())
        pooled = [_sentence(entry, name) for entry in found.pooled if entry.against == against]
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


def verdict_table(rows: Iterable[Contrast]) -> str:
    """Return counts of verdicts per learner, environment and degradation, in Markdown."""
    groups: dict[tuple[str, str, str, str], list[Contrast]] = {}
    for row in rows:
        environment, degradation, _ = astuple(row.condition)
        place = (row.label, environment, degradation, TELLING[row.informative])
        groups.setdefault(place, []).append(row)
    # Opponents of whom there is one have no median worth a column.
    with_median = any(row.num_others > 1 for group in groups.values() for row in group)
    columns = [*VERDICTS, "estimate at or under"]
    head = ["learner", "environment", "degradation", "tells apart", *columns]
    head += [f"{word} median" for word in VERDICTS] * with_median
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * 4}{' ---: |' * (len(head) - 4)}"]
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
        lines.append(f"| {' | '.join([*map(_escape, place), *map(str, numbers)])} |")
    return "\n".join(lines) + "\n"


def _sentence(pooled: Pooled, name: str) -> str:
    difference = pooled.to_best
    return (
        f"{_escape(pooled.label)}: over {pooled.num_conditions} conditions not known to tell "
        f"nothing, the mean difference to {name} is {difference.point:+.3f} (95 % interval "
        f"{difference.low:+.3f} to {difference.high:+.3f}, seeds resampled jointly over the "
        "conditions, in units of optimum minus uniform)."
    )


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_")
