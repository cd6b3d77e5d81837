"""The sentences under figures and tables: by which rule a number came about, from which runs.

They are plain text; whoever puts them into Markdown or LaTeX escapes them.
"""

from plots.frame import Frame
from plots.sections.panel import HIGHEST, LOWEST, Plot, exceeds
from plots.surroundings import INFORMATIVE_SHARE

COVERAGE_WORDS = {
    "support_fraction": "the share of the optimal policy's occupancy on visited (state, action)"
    " pairs",
    "nearest_neighbor_support": "the share of the reference policy's steps near the data",
}
MEASURE_WORDS = {
    "normalized_regret": "Normalized regret (0 is the optimum, 1 the uniform policy)",
    "regret_to_covered": "Regret to the best covered policy (value units of each environment;"
    " below 0 the learner does better than the data can vouch for)",
}


def rule(frame: Frame) -> str:
    """Return how a cell's number is made: which evaluation, which aggregate, which interval."""
    updates = sorted({n for s in frame.environments.values() for n in s.last_updates})
    when = f" ({_span(updates)} updates)" if updates else ""
    return (
        f"Final evaluation, after the last update{when}: {_evaluation(frame)}. "
        f"Interquartile mean over {num_runs(frame)}; "
        "intervals are 95 % percentile-bootstrap intervals over runs."
    )


def num_runs(frame: Frame) -> str:
    """Return how many runs a cell has, as a range if cells differ."""
    counts = sorted({cell.num_runs for cell in frame.cells.values() if cell.num_runs})
    if len(counts) == 1:
        return f"{_count(counts[0], 'run')} (seeds) per cell"
    return f"{counts[0]} to {counts[-1]} runs (seeds) per cell"


def statuses(frame: Frame) -> str:
    """Return one sentence with the number of runs of every status, and of those not there."""
    total = sum(frame.statuses.values())
    missing = sum(cell.num_missing for cell in frame.cells.values())
    parts = [
        f"{frame.statuses.get('completed', 0)} completed",
        f"{frame.statuses.get('empty', 0)} were left without data by the degradation",
        f"{frame.statuses.get('failed', 0)} failed",
    ]
    return f"Of {_count(total, 'recorded run')}, {', '.join(parts)}; {missing} more are missing."


def figure_caption(frame: Frame, plot: Plot, rows: list[str]) -> str:
    """Return the caption of one figure whose rows are these environments."""
    if plot.axis == "severity":
        over = "by severity of the degradation; every curve starts from the shared severity 0"
    else:
        over = (
            "by measured coverage, which falls to the right; each point is one severity, at the "
            "mean measured coverage of its runs: "
        ) + _coverage_measures(frame, rows)
    sentences = [
        f"{MEASURE_WORDS[plot.measure]} {over}.",
        "Rows are environments, columns degradations.",
        rule(frame),
        "Bands and bars are those intervals; a cell of one run has none.",
    ]
    if plot.axis == "severity":
        sentences.append("Learners stand side by side at each severity so that equal ones show.")
    if any(exceeds(frame, plot, name) for name in rows):
        sentences.append(f"Triangles at an edge: values beyond the axis, {_cut(plot)}.")
    shown = [s for c, s in frame.situations.items() if c.environment in rows]
    if any(situation.informative is False for situation in shown):
        sentences.append(f"Hatched: {uninformative_rule()}.")
    left_out = [name for name in frame.environments if name not in rows]
    if left_out:
        sentences.append(f"Left out, since the quantity is not known there: {', '.join(left_out)}.")
    return " ".join([*sentences, statuses(frame)])


def table_caption(frame: Frame) -> str:
    """Return the caption of the compact table."""
    sentences = [
        f"{MEASURE_WORDS['normalized_regret']}; lower is better.",
        rule(frame),
        "Bold: the lowest of a row, and what prints the same.",
        "Severity 0 is shared by all degradations.",
    ]
    if any(situation.informative is False for situation in frame.situations.values()):
        sentences.append(f"A dagger marks rows without a best: {uninformative_rule()}.")
    counts = {cell.num_runs for cell in frame.cells.values()}
    if len(counts) > 1:
        sentences.append("In parentheses: number of runs where fewer than elsewhere in the table.")
    return " ".join([*sentences, statuses(frame)])


def uninformative_rule() -> str:
    """Return when a condition cannot tell methods apart, as a clause."""
    return (
        "the best covered policy gains less than "
        f"{INFORMATIVE_SHARE:.0%} of what the optimum gains over the uniform policy, so that the "
        "data cannot tell methods apart"
    ).replace("%", " %")


def _cut(plot: Plot) -> str:
    if plot.measure == "normalized_regret":
        return f"which is cut at {HIGHEST:g}"
    return (
        f"which is cut at {HIGHEST:g} (above 0) and {abs(LOWEST):g} (below 0) times the value of "
        "the optimum minus that of the uniform policy"
    )


def _evaluation(frame: Frame) -> str:
    exact = [name for name, s in frame.environments.items() if s.exact]
    others = {name: s for name, s in frame.environments.items() if not s.exact}
    parts = [f"exact discounted value on {', '.join(exact)}"] if exact else []
    for name, surroundings in others.items():
        episodes = _span(surroundings.num_episodes) if surroundings.num_episodes else "all"
        parts.append(f"mean return of {episodes} episodes on {name}")
    return "; ".join(parts)


def _coverage_measures(frame: Frame, rows: list[str]) -> str:
    names = {name: frame.environments[name].coverage_name for name in rows}
    return "; ".join(
        f"{words} ({', '.join(name for name in rows if names[name] == measure)})"
        for measure, words in COVERAGE_WORDS.items()
        if measure in names.values()
    )


def _span(numbers: list[int] | tuple[int, ...]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
