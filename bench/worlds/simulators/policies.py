"""Policies that someone brings to collect with: a saved one, or a function by its import path.

A saved one is a zip of stable-baselines3, acted by its mode. Reading it runs what is pickled in it,
so it should come from whom one trusts. A function takes one observation as `gymnasium` gives it, an
array or the number of a state, and returns one action of the environment's.
"""

import hashlib
import importlib
import importlib.util
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.worlds.spaces import FlatSpace

# Which algorithm reads a zip, by the module of its policy; PPO reads those of A2C as well.
READERS = {"common": "PPO", "dqn": "DQN", "sac": "SAC", "td3": "TD3"}


@dataclass(frozen=True, eq=False)
class Policy:
    """A policy with what its numbers mean.

    Attributes:
        act: Actions ``[n, ...]`` at observations ``[n, ...]``, both as gymnasium has them.
        observed: How the world's observations are seen here.
        chosen: How its actions are.
    """

    act: Callable[[np.ndarray], np.ndarray]
    observed: FlatSpace
    chosen: FlatSpace

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Return actions ``[..., (size)]`` as data stores them at raw observations likewise.

        Raises:
            ValueError: If the policy's action is none of the world's.
        """
        numbered = bool(self.observed.num_values)
        leading = observation.shape if numbered else observation.shape[:-1]
        rows = observation.reshape(-1, *(() if numbered else observation.shape[-1:]))
        given = np.asarray(self.act(rows + self.observed.start if numbered else rows))
        if not self.chosen.num_values:
            if given.size != rows.shape[0] * self.chosen.size:
                raise ValueError(
                    f"dataset.policy returns {given.size // max(len(rows), 1)} numbers, but an "
                    f"action has {self.chosen.size}"
                )
            return given.reshape(*leading, self.chosen.size).astype(np.float32)
        action = given.reshape(leading).astype(np.int64) - self.chosen.start
        if action.size and not 0 <= action.min() <= action.max() < self.chosen.num_values:
            raise ValueError(
                f"dataset.policy returns an action that is none of the {self.chosen.num_values}"
            )
        return action


@lru_cache(4)
def policy_of(word: str, observed: FlatSpace, chosen: FlatSpace) -> Policy:
    """Return the policy that a word names: ``package.module:function`` or a path of a zip.

    Raises:
        ValueError: If there is none, in one sentence.
    """
    if word.endswith(".zip"):
        return Policy(_saved(Path(word).expanduser()), observed, chosen)
    function = _function(word)

    def act(rows: np.ndarray) -> np.ndarray:
        return np.stack([np.asarray(function(row)) for row in rows])

    return Policy(act, observed, chosen)


def digest_of(word: str) -> str:
    """Return a hash of the file that a policy is in; part of the identity of data by it.

    Raises:
        ValueError: If there is none.
    """
    path = Path(word if word.endswith(".zip") else str(_module(word).__file__)).expanduser()
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise ValueError(f"dataset.policy is {word!r}, but {error.strerror}: {path}") from None


def _function(word: str) -> Callable[[Any], Any]:
    name = word.partition(":")[2]
    function = getattr(_module(word), name, None)
    if not callable(function):
        raise ValueError(f"dataset.policy is {word!r}, but there is no function {name!r} there")
    found: Callable[[Any], Any] = function
    return found


def _module(word: str) -> Any:
    module, colon, _ = word.partition(":")
    if not colon:
        raise ValueError(
            f"dataset.policy is {word!r}, but should be package.module:function or the path of a "
            ".zip that stable-baselines3 saved"
        )
    here = str(Path.cwd())
    try:
        # Where `python -m` looks as well.
        sys.path.insert(0, here)
        return importlib.import_module(module)
    except Exception as error:
        cause = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(f"dataset.policy is {word!r}, which cannot be imported: {cause}") from None
    finally:
        sys.path.remove(here)


def _saved(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    if importlib.util.find_spec("stable_baselines3") is None:
        raise ValueError('dataset.policy is a zip, which needs `pip install -e ".[behavior]"`')
    import stable_baselines3

    try:
        with zipfile.ZipFile(path) as file:
            module = json.loads(file.read("data"))["policy_class"]["__module__"]
        reader = getattr(stable_baselines3, READERS[module.split(".")[1]])
        model = reader.load(path, device="cpu")
    except Exception as error:
        cause = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(
            f"dataset.policy is {str(path)!r}, which is no policy that stable-baselines3 saved: "
            f"{type(error).__name__}: {cause}"
        ) from None

    def act(rows: np.ndarray) -> np.ndarray:
        action: np.ndarray = model.predict(rows, deterministic=True)[0]
        return action

    return act
