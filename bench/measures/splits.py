"""Where a learner's regret on a finite MDP comes from, exactly.

A critic says ``q(s, a)`` and of the states that follow ``V(s)``. By how much its values contradict
each other in the world, and in what the data holds of it, is

    eps_true(s, a)      = E[ r + discount (1 - terminated) V(s') ] - q(s, a)
    eps_empirical(s, a) = the same with the data's mean at (s, a)

For a policy with discounted visits d, from initial states s0, its value J is

    J - E[ V(s0) ] - sum d (q - V)
        = sum_seen d (eps_true - eps_empirical) + sum_seen d eps_empirical + sum_unseen d eps_true
          on-support uncertainty                  on-support bias            off-support error

(the seen pairs have data). The regret is that of the comparator, the optimal policy, less that of
the learner's: the differences of these three terms, and of what the critic itself promises,

    optimization = E[ V_c(s0) ] + sum d_c (q_c - V_c) - E[ V(s0) ],     V(s) = q(s, pi)

Terms are signed and add up to the regret of acting by the mode, ties split evenly. A follower
answers the comparator with values of its own, so that V_c(s) = q_c(s, pi_c) and optimization is the
difference of two promises. Any other critic is of the learner's policy alone: q_c = q and V_c = V,
and optimization is how much better it finds the comparator's actions, over all states that the
comparator visits, as in the performance difference lemma. With V_c(s) = q(s, pi_c) in place of this
all but the first such preference would be called errors of the critic, who made none.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.data.units import reward_unit
from bench.measures.exact import data_distribution
from bench.worlds import exact
from bench.worlds.base import Environment

TERMS = (
    "on_support_uncertainty", "on_support_bias", "misspecification", "off_support_error",
    "optimization",
)  # fmt: skip
COMPARATOR = "optimal policy"
NO_CRITIC = "The learner has no critic that says values of a table's pairs."
NOT_FINITE = "The critic's values are not finite."
NO_TABLE = (
    "The critic has hidden layers: how much of its on-support bias no network of its shape could "
    "remove is not known, so that is in the on-support bias."
)

Critic = Callable[[np.ndarray], np.ndarray | None]
"""What a critic says of a policy ``[states, actions]``, likewise; None where there is none."""


class Errors(NamedTuple):
    """What a critic's contradictions with itself come to over a policy's visits."""

    on_support_uncertainty: float
    on_support_bias: float
    off_support_error: float


def regret_split(
    task: Task, dataset: OfflineDataset, policy: np.ndarray, critic: Critic, tabular: bool
) -> dict[str, Any]:
    """Return a record's split of the regret, in the world's units of value.

    Args:
        task: Of a world whose MDP is known.
        dataset: What the run was trained on.
        policy: The mode's probabilities ``[states, actions]``.
        critic: The learner's, in units of the rewards that learners see.
        tabular: Whether the critic is a table.

    Returns:
        ``terms``, null with a sentence in ``reasons`` where there is no critic; null ones among
        them have theirs too. ``by_policy`` has the three errors and the critic's promise
        ``estimate`` for the comparator and the learner's policy.
    """
    environment, unit = task.environment, reward_unit(dataset.spec)
    assert environment.mdp is not None
    optimal, comparator_visits = _comparator(environment)
    said, said_of_comparator = critic(policy), critic(optimal)
    if said is None or said_of_comparator is None:
        return {"terms": None, "reasons": {"terms": NO_CRITIC}}
    if not (np.isfinite(said).all() and np.isfinite(said_of_comparator).all()):
        return {"terms": None, "reasons": {"terms": NOT_FINITE}}
    q, q_c = unit * said, unit * said_of_comparator
    value = (policy * q).sum(-1)
    # A critic that answers says something else of another policy.
    value_c = value if np.array_equal(q, q_c) else (optimal * q_c).sum(-1)
    visits = exact.visits(environment.mdp, policy, environment.spec.discount)
    learned = errors(task, dataset, visits, q, value)
    of_comparator = errors(task, dataset, comparator_visits, q_c, value_c)
    initial = environment.mdp.initial
    preferred = float((comparator_visits * (q_c - value_c[:, None])).sum())
    terms = {
        **{name: getattr(of_comparator, name) - getattr(learned, name) for name in Errors._fields},
        "misspecification": 0.0 if tabular else None,
        "optimization": float(initial @ value_c) + preferred - float(initial @ value),
    }
    promised = {"comparator": (optimal * q_c).sum(-1), "learned": value}
    found = {"comparator": of_comparator, "learned": learned}
    return {
        "comparator": COMPARATOR,
        "terms": {name: terms[name] for name in TERMS},
        "by_policy": {
            name: {**found[name]._asdict(), "estimate": float(initial @ promised[name])}
            for name in found
        },
        "reasons": {} if tabular else {"misspecification": NO_TABLE},
    }


def errors(
    task: Task, dataset: OfflineDataset, visits: np.ndarray, q: np.ndarray, value: np.ndarray
) -> Errors:
    """Return a critic's errors over discounted visits ``[states, actions]``.

    The critic is ``q[states, actions]`` and, of what follows, ``value[states]``.
    """
    mdp, discount = task.environment.mdp, task.environment.spec.discount
    assert mdp is not None
    seen = data_distribution(dataset) > 0
    true = exact.backup(mdp, value, discount) - q
    empirical = _empirical_backup(dataset, value, discount) - q
    return Errors(
        float((visits * (true - empirical))[seen].sum()),
        float((visits * empirical)[seen].sum()),
        float((visits * true)[~seen].sum()),
    )


def _empirical_backup(dataset: OfflineDataset, value: np.ndarray, discount: float) -> np.ndarray:
    """Return the data's mean of ``r + discount (1 - terminated) V(s')``, 0 without data."""
    shape = (dataset.spec.observation_size, dataset.spec.num_actions)
    pair = np.ravel_multi_index((dataset.observation, dataset.action), shape)
    # What follows the end of an episode is no state.
    following = np.where(dataset.terminated, 0, dataset.next_observation)
    target = dataset.reward + discount * np.where(dataset.terminated, 0.0, value[following])
    number = np.bincount(pair, minlength=shape[0] * shape[1])
    total = np.bincount(pair, target, minlength=shape[0] * shape[1])
    return (total / np.maximum(number, 1)).reshape(shape)


@lru_cache(8)  # runs on views of the same data share it
def _comparator(environment: Environment) -> tuple[np.ndarray, np.ndarray]:
    """Return the optimal policy and its discounted visits, ``[states, actions]`` each."""
    mdp = environment.mdp
    assert mdp is not None
    actions = environment.reference_action(np.arange(mdp.num_states))
    policy = exact.deterministic(actions, mdp.num_actions)
    return policy, exact.visits(mdp, policy, environment.spec.discount)
