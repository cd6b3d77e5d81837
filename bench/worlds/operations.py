"""Continuing tabular worlds with noise in every step and a `v_min` that no sane policy comes near.

Every policy gets everywhere now and then, so whatever has no data is entered a little by all of
them, and none of it is dangerous: it costs for a while.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from bench.types import Fraction, NonNegative
from bench.worlds.exact import TabularMDP
from bench.worlds.mdps import TabularWorld


@dataclass(frozen=True)
class Queue(TabularWorld):
    """Customers wait for a server whose speed is chosen at every step; its places are the states.

    One arrives with a probability within a fifth of `arrival`, drawn per instance, and one is
    served with a probability that grows evenly with the speed up to `fastest`. A step costs the
    share of places taken, `speed_cost` at full speed, and `lost_cost` for a customer who finds no
    place.
    """

    capacity: Annotated[int, Ge(2)]
    num_speeds: Annotated[int, Ge(2)]
    arrival: Fraction
    fastest: Fraction
    speed_cost: NonNegative
    lost_cost: NonNegative

    @property
    def table_shape(self) -> tuple[int, int]:
        """Numbers of states and of actions."""
        return self.capacity + 1, self.num_speeds

    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return a queue with an arrival rate of its own."""
        arrival = min(self.arrival * rng.uniform(0.8, 1.2), 1.0)
        waiting = np.arange(self.capacity + 1)[:, None, None]
        speed = np.arange(self.num_speeds)[:, None] / (self.num_speeds - 1)
        # The outcomes: nobody comes or one does, nobody is served or one is.
        comes, served = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
        serving = self.fastest * speed
        chance = np.where(comes, arrival, 1 - arrival) * np.where(served, serving, 1 - serving)
        after = np.maximum(waiting - served, 0) + comes
        lost = after > self.capacity
        cost = waiting / self.capacity + self.speed_cost * speed + self.lost_cost * lost
        shape = (*self.table_shape, 4)
        return TabularMDP(
            probability=np.broadcast_to(chance, shape),
            next_state=np.broadcast_to(np.minimum(after, self.capacity), shape),
            reward=-np.broadcast_to(cost, shape),
            terminated=np.zeros(shape, dtype=bool),
            initial=np.eye(self.capacity + 1)[0],
        )

    def coordinates(self) -> np.ndarray:
        """Return how many wait."""
        return np.arange(self.capacity + 1, dtype=float)[:, None]


@dataclass(frozen=True)
class Replacement(TabularWorld):
    """A machine that wears (Rust 1987): kept as it is, repaired halfway, or replaced by a new one.

    Wear, the state, grows by one with a probability of 0.5 to 0.8, drawn per instance, and costs
    its share of the most there can be. A kept machine breaks with the square of that share, costs
    `breakdown_cost` and is new again; `repair_cost` and `replace_cost` are paid for either.
    """

    num_states: Annotated[int, Ge(3)]
    breakdown_cost: NonNegative
    repair_cost: NonNegative
    replace_cost: NonNegative

    @property
    def table_shape(self) -> tuple[int, int]:
        """Numbers of states and of actions."""
        return self.num_states, 3

    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return a machine that wears at a rate of its own."""
        grows, worst = rng.uniform(0.5, 0.8), self.num_states - 1
        wear = np.arange(self.num_states)
        share = wear / worst
        # The outcomes: it wears, it does not, it breaks.
        kept = np.stack([grows * (1 - share**2), (1 - grows) * (1 - share**2), share**2], axis=-1)
        cared = np.broadcast_to([grows, 1 - grows, 0.0], kept.shape)
        none = np.zeros_like(wear)
        starts = np.stack([wear, wear // 2, none], axis=1)
        following = np.stack(
            [np.minimum(starts + 1, worst), starts, np.zeros_like(starts)], axis=-1
        )
        paid = np.array([0.0, self.repair_cost, self.replace_cost])
        cost = (share[:, None] + paid)[..., None] + [0.0, 0.0, self.breakdown_cost]
        return TabularMDP(
            probability=np.stack([kept, cared, cared], axis=1),
            next_state=following,
            reward=-cost,
            terminated=np.zeros(following.shape, dtype=bool),
            initial=np.eye(self.num_states)[0],
        )

    def coordinates(self) -> np.ndarray:
        """Return the wear."""
        return np.arange(self.num_states, dtype=float)[:, None]
