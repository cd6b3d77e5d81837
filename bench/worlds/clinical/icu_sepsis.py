"""ICU-Sepsis (Choudhary et al. 2024): a finite MDP that was estimated from intensive-care records.

Its tables are in a file of the package icu-sepsis, which is read without importing the package:
that would bring gym, dead since 2022, along.
"""

import importlib.util
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from bench.errors import MissingData
from bench.worlds.base import Environment
from bench.worlds.exact import TabularMDP
from bench.worlds.mdps import TabularWorld
from bench.worlds.tabular import TabularEnvironment

PACKAGE = "icu_sepsis"
SHAPE = (716, 25)
"""States and actions: five levels of vasopressors for each of five levels of fluids."""
DEATH, SURVIVAL, BEYOND = 713, 714, 715
"""The states that episodes end in."""

Unseen = Literal["mean", "terminate"]


@dataclass(frozen=True)
class ICUSepsis(TabularWorld):
    """Treating sepsis in intensive care; survival pays 1, all else nothing.

    Attributes:
        unseen: What an action does that clinicians hardly took in a state: ``mean`` leads where
            those that they did take lead on average, ``terminate`` to death.
    """

    unseen: Unseen

    has_clinician: ClassVar[bool] = True

    @property
    def table_shape(self) -> tuple[int, int]:
        """Numbers of states and of actions."""
        return SHAPE

    def check_here(self) -> None:
        """Refuse a world whose tables are not installed."""
        assets()

    def environment(self, name: str, seed: int, discount: float, horizon: int) -> Environment:
        """Return the environment; every instance is the same, and made once."""
        del seed
        return _environment(assets(), self.unseen, name, discount, horizon)

    def mdp(self, rng: np.random.Generator) -> TabularMDP:
        """Return the table; every instance is the same."""
        del rng
        return table(assets(), self.unseen)

    def coordinates(self) -> np.ndarray:
        """Return the centres of the clusters of patients that states are, ``[states, 47]``."""
        with np.load(assets() / "dynamics.npz") as file:
            return np.asarray(file["state_cluster_centers"], dtype=float)


def assets() -> Path:
    """Return the folder of the package's tables.

    Raises:
        MissingData: If the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingData(PACKAGE, 'dataset=icu_sepsis needs `pip install -e ".[icu]"`')
    return Path(found.submodule_search_locations[0]) / "envs" / "assets"


@lru_cache(2)
def table(folder: Path, unseen: Unseen) -> TabularMDP:
    """Return the table in a folder, with as many outcomes of a pair as any has."""
    with np.load(folder / "dynamics.npz") as file:
        chance, paid, initial = file["tx_mat"], file["r_mat"], file["d_0"]
    if unseen == "terminate":
        chance = np.where(admissible(folder)[..., None], chance, np.eye(len(chance))[DEATH])
    possible = chance > 0
    most = int(possible.sum(-1).max())
    # The possible ones first, in the order of states.
    next_state = np.argsort(~possible, axis=-1, kind="stable")[..., :most]
    probability = np.take_along_axis(chance, next_state, -1)
    ends = np.isin(next_state, (DEATH, SURVIVAL, BEYOND))
    reward = np.where(probability > 0, np.take_along_axis(paid, next_state, -1), 0.0)
    # What is beyond an end is nothing that one acts in.
    reward[[DEATH, SURVIVAL, BEYOND]] = 0.0
    probability /= probability.sum(-1, keepdims=True)
    return TabularMDP(probability, next_state.astype(np.int32), reward, ends, initial)


def admissible(folder: Path) -> np.ndarray:
    """Return the actions that clinicians took often enough, bool ``[states, actions]``.

    The file's first line counts them per state, each further line holds those of a state.
    """
    counts, *rows = (folder / "admissible_actions.txt").read_text("utf-8").splitlines()
    found = np.zeros((len(counts.split()), SHAPE[1]), dtype=bool)
    for state, row in enumerate(rows[: len(found)]):
        found[state, [int(action) for action in row.split()]] = True
    return found


@lru_cache(4)
def _environment(
    folder: Path, unseen: Unseen, name: str, discount: float, horizon: int
) -> TabularEnvironment:
    coordinates = ICUSepsis(unseen).coordinates()
    made = TabularEnvironment.from_mdp(name, table(folder, unseen), discount, horizon, coordinates)
    with np.load(folder / "dynamics.npz") as file:
        acts: np.ndarray = file["expert_policy"]
    # Nobody acts at an end, but copies of an episode that is over go on there.
    nobody = acts.sum(-1, keepdims=True) == 0
    return replace(made, clinician=np.where(nobody, 1 / acts.shape[1], acts))
