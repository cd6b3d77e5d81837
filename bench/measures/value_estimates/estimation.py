"""Every estimate of a policy's value from a view of data, as a record stores them.

None of them is a return or a regret: nothing was acted in. What each is worth where the truth is
known is what ``experiment=value_estimates`` shows.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from algorithms.distributions import DiscretePolicy, is_stochastic
from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.measures.evaluation import Policy, chances_table, discrete
from bench.measures.value_estimates.doubly_robust import doubly_robust
from bench.measures.value_estimates.fitted import (
    Model,
    Target,
    bounding_values,
    fitted_values,
    start_value,
)
from bench.measures.value_estimates.importance import (
    effective_number,
    importance_sampling,
    log_ratios,
    scaled,
    unseen_share,
)
from bench.measures.value_estimates.logged import Logged, discounts, logged

# Where policies are evaluated, whether values are estimated beside that.
ValueEstimatesWhere = Literal["without_evaluation", "everywhere"]
FEWEST_EFFECTIVE = 30
"""Effective trajectories below which importance weights say nothing."""
# Fits of values that sum over steps are one per step, and all of them are kept.
LONGEST_HORIZON = 2000
# Observations that a policy is asked for at a time.
CHUNK = 2**16

# Probabilities ``[n, num_actions]`` of a policy at raw observations ``[n, ...]``.
Chances = Callable[[np.ndarray], np.ndarray]


def value_estimates(
    task: Task, dataset: OfflineDataset, policy: Policy, run: int
) -> dict[str, Any]:
    """Return the estimates of one run's policy by its mode and, if stochastic, by sampling."""
    if (why := unsuited(task, dataset)) is not None:
        return {"reason": why}
    nowhere = dataset.rows("observation", slice(0, 1))
    ways: dict[str, Callable[[DiscretePolicy], torch.Tensor]]
    ways = {"mode": lambda distribution: distribution.mode_probabilities()}
    if is_stochastic(policy(nowhere[None], slice(run, run + 1))):
        ways["sampling"] = lambda distribution: distribution.probabilities()

    def acting(way: Callable[[DiscretePolicy], torch.Tensor]) -> Chances:
        def chances(observation: np.ndarray) -> np.ndarray:
            asked = policy(observation[None], slice(run, run + 1))
            return chances_table(way(discrete(asked)))[0]

        return chances

    data = logged(task, dataset)
    estimated = {name: estimates_of(data, acting(way)) for name, way in ways.items()}
    return {**about(data), **estimated}


def unsuited(task: Task, dataset: OfflineDataset) -> str | None:
    """Return why nothing can be estimated from a view of data, None where it can."""
    spec = dataset.spec
    if spec.action_kind == "continuous":
        return "estimates are of numbered actions"
    if not discounts(task.environment) and spec.horizon > LONGEST_HORIZON:
        return (
            f"no more than {LONGEST_HORIZON:,} steps are summed up, a return has {spec.horizon:,}"
        )
    return None if dataset.initial.any() else "no episode's start is left"


def of_the_data(task: Task, dataset: OfflineDataset) -> dict[str, Any]:
    """Return the estimates of two policies that need no learner, by the data's own counts.

    Those are ``counted``, the behavior policy itself, of which returns say what it is worth, and
    ``commonest``, which takes the action that is most often taken in a state.
    """
    data = logged(task, dataset)
    visited = data.visits.sum(-1, keepdims=True)
    uniform = 1 / dataset.spec.num_actions
    counted = np.where(visited > 0, data.visits / np.maximum(visited, 1), uniform)
    highest = data.visits == data.visits.max(-1, keepdims=True)
    tables = {"counted": counted, "commonest": highest / highest.sum(-1, keepdims=True)}

    def acting(table: np.ndarray) -> Chances:
        return lambda observation: table[data.states.of(observation)]

    return {**about(data), **{k: estimates_of(data, acting(t)) for k, t in tables.items()}}


def about(data: Logged) -> dict[str, Any]:
    """Return what all estimates of the data share: what they are of and are made from."""
    discounted = data.horizon is None
    return {
        "of": f"value discounted by {data.discount:g}" if discounted else "undiscounted value",
        "behavior_policy": data.behavior.told,
        "states": data.states.told,
        "num_trajectories": len(data.trajectories),
        "num_patients": data.trajectories.num_patients,
    }


def estimates_of(data: Logged, chances: Chances) -> dict[str, Any]:
    """Return every estimate of a policy's value, those that say nothing None with a reason.

    ``importance_sampling`` and ``doubly_robust`` have bootstrap intervals over patients, ``fitted``
    has none: the bounds are a pair of their own. ``effective_trajectories`` is the effective sample
    size of importance weights, `unseen_share` how much of the value is past the cuts of what they
    are on. ``support_share`` is how likely the policy takes an action that the data has in that
    state, ``agreement`` how likely it takes the recorded one, over all rows and over those where
    that is not the commonest of all.
    """
    # So small are the parts of the work that threads cost several times what they save.
    with threadpool_limits(1):
        return _estimates(data, target_of(data, chances))


def _estimates(data: Logged, target: Target) -> dict[str, Any]:
    dataset = data.dataset
    taken = target.now[np.arange(len(dataset)), dataset.action]
    log_ratio = log_ratios(data.trajectories, data.behavior, taken)
    effective = effective_number(scaled(log_ratio[data.trajectories.last]))
    model = Model(data, target)
    fitted = fitted_values(model)
    low, high = (start_value(data, target, bounding_values(model, end)) for end in (0, 1))
    found: dict[str, Any] = {
        "fitted": start_value(data, target, fitted),
        "fitted_clipped_share": fitted.clipped_share,
        "bound_low": low,
        "bound_high": high,
        "effective_trajectories": effective,
        **_closeness(data, target, taken),
    }
    if effective < FEWEST_EFFECTIVE:
        why = f"{effective:.3g} effective trajectories are fewer than {FEWEST_EFFECTIVE}"
        withheld = ("importance_sampling", "doubly_robust")
        return {**found, **dict.fromkeys(withheld), "reasons": dict.fromkeys(withheld, why)}
    sampled = importance_sampling(data, log_ratio)
    robust = doubly_robust(data, target, fitted, log_ratio)
    for name, estimate in (("importance_sampling", sampled), ("doubly_robust", robust)):
        found |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {**found, "unseen_share": unseen_share(data, log_ratio), "reasons": {}}


def _closeness(data: Logged, target: Target, taken: np.ndarray) -> dict[str, float | None]:
    """Return how near the policy is to the data."""
    action = data.dataset.action
    acts = action != np.bincount(action).argmax()
    return {
        "support_share": float((target.now * (data.visits > 0)[data.state]).sum(-1).mean()),
        "agreement": float(taken.mean()),
        "agreement_where_acting": float(taken[acts].mean()) if acts.any() else None,
    }


def target_of(data: Logged, chances: Chances) -> Target:
    """Return how likely a policy takes actions at all observations, now and next."""
    dataset = data.dataset
    if dataset.spec.observation_kind == "discrete":
        table = chances(np.arange(dataset.spec.observation_size))
        return Target(table[dataset.observation], table[dataset.next_observation])

    def at(name: str) -> np.ndarray:
        parts = (slice(i, i + CHUNK) for i in range(0, len(dataset), CHUNK))
        return np.concatenate([chances(dataset.rows(name, part)) for part in parts])

    return Target(at("observation"), at("next_observation"))
