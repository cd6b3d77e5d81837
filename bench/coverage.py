"""CoverageReport: what the degraded data still covers, exact where the MDP is known.

All ratios compare the distribution of the data over (state, action) with a policy's discounted
occupancy, both summing to one, so that ``min mu / d`` and ``1 / E_mu[(d / mu)^2]`` lie in [0, 1]:
1 is perfect and 0 says that something the policy visits is not covered (never an infinity).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from bench import estimates, samples, tabular
from bench.datasets import OfflineDataset, Task
from bench.environments import Environment

# Whether tabular tasks, whose measures are exact, get estimates beside them.
EstimatesWhere = Literal["outside_tables", "everywhere"]

BINS_PER_DIMENSION = 8
EXACT = ("support_fraction", "inverse_concentrability", "inverse_l2_concentrability")
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
        support_fraction: Share of the optimal policy's occupancy on (state, action) with data.
        inverse_concentrability: ``min d > 0: mu / d`` of the optimal policy.
        inverse_l2_concentrability: ``1 / E_mu[(d / mu)^2]`` of the optimal policy.
        nearest_neighbor_support: Share of the comparator's steps on the data's manifold.
        effective_sample_size: ``1 / E_d[d / mu]`` by a classifier's density ratios.
        inverse_relative_condition_number: Of random features of the comparator and the data.
        saco: Unique (state, action) cells relative to the full data's (Schweighofer 2021).
        tq: Mean value of the episodes, 0 the uniform policy's, 1 the optimum's; not clipped.
        by_policy: The three exact measures for each policy that they were computed for.
        reasons: Why a measure is None.
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
    if task.environment.mdp is None:
        reasons |= dict.fromkeys((*EXACT, "by_policy"), "exact occupancies need a known MDP")
    else:
        for name, occupancy in _comparators(task, dataset).items():
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


def data_distribution(dataset: OfflineDataset) -> np.ndarray:
    """Return the share of the transitions at each ``[states, actions]`` of a tabular task."""
    shape = (dataset.spec.observation_size, dataset.spec.num_actions)
    flat = np.ravel_multi_index((dataset.observation, dataset.action), shape)
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape) / len(dataset)


def best_covered_policy(
    environment: Environment, dataset: OfflineDataset
) -> tuple[np.ndarray, float]:
    """Return the optimal actions ``[states]`` and value where the unseen is worth `v_min`."""
    mdp, spec = environment.mdp, environment.spec
    assert mdp is not None
    covered = data_distribution(dataset) > 0
    action_value = tabular.value_iteration(mdp, spec.discount, covered, spec.v_min)
    # Where a covered pair is worth just `v_min` too, the policy stays on the data.
    among_covered = np.where(covered, action_value, -np.inf)
    choice = np.where(covered.any(-1, keepdims=True), among_covered, action_value)
    return tabular.greedy(choice), float(mdp.initial @ action_value.max(-1))


def occupancy_coverage(occupancy: np.ndarray, dataset: OfflineDataset) -> dict[str, float]:
    """Return the three exact measures of an occupancy ``[states, actions]``."""
    mu = data_distribution(dataset)
    visited = occupancy > 0
    d = occupancy[visited] / occupancy.sum()
    mu = mu[visited]
    covered = bool(np.all(mu > 0))
    return {
        "support_fraction": float(min(1.0, d[mu > 0].sum())),
        # Rounding alone could lift them above 1.
        "inverse_concentrability": float(min(1.0, (mu / d).min())) if covered else 0.0,
        "inverse_l2_concentrability": float(min(1.0, 1 / (d**2 / mu).sum())) if covered else 0.0,
    }


def _comparators(task: Task, dataset: OfflineDataset) -> dict[str, np.ndarray]:
    environment = task.environment
    mdp, discount = environment.mdp, environment.spec.discount
    assert mdp is not None
    optimal = environment.reference_action(np.arange(mdp.num_states))
    best_covered, _ = best_covered_policy(environment, dataset)
    tables = tabular.deterministic(np.stack([optimal, best_covered]), mdp.num_actions)
    of_optimal, of_best_covered = tabular.occupancy(mdp, tables, discount)
    known = {"optimal": of_optimal, "best_covered": of_best_covered}
    if task.behavior_occupancy is not None:
        known["behavior"] = task.behavior_occupancy
    return known


def saco(dataset: OfflineDataset, reference: OfflineDataset) -> float:
    """Return unique (state, action) cells relative to `reference`, whose quantiles fix the bins.

    Every dimension of a vector, observation or action, has `BINS_PER_DIMENSION` bins.
    """
    observation = _bin_edges(reference.observation)
    action = _bin_edges(reference.action)

    def num_cells(view: OfflineDataset) -> int:
        return num_distinct(
            [*_columns(view.observation, observation), *_columns(view.action, action)]
        )

    return num_cells(dataset) / num_cells(reference)


def _bin_edges(column: np.ndarray) -> np.ndarray | None:
    """Return the inner edges ``[dim, bins - 1]`` of vectors ``[n, dim]``, None for numbers."""
    if column.ndim == 1:
        return None
    levels = np.linspace(0, 1, BINS_PER_DIMENSION + 1)[1:-1]
    return np.quantile(column, levels, axis=0).T


def _columns(column: np.ndarray, edges: np.ndarray | None) -> list[np.ndarray]:
    if edges is None:
        return [column]
    return [np.searchsorted(edge, x) for edge, x in zip(edges, column.T, strict=True)]


def num_distinct(columns: Sequence[np.ndarray]) -> int:
    """Return how many different rows columns of integers ``[n]``, none negative, make up."""
    key = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        size = int(column.max()) + 1
        if (int(key.max()) + 1) * size > np.iinfo(np.int64).max:
            # Numbered anew from 0, which rows go together stays as it is.
            key = np.unique(key, return_inverse=True)[1]
        key = key * size + column
    return len(np.unique(key))


def trajectory_quality(task: Task, dataset: OfflineDataset) -> tuple[float | None, str]:
    """Return the mean value of the data's episodes, 0 the uniform policy's, 1 the optimum's.

    TQ of Schweighofer et al. 2021, in the environment's units of value: discounted returns where
    the MDP is known, undiscounted ones elsewhere. An episode of which anything is left counts once
    and in full, as collected: what a hole has taken says nothing about who collected the rest.
    A step limit cuts what would have followed: where every step costs, that lifts the value.
    Rewards are the view's, altered ones included. Never clipped: chance or a better behavior policy
    than the reference leads above 1, a worse one than the uniform policy below 0.

    The second entry says why there is none.
    """
    best, uniform = task.environment.optimum, task.environment.uniform
    if best is None or uniform is None:
        return None, "the values of a reference and of the uniform policy are not both known"
    if best == uniform:
        return None, "the uniform policy is optimal"
    known = task.environment.mdp is not None
    discount = task.environment.spec.discount if known else 1.0
    return float((dataset.discounted_returns(discount).mean() - uniform) / (best - uniform)), ""


def as_dict(report: CoverageReport, learned: dict[str, float] | None) -> dict[str, Any]:
    """Return the report as a record stores it, the learned policy's coverage included."""
    by_policy = {name: dict(measures) for name, measures in report.by_policy.items()}
    if learned is not None:
        by_policy["learned"] = learned
    return {**report.__dict__, "by_policy": by_policy, "reasons": dict(report.reasons)}
