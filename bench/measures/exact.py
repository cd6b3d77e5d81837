"""Coverage on finite MDPs, exactly: the data's distribution against occupancies.

All ratios compare the distribution of the data over (state, action) with a policy's discounted
occupancy, both summing to one, so that ``min mu / d`` and ``1 / E_mu[(d / mu)^2]`` lie in [0, 1]:
1 is perfect and 0 says that something the policy visits is not covered (never an infinity).
"""

import numpy as np

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.worlds import exact
from bench.worlds.base import Environment


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
    action_value = exact.optimal_values(mdp, spec.discount, covered, spec.v_min)
    # Where a covered pair is worth just `v_min` too, the policy stays on the data.
    among_covered = np.where(covered, action_value, -np.inf)
    choice = np.where(covered.any(-1, keepdims=True), among_covered, action_value)
    return exact.greedy(choice), float(mdp.initial @ action_value.max(-1))


def best_supported_value(environment: Environment, dataset: OfflineDataset) -> float:
    """Return the optimum of policies that take seen actions wherever a state has any.

    In states without data they are uniform, and the world is as it is. Where noise leads every
    policy off the data, a regret to this says more than one to `best_covered_policy`, for which one
    such step outweighs all else.
    """
    mdp, spec = environment.mdp, environment.spec
    assert mdp is not None
    seen = data_distribution(dataset) > 0
    unvisited = np.asarray(~seen.any(-1))
    action_value = exact.optimal_values(mdp, spec.discount, seen, -np.inf, unvisited)
    value = np.where(unvisited, action_value.mean(-1), action_value.max(-1))
    return float(mdp.initial @ value)


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


def occupancies(task: Task, dataset: OfflineDataset) -> dict[str, np.ndarray]:
    """Return the occupancies ``[states, actions]`` whose coverage is measured, by policy."""
    environment = task.environment
    mdp, discount = environment.mdp, environment.spec.discount
    assert mdp is not None
    optimal = environment.reference_action(np.arange(mdp.num_states))
    best_covered, _ = best_covered_policy(environment, dataset)
    tables = exact.deterministic(np.stack([optimal, best_covered]), mdp.num_actions)
    of_optimal, of_best_covered = exact.occupancy(mdp, tables, discount)
    known = {"optimal": of_optimal, "best_covered": of_best_covered}
    if task.behavior_occupancy is not None:
        known["behavior"] = task.behavior_occupancy
    return known
