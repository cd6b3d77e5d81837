"""Finite MDPs as environments: exact values, and copies that step through their tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from bench.types import EnvSpec
from bench.worlds import exact
from bench.worlds.base import Environment, Simulator
from bench.worlds.exact import TabularMDP


def return_bounds(
    reward_min: float, reward_max: float, discount: float, only_at_end: bool
) -> tuple[float, float]:
    """Return bounds of any discounted return from the range of rewards.

    Where a reward can come only with the end of the episode, a return holds at most one; elsewhere
    one could come at every step.
    """
    share = 1.0 if only_at_end else 1 - discount
    return min(0.0, reward_min) / share, max(0.0, reward_max) / share


def value_bounds(mdp: TabularMDP, discount: float) -> tuple[float, float]:
    """Return bounds of any discounted return in an MDP (see `return_bounds`)."""
    possible = mdp.probability > 0
    reward, terminated = mdp.reward[possible], mdp.terminated[possible]
    only_at_end = bool(np.all(terminated | (reward == 0)))
    return return_bounds(float(reward.min()), float(reward.max()), discount, only_at_end)


@dataclass(frozen=True, eq=False)
class TabularEnvironment(Environment):
    """A finite MDP whose values are exact; the reference policy is the optimal one."""

    spec: EnvSpec
    mdp: TabularMDP
    coordinates: np.ndarray
    clinician: np.ndarray | None = None

    discounted: ClassVar[bool] = True  # type: ignore[misc]

    @classmethod
    def from_mdp(
        cls,
        name: str,
        mdp: TabularMDP,
        discount: float,
        horizon: int,
        coordinates: np.ndarray | None = None,
    ) -> Self:
        """Return the environment of an MDP with the spec that follows from it.

        States that are not said to lie anywhere are all equally far from each other.
        """
        v_min, v_max = value_bounds(mdp, discount)
        possible = mdp.probability > 0
        spec = EnvSpec(
            name=name,
            observation_kind="discrete",
            observation_size=mdp.num_states,
            num_actions=mdp.num_actions,
            discount=discount,
            horizon=horizon,
            reward_min=float(mdp.reward[possible].min()),
            reward_max=float(mdp.reward[possible].max()),
            v_min=v_min,
            v_max=v_max,
        )
        return cls(spec, mdp, np.eye(mdp.num_states) if coordinates is None else coordinates)

    @cached_property
    def optimal_actions(self) -> np.ndarray:
        """The optimal policy's action in every state ``[states]``."""
        return exact.greedy(exact.optimal_values(self.mdp, self.spec.discount))

    @cached_property
    def optimum(self) -> float:
        """Exact value of the optimal policy."""
        optimal = exact.deterministic(self.optimal_actions, self.mdp.num_actions)
        return float(exact.policy_value(self.mdp, optimal, self.spec.discount))

    @cached_property
    def uniform(self) -> float:
        """Exact value of the uniform policy."""
        policy = np.full((self.mdp.num_states, self.mdp.num_actions), 1 / self.mdp.num_actions)
        return float(exact.policy_value(self.mdp, policy, self.spec.discount))

    def reference_action(self, observation: np.ndarray) -> np.ndarray:
        """Return the optimal action of states ``[...]``."""
        return self.optimal_actions[observation]

    @classmethod
    def simulator(
        cls,
        environments: Sequence[Self],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ) -> Simulator:
        """Return copies of finite MDPs of equal shape."""
        return _TabularSimulator(environments, generators, num_episodes)


class _TabularSimulator(Simulator):
    def __init__(
        self,
        environments: Sequence[TabularEnvironment],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ):
        # Runs that share a table look into the same one.
        shared = {id(environment.mdp): environment.mdp for environment in environments}
        mdps, place = list(shared.values()), {key: index for index, key in enumerate(shared)}
        self.table = np.array([place[id(environment.mdp)] for environment in environments])[:, None]
        self.cumulative = np.stack([mdp.probability.cumsum(-1) for mdp in mdps])
        self.next_state = np.stack([mdp.next_state for mdp in mdps])
        self.reward = np.stack([mdp.reward for mdp in mdps])
        self.terminated = np.stack([mdp.terminated for mdp in mdps])
        horizon = environments[0].spec.horizon
        # Drawn per run and up front: a run's luck is the same alone and in company.
        draws = [generator.random((horizon + 1, num_episodes)) for generator in generators]
        self.uniforms = np.stack(draws, axis=1)
        initial = np.stack([environment.mdp.initial.cumsum() for environment in environments])
        self.start = _draw(np.repeat(initial[:, None], num_episodes, 1), self.uniforms[0])
        self.state, self.clock = self.start, 0

    def reset(self) -> np.ndarray:
        self.state, self.clock = self.start, 0
        return self.state

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.clock += 1
        at = (self.table, self.state, action)
        outcome = _draw(self.cumulative[at], self.uniforms[self.clock])
        self.state = self.next_state[(*at, outcome)]
        return self.state, self.reward[(*at, outcome)], self.terminated[(*at, outcome)]


def _draw(cumulative: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Return the outcome ``[...]`` that a uniform number selects from ``[..., outcomes]``."""
    # Scaling by the last entry keeps a rounding error in the sum from selecting past the end.
    return (uniform[..., None] * cumulative[..., -1:] >= cumulative).sum(-1)
