"""Linear dynamics and quadratic costs: the optimum and every linear policy's value in closed form.

Actions are bounded, which a linear-quadratic regulator is not. Where no action of a linear policy
leaves the bounds, from any start and at any time, they change nothing, and closed forms hold.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import Literal

import numpy as np

from bench.worlds.continuous.control import (
    Act,
    Anchors,
    ControlWorld,
    Outcome,
    Ranges,
    rollout_value,
)
from bench.worlds.spaces import Bounds

# A step of an oscillator: its length in seconds, stiffness, damping and the push of an action 1.
STEP, STIFFNESS, DAMPING, PUSH = 0.2, 0.5, 0.8, 1.2
# What a unit of squared position, velocity and action costs. Cheaper actions would make the optimal
# policy leave the bounds (at a fifth of this by half of the range), and nothing would be exact.
POSITION_COST, VELOCITY_COST, ACTION_COST = 1.0, 0.1, 1.2
# How much an action pushes the other oscillators, before all pushes are scaled to sum to 1.
COUPLING = 0.3
# Gauss-Legendre nodes per dimension of the start, by the number of oscillators. Two are enough for
# linear policies; the more sharply actions bend, the more are needed.
NODES = {1: 32, 2: 8}


@dataclass(frozen=True)
class LQR(ControlWorld):
    """Damped oscillators, pushed by actions that each of them feels, from anywhere in a box.

    A state is ``(position, velocity)`` of one oscillator after the other, uniform in [-1, 1] at the
    start. The reward is minus a quadratic cost of state and action; episodes never terminate.
    """

    oscillators: Literal[1, 2]

    @property
    def observation_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the state's dimensions."""
        if self.oscillators == 1:
            return ("position", "velocity")
        numbers = range(self.oscillators)
        return tuple(f"{name}_{i}" for i, name in product(numbers, ("position", "velocity")))

    @property
    def action_bounds(self) -> Bounds:
        """One push per oscillator, in [-1, 1]."""
        return (-1.0,) * self.oscillators, (1.0,) * self.oscillators

    @cached_property
    def drift(self) -> np.ndarray:
        """Where a state leads by itself, ``[state, state]``."""
        one = np.array([[1.0, STEP], [-STIFFNESS * STEP, 1 - DAMPING * STEP]])
        return np.kron(np.eye(self.oscillators), one)

    @cached_property
    def effect(self) -> np.ndarray:
        """What an action adds to a state, ``[state, action]``."""
        others = np.ones((self.oscillators,) * 2) - np.eye(self.oscillators)
        felt = np.eye(self.oscillators) + COUPLING * others
        return np.kron(felt, [[0.0], [PUSH * STEP]]) / (1 + COUPLING * (self.oscillators - 1))

    @cached_property
    def state_cost(self) -> np.ndarray:
        """Costs of squared states, ``[state]``."""
        return np.tile([POSITION_COST, VELOCITY_COST], self.oscillators)

    def starts(self, rng: np.random.Generator, num_episodes: int) -> np.ndarray:
        """Draw states from the box."""
        return rng.uniform(-1, 1, (num_episodes, 2 * self.oscillators))

    def transition(self, state: np.ndarray, action: np.ndarray, disturbance: np.ndarray) -> Outcome:
        """Return the linear step and its quadratic cost."""
        del disturbance
        cost = state**2 @ self.state_cost + ACTION_COST * (action**2).sum(-1)
        return Outcome(
            state @ self.drift.T + action @ self.effect.T, -cost, np.zeros(cost.shape, dtype=bool)
        )

    def ranges(self, discount: float, horizon: int) -> Ranges:
        """Return bounds over all starts and actions: no state is reached beyond these at a time.

        The farthest that a dimension gets is a sum of absolute values: of the drift from the corner
        of the box, and of every action's effect since.
        """
        power, pushed = np.eye(2 * self.oscillators), np.zeros(2 * self.oscillators)
        costs = []
        for _ in range(horizon):
            farthest = np.abs(power).sum(1) + pushed
            costs.append(self.state_cost @ farthest**2 + ACTION_COST * self.oscillators)
            pushed = pushed + np.abs(power @ self.effect).sum(1)
            power = self.drift @ power
        v_min = -float(discount ** np.arange(horizon) @ costs)
        return Ranges(-float(max(costs)), 0.0, v_min, 0.0)

    def check_discount(self, discount: float) -> None:
        """Refuse a discount so close to 1 that the optimal action leaves its bounds."""
        self.gain(discount)

    def gain(self, discount: float) -> np.ndarray:
        """Return the optimal policy ``action = gain @ state``, ``[action, state]``.

        Raises:
            ValueError: If it leaves the bounds from some start.
        """
        return _optimal_gain(self, discount)

    def largest_action(self, gain: np.ndarray) -> float:
        """Return the largest action of a linear policy from any start and at any time."""
        closed, power, largest = self.drift + self.effect @ gain, np.eye(2 * self.oscillators), 0.0
        # Oscillations die out within some 30 steps.
        for _ in range(1000):
            # Linear in the start, it is largest in a corner of the box.
            largest = max(largest, float(np.abs(gain @ power).sum(1).max()))
            power = closed @ power
        return largest

    def linear_value(
        self, gain: np.ndarray, discount: float, horizon: int, epsilon: float = 0.0
    ) -> float:
        """Return the exact value of ``action = gain @ state``, uniform with probability `epsilon`.

        It holds as far as the gain's actions stay within the bounds. All that a quadratic cost asks
        of a policy is the second moment of states, which follows itself from step to step.
        """
        moment, value = np.eye(2 * self.oscillators) / 3, 0.0
        closed = self.drift + self.effect @ gain
        # A uniform action has mean 0 and variance 1/3, whatever the state.
        uniform_effect, uniform_cost = self.effect @ self.effect.T / 3, ACTION_COST / 3
        for time in range(horizon):
            acting = np.trace(gain @ moment @ gain.T) * ACTION_COST
            exploring = uniform_cost * self.oscillators
            cost = self.state_cost @ np.diag(moment)
            cost = cost + (1 - epsilon) * acting + epsilon * exploring
            value -= discount**time * float(cost)
            followed = closed @ moment @ closed.T
            explored = self.drift @ moment @ self.drift.T + uniform_effect
            moment = (1 - epsilon) * followed + epsilon * explored
        return value

    def policy_value(self, act: Act, discount: float, horizon: int) -> float:
        """Return the value of any policy that always does the same, by quadrature over starts."""
        nodes, weights = np.polynomial.legendre.leggauss(NODES[self.oscillators])
        dimensions = range(2 * self.oscillators)
        start = np.stack(np.meshgrid(*(nodes for _ in dimensions)), axis=-1)
        weight = np.stack(np.meshgrid(*(weights / 2 for _ in dimensions)), axis=-1).prod(-1)
        flat = start.reshape(-1, 2 * self.oscillators)
        return float(weight.reshape(-1) @ rollout_value(self, act, flat, discount, horizon))

    def reference(self, discount: float, horizon: int) -> Act:
        """Return the optimal policy."""
        del horizon
        gain = self.gain(discount)
        return lambda observation: observation @ gain.T

    def anchors(self, discount: float, horizon: int) -> Anchors:
        """Return the exact values of the optimal and the uniform policy."""
        gain = self.gain(discount)
        return Anchors(
            self.linear_value(gain, discount, horizon),
            self.linear_value(0 * gain, discount, horizon, epsilon=1.0),
        )


@cache
def _optimal_gain(world: LQR, discount: float) -> np.ndarray:
    gain = _riccati(world, discount)
    if world.largest_action(gain) > 1:
        raise ValueError(
            f"dataset.discount is {discount:g}, at which the optimal action leaves its bounds and "
            "no closed form holds: 0.97 keeps it within"
        )
    return gain


def _riccati(world: LQR, discount: float) -> np.ndarray:
    """Return the gain that is optimal without a step limit and without bounds of actions."""
    drift, effect, state_cost = world.drift, world.effect, np.diag(world.state_cost)
    value = state_cost
    while True:
        curvature = ACTION_COST * np.eye(world.oscillators) + discount * effect.T @ value @ effect
        gain = -discount * np.linalg.solve(curvature, effect.T @ value @ drift)
        closed = drift + effect @ gain
        updated = state_cost + ACTION_COST * gain.T @ gain + discount * closed.T @ value @ closed
        if np.abs(updated - value).max() < 1e-14 * np.abs(updated).max():
            return gain
        value = updated
