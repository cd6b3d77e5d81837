"""What the runs say about the world they were trained in, whatever the learner."""

from dataclasses import dataclass

import numpy as np

from bench.measures.statistics.telling import tells_apart
from bench.store.record import RunRecord

COVERAGES = ("support_fraction", "nearest_neighbor_support")


@dataclass(frozen=True)
class Situation:
    """What the completed runs under one condition, of all learners, say about their data.

    Attributes:
        coverage: Mean measured coverage in [0, 1], None if not measured.
        informative: Whether the best covered policy is far enough from the uniform one to tell
            methods apart; None where the best covered policy is not known.
        informative_to_support: The same of the best policy that takes seen actions.
    """

    coverage: float | None
    informative: bool | None
    informative_to_support: bool | None

    def tells_apart(self, measure: str) -> bool | None:
        """Return whether a measure can tell methods apart here, None if that is not known."""
        to_support = measure == "regret_to_support"
        return self.informative_to_support if to_support else self.informative


@dataclass(frozen=True)
class Surroundings:
    """What the completed runs in one environment have in common.

    Attributes:
        exact: Whether final policies are scored by their exact value.
        discounted: Whether they are scored by discounted returns instead.
        evaluated_in: What final policies are evaluated in, as records say it.
        not_evaluated: Why some are not evaluated at all, as records say it.
        num_episodes: The numbers of episodes of the final evaluations.
        last_updates: The updates after which the final evaluations were made.
        coverage_name: Which measure of coverage the runs have, None if none.
        scale: Mean value of the optimum minus the uniform policy's.
    """

    exact: bool
    discounted: bool
    evaluated_in: tuple[str, ...]
    not_evaluated: tuple[str, ...]
    num_episodes: tuple[int, ...]
    last_updates: tuple[int, ...]
    coverage_name: str | None
    scale: float | None


def surroundings(records: list[RunRecord]) -> Surroundings:
    """Return what the records of one environment have in common."""
    completed = [r for r in records if r.status == "completed"]
    last = [r.evaluations[-1] for r in completed if r.evaluations]
    gaps = [_gap(r, "optimum") for r in completed]
    known = [gap for gap in gaps if gap is not None]
    measured = [n for n in COVERAGES if any(r.coverage.get(n) is not None for r in completed)]
    return Surroundings(
        exact=bool(last) and all(e.get("exact_value") is not None for e in last),
        discounted=any(e.get("discounted_returns") is not None for e in last),
        evaluated_in=tuple(sorted({r.evaluation for r in completed if r.evaluation})),
        not_evaluated=tuple(
            sorted({r.evaluation_reason for r in completed if r.evaluation_reason})
        ),
        num_episodes=tuple(sorted({len(e.get("returns") or []) for e in last})),
        last_updates=tuple(sorted({e["update"] for e in last if "update" in e})),
        coverage_name=measured[0] if measured else None,
        scale=float(np.mean(known)) if known else None,
    )


def situation(records: list[RunRecord]) -> Situation:
    """Return what the records under one condition say about their data."""
    completed = [r for r in records if r.status == "completed"]
    coverages = [value for r in completed if (value := _coverage(r)) is not None]
    values = [r.values for r in completed]
    return Situation(
        float(np.mean(coverages)) if coverages else None,
        tells_apart(values, "best_covered"),
        tells_apart(values, "best_supported"),
    )


def _coverage(record: RunRecord) -> float | None:
    """Return the share of the comparator's behavior that the data supports, None if unmeasured."""
    measured = [record.coverage.get(name) for name in COVERAGES]
    return next((float(value) for value in measured if value is not None), None)


def _gap(record: RunRecord, name: str) -> float | None:
    """Return by how much the named value exceeds the uniform policy's, None if not known."""
    value, uniform = record.values.get(name), record.values.get("uniform")
    return None if value is None or uniform is None else value - uniform
