"""CoverageReport: what the degraded data still covers, exact where the MDP is known.

Exact measures are those of bench/measures/exact.py, estimates those of estimates.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from threadpoolctl import threadpool_limits

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.measures import cells, estimates
from bench.measures import comparator as samples
from bench.measures.exact import occupancies, occupancy_coverage
from bench.measures.schweighofer import saco, trajectory_quality

# Whether tabular tasks, whose measures are exact, get estimates beside them.
EstimatesWhere = Literal["outside_tables", "everywhere"]

RATIOS = ("inverse_concentrability", "inverse_l2_concentrability")
EXACT = ("support_fraction", *RATIOS)
ESTIMATES = (
    "nearest_neighbor_support",
    "effective_sample_size",
    "inverse_relative_condition_number",
)


@dataclass(frozen=True)
class CoverageReport:
    """Measures of coverage; those that cannot be computed are None and have a reason.

    Attributes:
        comparator: Whose coverage is measured: the reference policy, which is the optimal one on
            tabular tasks, or the best tenth of the full data's episodes.
        support_fraction: Share of the optimal policy's occupancy on (state, action) with data; of
            continuous ones on cells with data nearby, where there is a grid.
        inverse_concentrability: ``min d > 0: mu / d`` of the optimal policy.
        inverse_l2_concentrability: ``1 / E_mu[(d / mu)^2]`` of the optimal policy.
        nearest_neighbor_support: Share of the comparator's steps on the data's manifold.
        effective_sample_size: ``1 / E_d[d / mu]`` by a classifier's density ratios.
        inverse_relative_condition_number: Of random features of the comparator and the data.
        saco: Unique (state, action) cells relative to the full data's (Schweighofer 2021).
        tq: Mean value of the episodes, 0 the uniform policy's, 1 the optimum's; not clipped.
        by_policy: The three exact measures for each policy that they were computed for.
        reasons: Why a measure is None, or a regret that the same knowledge would give.
    """

    comparator: str
    support_fraction: float | None = None
    inverse_concentrability: float | None = None
    inverse_l2_concentrability: float | None = None
    nearest_neighbor_support: float | None = None
    effective_sample_size: float | None = None
    inverse_relative_condition_number: float | None = None
    saco: float | None = None
    tq: float | None = None
    by_policy: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def measure(
    task: Task, dataset: OfflineDataset, estimated: EstimatesWhere = "outside_tables"
) -> CoverageReport:
    """Return the coverage report of a degraded view, not empty, of the task's data.

    Estimates cost more than exact measures: unless they are wanted `everywhere`, tabular tasks go
    without them.
    """
    numbers: dict[str, float | None] = {"saco": saco(dataset, task.data)}
    reasons: dict[str, str] = {}
    numbers["tq"], why = trajectory_quality(task, dataset)
    if why:
        reasons["tq"] = why
    by_policy = {}
    if task.environment.cells is not None:
        numbers["support_fraction"] = cells.support_fraction(task, dataset)
        reasons |= dict.fromkeys(RATIOS, "cells hold too few transitions for ratios of densities")
        reasons["by_policy"] = "exact occupancies of any policy need a known MDP"
    elif task.environment.mdp is None:
        reasons |= dict.fromkeys((*EXACT, "by_policy"), "exact occupancies need a known MDP")
        reasons["regret_to_covered"] = "the best covered policy needs a known MDP or a grid"
    else:
        for name, occupancy in occupancies(task, dataset).items():
            by_policy[name] = occupancy_coverage(occupancy, dataset)
        numbers |= by_policy["optimal"]
    if task.environment.mdp is None or estimated == "everywhere":
        of_samples = estimate(samples.draw(task, dataset))
        numbers |= of_samples
        if of_samples["effective_sample_size"] is None:
            reasons["effective_sample_size"] = (
                f"density ratios need {estimates.FEWEST_POINTS} transitions and as many "
                "comparator steps"
            )
    else:
        reasons |= dict.fromkeys(
            ESTIMATES, "exact measures are known; coverage_estimates=everywhere estimates too"
        )
    comparator = samples.comparator_name(task)
    return CoverageReport(comparator, **numbers, by_policy=by_policy, reasons=reasons)


def estimate(drawn: samples.Samples) -> dict[str, float | None]:
    """Return every estimate of `ESTIMATES` by name."""
    # So small are the parts of the work that threads cost several times what they save.
    with threadpool_limits(1):
        return {name: getattr(estimates, name)(drawn) for name in ESTIMATES}


def as_dict(report: CoverageReport, learned: dict[str, float] | None) -> dict[str, Any]:
    """Return the report as a record stores it, the learned policy's coverage included."""
    by_policy = {name: dict(measures) for name, measures in report.by_policy.items()}
    if learned is not None:
        by_policy["learned"] = learned
    return {**report.__dict__, "by_policy": by_policy, "reasons": dict(report.reasons)}
