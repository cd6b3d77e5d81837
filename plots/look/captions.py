"""The sentences that several captions share: by which rule a number came about, from which runs.

They are plain text; whoever puts them into Markdown or LaTeX escapes them.
"""

from collections import Counter, defaultdict
from collections.abc import Container

from bench.measures.statistics.telling import INFORMATIVE_SHARE
from bench.store.code import targets_of
from plots.data.frame import Frame

MEASURE_WORDS = {
    "normalized_regret": "Normalized regret (0 is the optimum, 1 the uniform policy)",
    "regret_to_covered": "Regret to the best covered policy (value units of each environment;"
    " below 0 the learner does better than the data can vouch for)",
    "regret_to_support": "Regret to the best policy that takes seen actions wherever a state has"
    " any (true dynamics, uniform elsewhere; value units of each environment)",
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
    numbers = Counter(record.status for record in frame.records)
    missing = sum(cell.num_missing for cell in frame.cells.values())
    parts = [
        f"{numbers['completed']} completed",
        f"{numbers['empty']} were left without data by the degradation",
        f"{numbers['failed']} failed",
    ]
    total = _count(numbers.total(), "recorded run")
    return f"Of {total}, {', '.join(parts)}; {missing} more are missing."


def cautions(
    frame: Frame,
    environments: Container[str] | None = None,
    algorithms: Container[str] | None = None,
) -> str:
    """Return a sentence per learner whose completed runs were made by several codes, and one per
    environment of whose runs some are left out; mostly nothing.

    Only runs in the environments and of the algorithms given count, of all where none are given.
    """
    codes: dict[tuple[str, tuple[str, ...]], Counter[str]] = defaultdict(Counter)
    for record in frame.completed():
        if (environments is None or record.environment in environments) and (
            algorithms is None or record.algorithm in algorithms
        ):
            code = "code that is not known" if record.code is None else record.code
            # Another class, for continuous actions say, or of a part, is no version.
            targets = targets_of(record.config.get("algorithm"))
            codes[frame.labels[record.run_id], targets][code] += 1
    mixed = [
        f"The runs of {learner.label} were made by {len(found)} versions of its code: "
        f"{', '.join(f'{number} by {code}' for code, number in sorted(found.items()))}."
        for learner in frame.learners
        for (label, _), found in codes.items()
        if label == learner.label and len(found) > 1
    ]
    less = [
        sentence
        for name, sentence in frame.left_out.items()
        if environments is None or name in environments
    ]
    return " ".join(mixed + less)


def uninformative_rule(measure: str = "normalized_regret") -> str:
    """Return when a condition cannot tell methods apart by a measure, as a clause."""
    best = (
        "best policy on seen actions" if measure == "regret_to_support" else "best covered policy"
    )
    return (
        f"the {best} gains less than "
        f"{INFORMATIVE_SHARE:.0%} of what the optimum gains over the uniform policy, so that the "
        "data cannot tell methods apart"
    ).replace("%", " %")


def _evaluation(frame: Frame) -> str:
    exact = [name for name, s in frame.environments.items() if s.exact]
    others = {n: s for n, s in frame.environments.items() if not s.exact and s.last_updates}
    parts = [f"exact discounted value on {', '.join(exact)}"] if exact else []
    for name, surroundings in others.items():
        episodes = _span(surroundings.num_episodes) if surroundings.num_episodes else "all"
        kind = "mean discounted return" if surroundings.discounted else "mean return"
        place = " and ".join(surroundings.evaluated_in) or name
        parts.append(f"{kind} of {episodes} episodes on {place}")
    for name, surroundings in frame.environments.items():
        if why := " and ".join(surroundings.not_evaluated):
            parts.append(f"none on {name} ({why})")
    return "; ".join(parts)


def _span(numbers: list[int] | tuple[int, ...]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
