"""Settable: a world of gymnasium that can be set to what was observed, to ask it for one step."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from gymnasium.envs.classic_control.acrobot import AcrobotEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv

from bench.worlds.simulators.live import flat_observation, native_action
from bench.worlds.spaces import flat_space

# Of MuJoCo's coordinates the first few, where a body is along the ground, may not be observed:
# nothing but the scenery depends on them.
MOST_UNSEEN = 2
# No body moves as fast; what is observed of it shows where velocities are clipped.
TOO_FAST = 1e3
# Steps that are taken twice to see whether luck decides where they lead.
TWICE = 8


class Answers(NamedTuple):
    """What a world answers to ``[n]`` pairs of an observation and an action.

    Attributes:
        next_observation: ``[n, seen]``.
        reward: ``[n]``.
        terminated: ``[n]``.
    """

    next_observation: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray


class Settable:
    """A world that can be set to a state, and how its state follows from an observation.

    Attributes:
        seen: How many of an observation's dimensions are states; what follows is not compared.
        is_exact: Whether it computes the same to the last bits everywhere.
    """

    def __init__(self, world: Any):
        """Take a world that has been reset, without a step limit.

        Raises:
            ValueError: If it cannot be set to what it shows.
        """
        self.world = world
        self.is_exact = not hasattr(world.unwrapped, "set_state")
        self.seen, self._set, self._is_known = _setter(world)

    def known(self, observation: np.ndarray) -> np.ndarray:
        """Return which observations ``[n, dim]`` tell the whole state."""
        return self._is_known(observation)

    def answers(self, observation: np.ndarray, action: np.ndarray) -> Answers:
        """Return one step from each observation.

        Raises:
            ValueError: If luck decides where a step leads.
        """
        with _quiet():
            return self._answers(observation, action)

    def _answers(self, observation: np.ndarray, action: np.ndarray) -> Answers:
        given = list(zip(observation.astype(np.float64), action, strict=True))
        steps = [self._step(*pair, seed=0) for pair in given]
        for pair, (following, reward, _) in zip(given[:TWICE], steps, strict=False):
            again, gained, _ = self._step(*pair, seed=1)
            if not np.array_equal(again, following) or gained != reward:
                raise ValueError("luck decides where its steps lead")
        columns = map(np.array, zip(*steps, strict=True))
        found = Answers(*columns)
        return found._replace(next_observation=found.next_observation[:, : self.seen])

    def _step(
        self, observation: np.ndarray, action: np.ndarray, seed: int
    ) -> tuple[np.ndarray, float, bool]:
        space = self.world.action_space
        self.world.reset(seed=seed)
        self._set(observation)
        chosen = native_action(space, flat_space(space), np.reshape(action, -1))
        following, reward, terminated, _, _ = self.world.step(chosen)
        seen = flat_observation(self.world.observation_space, following)
        return seen, float(reward), bool(terminated)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MuJoCo from writing a log of what it thinks of states that are none of its own."""
    mujoco = sys.modules.get("mujoco")
    if mujoco is None:
        yield
        return
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


_Setter = tuple[int, Callable[[np.ndarray], None], Callable[[np.ndarray], np.ndarray]]


def _setter(world: Any) -> _Setter:
    """Return how many dimensions are states, what sets a world to one, and which are whole."""
    bare = world.unwrapped
    shown = flat_observation(world.observation_space, world.reset(seed=0)[0])
    if hasattr(bare, "set_state") and hasattr(bare, "data") and hasattr(bare, "init_qpos"):
        return _mujoco(world, shown)
    turn = next((f for kind, f in ANGLES.items() if isinstance(bare, kind)), None)
    if turn is None:
        if not np.array_equal(np.asarray(getattr(bare, "state", ())).astype(np.float32), shown):
            raise ValueError("it cannot be set to what it shows")
        turn = np.array
    known = turn

    def set_state(observation: np.ndarray) -> None:
        bare.state = known(observation)

    if not np.allclose(bare.state, turn(shown.astype(np.float64)), atol=1e-5):
        raise ValueError("it cannot be set to what it shows")
    return len(shown), set_state, lambda observation: np.ones(len(observation), dtype=bool)


def _pendulum(observation: np.ndarray) -> np.ndarray:
    cosine, sine, speed = observation
    return np.array([np.arctan2(sine, cosine), speed])


def _acrobot(observation: np.ndarray) -> np.ndarray:
    first, second = (np.arctan2(*observation[[i + 1, i]]) for i in (0, 2))
    return np.array([first, second, *observation[4:]])


# Worlds that show angles by cosine and sine, with what their states are.
ANGLES: dict[type, Callable[[np.ndarray], np.ndarray]] = {
    PendulumEnv: _pendulum,
    AcrobotEnv: _acrobot,
}


def _mujoco(world: Any, shown: np.ndarray) -> _Setter:
    """Return the same of a world of MuJoCo whose observations begin with positions and speeds."""
    bare = world.unwrapped
    positions, speeds = bare.model.nq, bare.model.nv
    rng = np.random.default_rng(0)
    position = bare.init_qpos + rng.uniform(-0.01, 0.01, positions)

    def shows(speed: np.ndarray) -> np.ndarray:
        bare.set_state(position, speed)
        return np.asarray(bare._get_obs(), dtype=np.float64).reshape(-1)

    slow = rng.uniform(-0.1, 0.1, speeds)
    for unseen in range(MOST_UNSEEN + 1):
        seen = positions - unseen + speeds
        state = np.concatenate([position[unseen:], slow])
        if seen <= len(shown) and np.allclose(shows(slow)[:seen], state, atol=1e-9):
            break
    else:
        raise ValueError("it cannot be set to what it shows")
    fastest = shows(np.full(speeds, TOO_FAST))[seen - speeds : seen].min()

    def set_state(observation: np.ndarray) -> None:
        where = np.concatenate([bare.init_qpos[:unseen], observation[: positions - unseen]])
        bare.set_state(where, observation[seen - speeds : seen])

    def known(observation: np.ndarray) -> np.ndarray:
        is_known: np.ndarray = (np.abs(observation[:, seen - speeds : seen]) < fastest).all(1)
        return is_known

    return seen, set_state, known
