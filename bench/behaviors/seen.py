"""Seen: all transitions that a training has seen, in order."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from bench.data.storage import Storage


class Seen(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that keeps its transitions."""

    def __init__(self, env: gymnasium.Env[Any, Any], num_steps: int):
        """Make room for so many transitions; those after them are not kept."""
        super().__init__(env)
        observed, chosen = env.observation_space.shape, env.action_space.shape
        assert observed is not None
        assert chosen is not None
        self.columns: dict[str, np.ndarray] = {
            "observation": np.zeros((num_steps, int(np.prod(observed))), np.float32),
            "action": np.zeros((num_steps, int(np.prod(chosen))), np.float32),
            "reward": np.zeros(num_steps),
            "next_observation": np.zeros((num_steps, int(np.prod(observed))), np.float32),
            "terminated": np.zeros(num_steps, bool),
            "episode": np.zeros(num_steps, np.int64),
            "step": np.zeros(num_steps, np.int64),
        }
        self.count, self.episode, self.time = 0, -1, 0
        self.observation = np.zeros(0)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(**options)
        self.episode, self.time, self.observation = self.episode + 1, 0, observation
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step and keep it."""
        following, reward, terminated, truncated, info = self.env.step(action)
        if self.count < len(self.columns["reward"]):
            row = (np.ravel(self.observation), np.ravel(action), reward, np.ravel(following),
                   terminated, self.episode, self.time)  # fmt: skip
            for column, value in zip(self.columns.values(), row, strict=True):
                column[self.count] = value
            self.count += 1
        self.observation, self.time = following, self.time + 1
        return following, reward, terminated, truncated, info


def seen_by(worlds: Sequence[Seen], num_steps: int) -> Storage:
    """Return the first so many transitions of all worlds together, episodes by their beginnings."""
    each = num_steps // len(worlds)
    columns = {
        name: np.concatenate([world.columns[name][:each] for world in worlds])
        for name in worlds[0].columns
    }
    world = np.repeat(np.arange(len(worlds)), each)
    time = np.tile(np.arange(each), len(worlds))
    began = time - columns["step"]
    order = np.lexsort((time, world, began))
    columns = {name: column[order] for name, column in columns.items()}
    columns["episode"] = np.cumsum(columns["step"] == 0) - 1
    return Storage(comparator_action=None, **columns)
