"""Fitted Q evaluation over numbered states, and bounds that doubt every mean by one transition.

A state's action values are means over its rows, so that fitting is a table's backup: nothing is
extrapolated. Values that sum over a horizon are those of so many fits from 0, discounted ones are
where fits no longer change.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from bench.measures.value_estimates.logged import Logged

# Of the range of values: how far from their limit they may stop.
TOLERANCE = 1e-6


class Target(NamedTuple):
    """How likely a policy takes which action at each row's observation, and at the next one.

    Both are ``[n, num_actions]``.
    """

    now: np.ndarray
    following: np.ndarray


class Fitted(NamedTuple):
    """Action values of a policy.

    Attributes:
        tables: ``[states, actions]`` by how many steps are left; one table where that says nothing.
        clipped_share: Of the rows at whose state and action the last fit lay out of bounds.
    """

    tables: list[np.ndarray]
    clipped_share: float

    def left(self, steps: int) -> np.ndarray:
        """Return the table of what has so many steps left to go."""
        return self.tables[steps] if len(self.tables) > 1 else self.tables[0]


class Model:
    """Means over the rows of each state and action, with a policy that goes on from there."""

    def __init__(self, data: Logged, target: Target):
        """Take the rows, and how likely the policy takes which action after each."""
        dataset, self.data = data.dataset, data
        self.visits, (states, actions) = data.visits, data.visits.shape
        size = states * actions
        pair = data.state * actions + dataset.action
        once = 1 / self.visits.ravel()[pair]
        goes_on = data.discount * once * ~dataset.terminated
        self.reward = np.bincount(pair, once * dataset.reward, minlength=size)
        after = (data.next_state * actions)[:, None] + np.arange(actions)
        chances = (goes_on[:, None] * target.following).ravel()
        place = np.repeat(pair, actions), after.ravel()
        self.leads = csr_matrix((chances, place), (size, size))
        self.leads.eliminate_zeros()

    def backup(self, table: np.ndarray) -> np.ndarray:
        """Return the mean of ``r + discount Q(s', pi)`` over the rows of each state and action."""
        return (self.reward + self.leads @ table.ravel()).reshape(table.shape)


def fitted_values(model: Model) -> Fitted:
    """Return the policy's action values by the rows alone, clipped to what values can be.

    Without any row, a state and action is worth the mean of the state's rows, as if the behavior
    policy acted there and the policy went on; a state without rows the mean of all rows.
    """
    visits, clipped = model.visits, 0.0

    def fit(table: np.ndarray, steps: int) -> np.ndarray:
        nonlocal clipped
        plain, bounds = model.backup(table), model.data.bounds(steps)
        within = plain.clip(*bounds)
        clipped = float(visits[plain != within].sum() / visits.sum())
        return filled(within, visits)

    tables = _limit(model, fit)
    return Fitted(tables, clipped)


def filled(table: np.ndarray, visits: np.ndarray) -> np.ndarray:
    """Return the table with means in place of what was never visited."""
    number, total = visits.sum(-1), (visits * table).sum(-1)
    mean = np.where(number > 0, total / np.maximum(number, 1), total.sum() / number.sum())
    return np.where(visits > 0, table, mean[:, None])


def bounding_values(model: Model, end: int) -> Fitted:
    """Return lower bounds of action values with `end` 0, upper ones with 1.

    Every state and action has one further transition, that leads to the least or largest value.
    """
    visits = model.visits

    def fit(table: np.ndarray, steps: int) -> np.ndarray:
        worth = model.data.bounds(steps)[end]
        return np.asarray((visits * model.backup(table) + worth) / (visits + 1))

    return Fitted(_limit(model, fit), 0.0)


def start_value(data: Logged, target: Target, fitted: Fitted) -> float:
    """Return the mean value of the initial states that the data holds."""
    rows = np.flatnonzero(data.dataset.initial)
    table = fitted.left(data.horizon or 0)
    return float((target.now[rows] * table[data.state[rows]]).sum(-1).mean())


def _limit(model: Model, fit: Callable[[np.ndarray, int], np.ndarray]) -> list[np.ndarray]:
    """Return the tables by steps left, or the one that fits lead to."""
    data, tables = model.data, [np.zeros(model.visits.shape)]
    if data.horizon is not None:
        for steps in range(1, data.horizon + 1):
            tables.append(fit(tables[-1], steps))
        return tables
    low, high = data.bounds(0)
    enough = TOLERANCE * (high - low) * (1 - data.discount)
    while True:
        following = fit(tables[-1], 0)
        change = float(np.abs(following - tables[-1]).max())
        tables = [following]
        if change <= enough:
            return tables
