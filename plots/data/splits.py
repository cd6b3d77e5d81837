"""Where regrets come from, out of records: means of cells and over worlds."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from bench.store.record import RunRecord
from plots.data.frame import Frame
from plots.data.records import Condition, UnusableRecords

# As records name them (bench/measures/splits.py), in the order in which they are shown.
OFF_SUPPORT = "off_support_error"
TERMS = (
    OFF_SUPPORT, "on_support_uncertainty", "on_support_bias", "misspecification", "optimization",
)  # fmt: skip
MADE_BEFORE = "The record was made before there was a split."


class Split(NamedTuple):
    """Means over runs, in units of optimum minus uniform.

    Attributes:
        num_runs: How many, or how many worlds.
        regret: What the terms add up to.
        terms: By name; None where a run does not know its own.
        missed: The part of the off-support error that is of the optimal policy's pairs: above 0
            where the critic holds them for worse than they are.
        chased: The part of the learner's own: above 0 where it holds them for better.
        promised: What the critic says that the learner's policy gains over what it does.
    """

    num_runs: int
    regret: float
    terms: dict[str, float | None]
    missed: float
    chased: float
    promised: float


Splits = dict[tuple[Condition, str], Split]


def splits(frame: Frame) -> Splits:
    """Return the mean split of every cell with completed runs that have one."""
    found: dict[tuple[Condition, str], list[Split]] = defaultdict(list)
    for record in frame.completed():
        if (split := _of_run(record)) is not None:
            found[frame.places[record.run_id], frame.labels[record.run_id]].append(split)
    return {key: mean(runs) for key, runs in found.items()}


def unsplit(frame: Frame) -> dict[str, Counter[str]]:
    """Return per learner how many of its runs on tables have no split, by the reason."""
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for record in frame.completed():
        # The best policy on seen actions is known of tables and nowhere else.
        if not record.regret_split.get("terms") and record.values.get("best_supported") is not None:
            said = record.regret_split.get("reasons")
            why = str(said.get("terms", MADE_BEFORE)) if isinstance(said, dict) else MADE_BEFORE
            reasons[frame.labels[record.run_id]][why] += 1
    return reasons


def mean(several: Sequence[Split]) -> Split:
    """Return the mean of some splits, each counted once."""
    return Split(
        len(several),
        fmean(one.regret for one in several),
        {name: _mean(one.terms[name] for one in several) for name in TERMS},
        fmean(one.missed for one in several),
        fmean(one.chased for one in several),
        fmean(one.promised for one in several),
    )


def over_worlds(found: Splits, learner: str, at: tuple[str, float]) -> Split | None:
    """Return the mean over worlds at a degradation's severity, each world counted once."""
    several = [
        split
        for (condition, label), split in found.items()
        if label == learner and (condition.degradation, condition.severity) == at
    ]
    return mean(several) if several else None


def _of_run(record: RunRecord) -> Split | None:
    split, unit = record.regret_split, _unit(record)
    if not split.get("terms") or unit is None:
        return None
    try:
        return _in_units(split, record, unit)
    except (AttributeError, KeyError, TypeError):
        raise UnusableRecords(
            f"The record of run {record.run_id} is not usable: its `regret_split` is not what this "
            "version writes. Remove it, or draw other runs."
        ) from None


def _in_units(split: dict[str, Any], record: RunRecord, unit: float) -> Split:
    terms = split["terms"]
    comparator, learned = (split["by_policy"][name] for name in ("comparator", "learned"))
    return Split(
        1,
        float(record.final["normalized_regret"] or 0.0),
        {name: None if terms[name] is None else terms[name] / unit for name in TERMS},
        comparator[OFF_SUPPORT] / unit,
        -learned[OFF_SUPPORT] / unit,
        (learned["estimate"] - float(record.final["value"] or 0.0)) / unit,
    )


def _unit(record: RunRecord) -> float | None:
    """Return optimum minus uniform, None where regrets are not in units of it."""
    optimum, uniform = (record.values.get(name) for name in ("optimum", "uniform"))
    if record.final.get("normalized_regret") is None or optimum is None or uniform is None:
        return None
    return optimum - uniform


def _mean(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else fmean(x for x in known if x is not None)
