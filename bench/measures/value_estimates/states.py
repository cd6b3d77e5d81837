"""Numbered states for estimates: those of tables as they are, vectors by what follows them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.data.datasets import OfflineDataset
from bench.data.encoding import moments, standard_scale

# Transitions that a leaf holds per action on average, and at least.
PER_ACTION, FEWEST = 8, 10
MOST_LEAVES = 1000


@dataclass(frozen=True, eq=False)
class States:
    """Numbers of states below `number`, by raw observations ``[n, ...]``; `told` says whose."""

    number: int
    of: Callable[[np.ndarray], np.ndarray]
    told: str


def states_of(dataset: OfflineDataset) -> States:
    """Return the states of a table, or the leaves of a tree that vectors are sorted into.

    The regression tree foretells from an observation, each in standard deviations, the reward, the
    next observation and the action: what leads on alike, and is answered alike, is one state.
    """
    if dataset.spec.observation_kind == "discrete":
        return States(dataset.spec.observation_size, lambda x: x.astype(np.int64), "states")
    # Importing it takes a worker as long as all else together, and most never need it.
    from sklearn.tree import DecisionTreeRegressor

    leaves = len(dataset) // (PER_ACTION * dataset.spec.num_actions)
    tree = DecisionTreeRegressor(
        max_leaf_nodes=int(np.clip(leaves, 2, MOST_LEAVES)),
        min_samples_leaf=FEWEST,
        random_state=0,
    )
    tree.fit(dataset.observation, _what_follows(dataset))
    number = np.cumsum(tree.tree_.children_left == -1) - 1  # of nodes, numbered among leaves

    def of(observation: np.ndarray) -> np.ndarray:
        return np.asarray(number[tree.apply(observation)])

    return States(tree.get_n_leaves(), of, f"{tree.get_n_leaves()} leaves of a tree")


def _what_follows(dataset: OfflineDataset) -> np.ndarray:
    """Return reward, next observation and action one-hot ``[n, dim]``, of like weight."""
    mean, std = moments(dataset)
    following = (dataset.next_observation - mean) / standard_scale(mean, std)
    reward = dataset.reward - dataset.reward.mean()
    reward = reward / max(float(reward.std()), np.finfo(float).tiny)
    action = np.eye(dataset.spec.num_actions)[dataset.action]
    # An infinite scale is a constant's, a tree takes no more than float32.
    return np.column_stack([reward, following, action]).clip(-1e6, 1e6)
