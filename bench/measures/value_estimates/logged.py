"""What estimates need to know of a view of data, whichever policy they are of."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from bench import seeding
from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.measures.value_estimates.states import States, states_of
from bench.measures.value_estimates.trajectories import Trajectories, trajectories_of
from bench.worlds.base import Environment

# Of more data, whole episodes of about so many transitions stand for all.
MOST_TRANSITIONS = 50_000


@dataclass(frozen=True, eq=False)
class Behavior:
    """How likely the behavior policy, a mixture of trajectories, took the actions that it took.

    Attributes:
        told: Where that is known from.
        log_shares: ``[components]`` of the trajectories.
        log_chances: ``[components, n]`` of each row's action; minus infinity where a component
            never takes it.
    """

    told: str
    log_shares: np.ndarray
    log_chances: np.ndarray


@dataclass(frozen=True, eq=False)
class Logged:
    """A view of data with numbered states, what its values are, and who collected it.

    Attributes:
        horizon: Steps that values sum over; None where they are discounted and have no end.
        discount: Of values, 1 with a horizon.
    """

    dataset: OfflineDataset
    states: States
    behavior: Behavior
    trajectories: Trajectories
    horizon: int | None
    discount: float

    @cached_property
    def state(self) -> np.ndarray:
        """The number of each row's state ``[n]``."""
        return self.states.of(self.dataset.observation)

    @cached_property
    def next_state(self) -> np.ndarray:
        """The number of the state that each row led to ``[n]``."""
        return self.states.of(self.dataset.next_observation)

    @cached_property
    def visits(self) -> np.ndarray:
        """Rows at each ``[states, num_actions]``."""
        shape = self.states.number, self.dataset.spec.num_actions
        pair = self.state * shape[1] + self.dataset.action
        return np.bincount(pair, minlength=shape[0] * shape[1]).reshape(shape)

    def bounds(self, steps: int) -> tuple[float, float]:
        """Return the least and the largest value of what has so many steps left to go."""
        spec = self.dataset.spec
        if self.horizon is None:
            return spec.v_min, spec.v_max
        return min(0.0, steps * spec.reward_min), max(0.0, steps * spec.reward_max)


@lru_cache(64)  # learners that share data follow each other
def logged(task: Task, dataset: OfflineDataset) -> Logged:
    """Return what is to be known of a view, not empty, of a task's data with numbered actions.

    Values are those that the task's world has, and discounted where there is no world.
    """
    view = _part(dataset)
    environment, spec = task.environment, view.spec
    discounted = discounts(environment)
    states, horizon = states_of(view), None if discounted else spec.horizon
    return Logged(
        dataset=view,
        states=states,
        behavior=_known(task, view) or counted(view, states),
        trajectories=trajectories_of(view, horizon),
        horizon=horizon,
        discount=spec.discount if discounted else 1.0,
    )


def discounts(environment: Environment) -> bool:
    """Return whether values that are estimated are discounted: without a world they are."""
    return environment.discounted or not environment.can_evaluate


def counted(view: OfflineDataset, states: States) -> Behavior:
    """Return the behavior policy as actions are counted in each state."""
    state = states.of(view.observation)
    pair = state * view.spec.num_actions + view.action
    share = np.bincount(pair)[pair] / np.bincount(state)[state]
    return Behavior(f"counted in {states.told}", np.zeros(1), np.log(share)[None])


def _known(task: Task, view: OfflineDataset) -> Behavior | None:
    """Return the behavior policy as the world knows it, None where it does not.

    Nor where other episodes have been put into the data, or actions are in it that it never takes.
    """
    policy = task.behavior_policy
    if policy is None or view.storage is not task.data.storage:
        return None
    chances = policy.chances(view.observation)[:, np.arange(len(view)), view.action]
    if (chances.max(0) == 0).any():
        return None
    with np.errstate(divide="ignore"):
        return Behavior("known", np.log(policy.shares), np.log(chances))


def _part(dataset: OfflineDataset) -> OfflineDataset:
    """Return the data, or random whole episodes of it that are not too much."""
    if len(dataset) <= MOST_TRANSITIONS:
        return dataset
    episodes, inverse, lengths = np.unique(dataset.episode, return_inverse=True, return_counts=True)
    rng = seeding.numpy_generator("value_estimates", int(dataset.provenance["seed"]))
    order = rng.permutation(len(episodes))
    enough = np.cumsum(lengths[order]) <= MOST_TRANSITIONS
    chosen = np.zeros(len(episodes), dtype=bool)
    chosen[order[: max(1, int(enough.sum()))]] = True
    return dataset.keep(chosen[inverse], f"{MOST_TRANSITIONS} for estimates")
