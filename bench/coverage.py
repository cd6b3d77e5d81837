"""CoverageReport: what the degraded data still covers, exact where the MDP is known.

All ratios compare the distribution of the data over (state, action) with a policy's discounted
occupancy, both summing to one, so that ``min mu / d`` and ``1 / E_mu[(d / mu)^2]`` lie in [0, 1]:
1 is perfect and 0 says that something the policy visits is not covered (never an infinity).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors

from bench import seeding, tabular
from bench.datasets import OfflineDataset, Task
from bench.environments import Environment

NUM_NEIGHBORS = 5
BINS_PER_DIMENSION = 8
COMPARATOR_EPISODES = 8
COMPARATOR_STRIDE = 5


@dataclass(frozen=True)
class CoverageReport:
    """Measures of coverage; those that cannot be computed are None and have a reason.

    Attributes:
        support_fraction: Share of the optimal policy's occupancy on (state, action) with data.
        inverse_concentrability: ``min d > 0: mu / d`` of the optimal policy.
        inverse_l2_concentrability: ``1 / E_mu[(d / mu)^2]`` of the optimal policy.
        nearest_neighbor_support: Share of the reference policy's steps on the data's manifold.
        saco: Unique (state, action) cells relative to the full data's (Schweighofer 2021).
        by_policy: The three exact measures for each policy that they were computed for.
        reasons: Why a measure is None.
    """

    support_fraction: float | None = None
    inverse_concentrability: float | None = None
    inverse_l2_concentrability: float | None = None
    nearest_neighbor_support: float | None = None
    saco: float | None = None
    by_policy: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


def measure(task: Task, dataset: OfflineDataset) -> CoverageReport:
    """Return the coverage report of a degraded view of the task's data."""
    if task.environment.mdp is None:
        exact = "exact occupancies need a known MDP"
        reasons = {}
        discrete = task.environment.spec.action_kind == "discrete"
        if not task.environment.has_reference_policy:
            reasons["nearest_neighbor_support"] = "no reference policy is known"
        if not discrete:
            reasons["saco"] = "cells are of discrete actions"
        return CoverageReport(
            nearest_neighbor_support=nearest_neighbor_support(task, dataset)
            if task.environment.has_reference_policy
            else None,
            saco=saco(dataset, task.data) if discrete else None,
            reasons={
                **reasons,
                "support_fraction": exact,
                "inverse_concentrability": exact,
                "inverse_l2_concentrability": exact,
                "by_policy": exact,
            },
        )
    by_policy = {
        name: occupancy_coverage(occupancy, dataset)
        for name, occupancy in _comparators(task, dataset).items()
    }
    return CoverageReport(
        **by_policy["optimal"],
        saco=saco(dataset, task.data),
        by_policy=by_policy,
        reasons={"nearest_neighbor_support": "the exact support is known"},
    )


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
    """Return unique (state, action) cells relative to `reference`, whose quantiles fix the bins."""
    edges = None
    if reference.spec.observation_kind == "vector":
        levels = np.linspace(0, 1, BINS_PER_DIMENSION + 1)[1:-1]
        edges = np.quantile(reference.observation, levels, axis=0).T

    def num_cells(view: OfflineDataset) -> int:
        columns = [view.observation] if edges is None else [
            np.searchsorted(edge, column)
            for edge, column in zip(edges, view.observation.T, strict=True)
        ]  # fmt: skip
        return len(np.unique(np.stack([*columns, view.action]), axis=1).T)

    return num_cells(dataset) / num_cells(reference)


def nearest_neighbor_support(task: Task, dataset: OfflineDataset) -> float:
    """Return the share of the reference policy's steps that lie on the data's manifold.

    A step is covered if it falls into the ball of a transition that is left and has the same
    action; a transition's ball reaches to its k-th nearest neighbour among the full data's
    transitions of that action (Kynkaanniemi et al. 2019, "improved recall"), so that balls are
    small where data is dense. Coordinates are standardised on the full data.
    """
    mean, std = task.data.observation.mean(0), task.data.observation.std(0) + 1e-3
    full = (task.data.observation - mean) / std
    left = np.isin(task.data.indices, dataset.indices)
    observation, chosen = _reference_steps(task)
    query = (observation - mean) / std
    covered = 0
    for action in range(task.environment.spec.num_actions):
        same = task.data.action == action
        steps = query[chosen == action]
        if same.sum() <= NUM_NEIGHBORS or not (same & left).any() or len(steps) == 0:
            continue
        # A transition is its own nearest neighbour, hence one more.
        neighbors = NearestNeighbors(n_neighbors=NUM_NEIGHBORS + 1).fit(full[same])
        radius = neighbors.kneighbors(full[same])[0][:, -1]
        distance = cdist(steps, full[same & left])
        covered += int((distance <= radius[left[same]]).any(1).sum())
    return covered / len(observation)


def _reference_steps(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return observations and actions along a few rollouts of the reference policy."""
    environment = task.environment
    rng = seeding.numpy_generator("coverage", int(task.data.provenance["seed"]))
    steps = list(environment.reference_rollout(rng, COMPARATOR_EPISODES))
    active = np.stack([step.active for step in steps])
    observation = np.stack([step.observation for step in steps])[active]
    action = np.stack([step.action for step in steps])[active]
    # Steps of one rollout are much alike; every few of them say as much and cost less.
    return observation[::COMPARATOR_STRIDE], action[::COMPARATOR_STRIDE]


def as_dict(report: CoverageReport, learned: dict[str, float] | None) -> dict[str, Any]:
    """Return the report as a record stores it, the learned policy's coverage included."""
    by_policy = {name: dict(measures) for name, measures in report.by_policy.items()}
    if learned is not None:
        by_policy["learned"] = learned
    return {**report.__dict__, "by_policy": by_policy, "reasons": dict(report.reasons)}
