"""A world with continuous actions cut into cells, and what dynamic programming says of them.

A cell is a node of a grid over states with one of a few actions there.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a world whose values are discounted up to a step limit.

    Attributes:
        observation: ``[nodes, observation_size]``, what is observed at the nodes.
        action: ``[actions, action_size]``, in the world's units.
        reward: ``[nodes, actions]``, expected.
        leads: ``[nodes * actions, nodes]``, where a step leads; rows sum to how likely the episode
            goes on.
        initial: ``[nodes]``, how likely an episode starts there.
        discount: Of values.
        horizon: Step limit.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    leads: csr_matrix
    initial: np.ndarray
    discount: float
    horizon: int

    @cached_property
    def optimal_values(self) -> np.ndarray:
        """What a cell is worth with all steps to go, ``[nodes, actions]``."""
        return self.action_values(np.ones(self.reward.shape, dtype=bool), 0.0)

    @cached_property
    def optimal_occupancy(self) -> np.ndarray:
        """The optimal policy's discounted occupancy, ``[nodes, actions]``; it sums to one."""
        return self.occupancy(self.optimal_values.argmax(-1))

    def value(self, action_values: np.ndarray) -> float:
        """Return what the best of all actions are worth from the start."""
        return float(self.initial @ action_values.max(-1))

    def action_values(self, covered: np.ndarray, v_min: float) -> np.ndarray:
        """Return the same where a cell that is not `covered` is worth `v_min`."""
        value = np.zeros(len(self.reward))
        for _ in range(self.horizon):
            worth = self.reward + self.discount * (self.leads @ value).reshape(self.reward.shape)
            worth = np.where(covered, worth, v_min)
            value = worth.max(-1)
        return worth

    def occupancy(self, choice: np.ndarray) -> np.ndarray:
        """Return the discounted occupancy ``[nodes, actions]`` of actions ``choice[nodes]``."""
        nodes, actions = self.reward.shape
        follows = self.leads[np.arange(nodes) * actions + choice].T.tocsr()
        mass, visits = self.initial, np.zeros(nodes)
        for time in range(self.horizon):
            visits += self.discount**time * mass
            mass = follows @ mass
        occupancy = np.zeros(self.reward.shape)
        occupancy[np.arange(nodes), choice] = visits / visits.sum()
        return occupancy
