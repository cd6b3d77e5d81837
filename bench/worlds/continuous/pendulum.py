"""Gymnasium's Pendulum-v1, bit for bit, with a reference from a grid."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from bench.worlds.cells import Cells
from bench.worlds.continuous.control import (
    Act,
    Anchors,
    ControlWorld,
    Outcome,
    Ranges,
    rollout_value,
)
from bench.worlds.continuous.search import best_actions
from bench.worlds.spaces import Bounds

GRAVITY, MASS, LENGTH, STEP = 10.0, 1.0, 1.0, 0.05
MAX_SPEED, MAX_TORQUE = 8.0, 2.0

# The grid of angles and speeds, and the torques looked at in each node.
NODES, TORQUES = 151, 15
# The coarser grid on which data counts as covering.
COVER_NODES, COVER_TORQUES = 61, 9
# Midpoints of starting angles and speeds that the reference policy's value is the mean of.
START_ANGLES, START_SPEEDS = 64, 16
# Gauss-Legendre nodes that stand for all torques of the uniform policy: rewards are quadratic.
UNIFORM_TORQUES = 3


@dataclass(frozen=True)
class Pendulum(ControlWorld):
    """A pendulum to swing up by torques too weak to lift it; states are ``(angle, speed)``.

    What is observed is the angle's cosine and sine, and the speed. The reward is minus the squared
    angle from upright, and a little for speed and torque; episodes never terminate.
    """

    observation_names: ClassVar[tuple[str, ...]] = ("cosine", "sine", "speed")
    slab_dimension: ClassVar[str | None] = "speed"

    @property
    def gymnasium_id(self) -> str:
        """The environment's id."""
        return "Pendulum-v1"

    @property
    def action_bounds(self) -> Bounds:
        """The torque."""
        return (-MAX_TORQUE,), (MAX_TORQUE,)

    def ranges(self, discount: float, horizon: int) -> Ranges:
        """Return bounds from the largest cost of a step."""
        worst = -float(np.pi**2 + 0.1 * MAX_SPEED**2 + 0.001 * MAX_TORQUE**2)
        return Ranges(worst, 0.0, worst * (1 - discount**horizon) / (1 - discount), 0.0)

    def starts(self, rng: np.random.Generator, num_episodes: int) -> np.ndarray:
        """Draw any angle at low speed."""
        return rng.uniform(-1, 1, (num_episodes, 2)) * [np.pi, 1.0]

    def transition(self, state: np.ndarray, action: np.ndarray, disturbance: np.ndarray) -> Outcome:
        """Return gymnasium's step; sums in another order would differ in the last bits."""
        del disturbance
        angle, speed, torque = state[..., 0], state[..., 1], action[..., 0]
        from_upright = ((angle + np.pi) % (2 * np.pi)) - np.pi
        cost = from_upright**2 + 0.1 * speed**2 + 0.001 * (torque**2)
        speed = (
            speed
            + (
                3 * GRAVITY / (2 * LENGTH) * np.sin(angle)
                + 3.0 / (MASS * LENGTH**2) * torque
            )
            * STEP
        )  # fmt: skip
        speed = np.clip(speed, -MAX_SPEED, MAX_SPEED)
        following = np.stack([angle + speed * STEP, speed], axis=-1)
        return Outcome(following, -cost, np.zeros(cost.shape, dtype=bool))

    def observe(self, state: np.ndarray) -> np.ndarray:
        """Return ``(cosine, sine, speed)``."""
        angle, speed = state[..., 0], state[..., 1]
        return np.stack([np.cos(angle), np.sin(angle), speed], axis=-1)

    def reference(self, discount: float, horizon: int) -> Act:
        """Return the policy that looks one step ahead in the grid's values."""
        value = _values(self, discount, horizon)

        def act(observation: np.ndarray) -> np.ndarray:
            angle = np.arctan2(observation[..., 1], observation[..., 0])
            state = np.stack([angle, observation[..., 2]], axis=-1).astype(np.float64)

            def ahead(action: np.ndarray) -> np.ndarray:
                following = self._torques(state, MAX_TORQUE * action[..., 0])
                return following.reward + discount * _Interpolation(following.state)(value)

            return MAX_TORQUE * best_actions(ahead, state.shape[:-1], 1)

        return act

    def anchors(self, discount: float, horizon: int) -> Anchors:
        """Return the reference policy's value over a grid of starts, and the uniform policy's."""
        return _anchors(self, discount, horizon)

    def policy_value(self, act: Act, discount: float, horizon: int) -> float:
        """Return the value of a policy that always does the same, by midpoints of starts."""
        return float(rollout_value(self, act, _start_grid(), discount, horizon).mean())

    def cells(self, discount: float, horizon: int) -> Cells:
        """Return a coarser grid's nodes, each with torques evenly over all that there are."""
        return _cells(self, discount, horizon)

    def _torques(self, state: np.ndarray, torque: np.ndarray) -> Outcome:
        """Return the outcomes ``[..., n]`` of torques ``[..., n]`` at states ``[..., 2]``."""
        torque = np.broadcast_to(torque, (*state.shape[:-1], torque.shape[-1]))
        states = np.broadcast_to(state[..., None, :], (*torque.shape, 2))
        return self.transition(states, torque[..., None], np.zeros((*torque.shape, 0)))


def _start_grid() -> np.ndarray:
    """Return start states ``[n, 2]``, evenly over all that there are."""
    angle = np.pi * _midpoints(START_ANGLES)
    return np.stack(np.meshgrid(angle, _midpoints(START_SPEEDS)), axis=-1).reshape(-1, 2)


def _midpoints(count: int) -> np.ndarray:
    """Return the midpoints of so many equal parts of [-1, 1]."""
    return (2 * np.arange(count) + 1) / count - 1


class _Interpolation:
    """Values at states ``[..., 2]``, from those at a grid's nodes; angles have no end."""

    def __init__(self, state: np.ndarray, nodes: int = NODES):
        row = ((state[..., 0] + np.pi) % (2 * np.pi)) / (2 * np.pi) * nodes
        column = (state[..., 1] + MAX_SPEED) / (2 * MAX_SPEED) * (nodes - 1)
        i, j = np.floor(row).astype(np.int64), np.minimum(column.astype(np.int64), nodes - 2)
        self.down, self.right = row - i, column - j
        self.near, self.far = i % nodes * nodes + j, (i + 1) % nodes * nodes + j
        self.size = nodes**2

    def __call__(self, value: np.ndarray) -> np.ndarray:
        """Return the values ``[...]``, bilinear between nodes ``[nodes^2]``."""
        near = value[self.near] * (1 - self.right) + value[self.near + 1] * self.right
        far = value[self.far] * (1 - self.right) + value[self.far + 1] * self.right
        found: np.ndarray = near * (1 - self.down) + far * self.down
        return found

    @property
    def matrix(self) -> csr_matrix:
        """The same for all states ``[n]`` at once, ``[n, nodes^2]``."""
        node = np.stack([self.near, self.near + 1, self.far, self.far + 1], axis=-1)
        weight = np.stack(
            [
                (1 - self.down) * (1 - self.right),
                (1 - self.down) * self.right,
                self.down * (1 - self.right),
                self.down * self.right,
            ],
            axis=-1,
        )
        ends = np.arange(0, node.size + 1, 4)
        return csr_matrix((weight.ravel(), node.ravel(), ends), (len(ends) - 1, self.size))


def _backups(
    world: Pendulum, torque: np.ndarray, nodes: int = NODES
) -> tuple[np.ndarray, csr_matrix]:
    """Return rewards ``[nodes^2, torque]`` and where it leads, ``[nodes^2 * torque, nodes^2]``."""
    outcome = world._torques(_nodes(nodes), torque)
    return outcome.reward, _Interpolation(outcome.state.reshape(-1, 2), nodes).matrix


def _nodes(nodes: int) -> np.ndarray:
    """Return the states ``[nodes^2, 2]`` of a grid."""
    angle = 2 * np.pi * np.arange(nodes) / nodes - np.pi
    speed = np.linspace(-MAX_SPEED, MAX_SPEED, nodes)
    return np.stack(np.meshgrid(angle, speed, indexing="ij"), axis=-1).reshape(-1, 2)


@cache
def _cells(world: Pendulum, discount: float, horizon: int) -> Cells:
    torque = np.linspace(-MAX_TORQUE, MAX_TORQUE, COVER_TORQUES)
    reward, leads = _backups(world, torque, COVER_NODES)
    start = _Interpolation(_start_grid(), COVER_NODES).matrix
    return Cells(
        observation=world.observe(_nodes(COVER_NODES)),
        action=torque[:, None],
        reward=reward,
        leads=leads,
        initial=np.asarray(start.mean(0)).ravel(),
        discount=discount,
        horizon=horizon,
    )


@cache
def _values(world: Pendulum, discount: float, horizon: int, nodes: int = NODES) -> np.ndarray:
    """Return the optimal value ``[nodes^2]`` with `horizon` steps to go, by value iteration."""
    reward, leads = _backups(world, np.linspace(-MAX_TORQUE, MAX_TORQUE, TORQUES), nodes)
    value = np.zeros(len(reward))
    for _ in range(horizon):
        value = (reward + discount * (leads @ value).reshape(reward.shape)).max(-1)
    return value


@cache
def _anchors(world: Pendulum, discount: float, horizon: int) -> Anchors:
    optimum = world.policy_value(world.reference(discount, horizon), discount, horizon)
    torque, weight = np.polynomial.legendre.leggauss(UNIFORM_TORQUES)
    reward, leads = _backups(world, MAX_TORQUE * torque)
    value = np.zeros(len(reward))
    for _ in range(horizon):
        value = (reward + discount * (leads @ value).reshape(reward.shape)) @ weight / 2
    return Anchors(optimum, float(_Interpolation(_start_grid())(value).mean()))
