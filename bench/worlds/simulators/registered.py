"""Registered: any environment with numbered actions, or a box of them, that gymnasium has."""

import difflib
from dataclasses import dataclass
from functools import cache, cached_property
from typing import ClassVar, NamedTuple, get_args

import gymnasium
import numpy as np

from bench.types import ActionKind, EnvSpec
from bench.worlds.base import Act, Environment, World, rollout
from bench.worlds.cartpole import CartPole
from bench.worlds.continuous.pendulum import Pendulum
from bench.worlds.mdps import ToyText, ToyTextId
from bench.worlds.simulators.live import LiveEnvironment, spaces_of, without_limit
from bench.worlds.simulators.policies import Policy, policy_of
from bench.worlds.simulators.recorded import Reference
from bench.worlds.spaces import FlatSpace, from_unit
from bench.worlds.tabular import return_bounds

# Episodes of the uniform policy that tell the range of rewards and that policy's own value.
EPISODES = 100
# Noise of behavior policies where a world of this project stands in for gymnasium's.
BEHAVIOR_NOISE = 0.1


@dataclass(frozen=True)
class Registered(World):
    """A world of gymnasium; this project's own exact one where there is one.

    Attributes:
        id: As in ``gymnasium.make``.
        expert_return: 100 of the normalised score; null is the given policy's mean return, where
            there is one.
        policy: What to collect with and compare by (policies.py); null is what is known of
            the world. With a policy it is gymnasium's, even where this project has an exact one.
    """

    id: str
    expert_return: float | None
    policy: str | None = None

    def __post_init__(self) -> None:
        """Refuse what gymnasium does not know or cannot make here, and actions without bounds."""
        if self.id not in gymnasium.registry:
            near = difflib.get_close_matches(self.id, gymnasium.registry, n=3) or ["Acrobot-v1"]
            raise ValueError(
                f"id is {self.id!r}, but should be registered in gymnasium, such as "
                f"{', '.join(near)}"
            )
        observed, chosen = _spaces(self.id)
        if self.policy is not None:
            policy_of(self.policy, observed, chosen)
        if chosen.num_values:
            return
        if chosen.bounds is None:
            raise ValueError(f"id is {self.id!r}, whose actions are neither numbered nor a box")
        if not np.isfinite(chosen.bounds).all():
            raise ValueError(
                f"id is {self.id!r}, whose actions have no finite bounds to be scaled by"
            )
        if observed.num_values:
            raise ValueError(
                f"id is {self.id!r}, whose actions are continuous while its states are numbered"
            )

    @cached_property
    def own(self) -> World | None:
        """The world of this project that is the same, None if there is none."""
        return own_world(self.id) if self.policy is None else None

    @property
    def tabular(self) -> bool:  # type: ignore[override]
        """Whether its tables are known."""
        return self.own is not None and self.own.tabular

    @property
    def action_kind(self) -> ActionKind:  # type: ignore[override]
        """Whether actions are numbered or vectors."""
        return "discrete" if _spaces(self.id)[1].num_values else "continuous"

    @property
    def has_reference_policy(self) -> bool:  # type: ignore[override]
        """Whether a policy to compare with is known."""
        return self.own is not None or self.policy is not None

    @property
    def table_shape(self) -> tuple[int, int] | None:
        """Numbers of states and of actions where both are numbered."""
        observed, chosen = _spaces(self.id)
        both = bool(observed.num_values and chosen.num_values)
        return (observed.num_values, chosen.num_values) if both else None

    @property
    def own_world(self) -> bool:  # type: ignore[override]
        """Whether it is one of this project's."""
        return self.own is not None

    @property
    def observation_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of a vector observation's dimensions."""
        if self.own is not None:
            return self.own.observation_names
        return tuple(f"x{i}" for i in range(_spaces(self.id)[0].size))

    @property
    def slab_dimension(self) -> str | None:  # type: ignore[override]
        """The dimension that a slab is cut of."""
        return None if self.own is None else self.own.slab_dimension

    def check_discount(self, discount: float) -> None:
        """Refuse a discount that this project's own world has no anchors for."""
        if self.own is not None:
            self.own.check_discount(discount)

    @property
    def gymnasium_id(self) -> str:
        """The environment's id."""
        return self.id

    def environment(self, name: str, seed: int, discount: float, horizon: int) -> Environment:
        """Return the environment; every instance is the same."""
        if self.own is not None:
            return self.own.environment(name, seed, discount, horizon)
        observed, chosen = _spaces(self.id)
        seen = uniform_episodes(self.id, horizon)
        v_min, v_max = return_bounds(seen.reward_min, seen.reward_max, discount, only_at_end=False)
        spec = EnvSpec(
            name=name,
            observation_kind="discrete" if observed.num_values else "vector",
            observation_size=observed.num_values or observed.size,
            num_actions=chosen.num_values,
            discount=discount,
            horizon=horizon,
            reward_min=seen.reward_min,
            reward_max=seen.reward_max,
            v_min=v_min,
            v_max=v_max,
            observation_names=self.observation_names,
            action_bounds=chosen.bounds,
        )
        bare = without_limit(gymnasium.spec(self.id))
        reference = Reference(seen.mean_return, self.expert_return, f"random: {seen}")
        if self.policy is None:
            return LiveEnvironment(spec, reference, bare)
        policy = policy_of(self.policy, observed, chosen)
        if self.expert_return is None:
            unknown = DirectedEnvironment(spec, reference, bare, policy)
            found = episodes_of(unknown, policy, np.random.default_rng(0), EPISODES)
            source = f"{reference.source}; policy: {found}"
            reference = Reference(seen.mean_return, found.mean_return, source)
        return DirectedEnvironment(spec, reference, bare, policy)


@dataclass(frozen=True, eq=False)
class DirectedEnvironment(LiveEnvironment):
    """A world of gymnasium's with a policy that someone brought."""

    policy: Policy

    has_reference_policy: ClassVar[bool] = True

    def reference_action(self, observation: np.ndarray) -> np.ndarray:  # type: ignore[override]
        """Return the policy's action, as data stores it."""
        return self.policy(observation)


def own_world(gymnasium_id: str) -> World | None:
    """Return the world of this project that is the same as one of gymnasium's, None if none is."""
    if gymnasium_id == "CartPole-v1":
        return CartPole()
    if gymnasium_id == "Pendulum-v1":
        return Pendulum(BEHAVIOR_NOISE)
    known = gymnasium_id in get_args(ToyTextId)
    return ToyText(gymnasium_id) if known else None  # type: ignore[arg-type]


@cache
def _spaces(gymnasium_id: str) -> tuple[FlatSpace, FlatSpace]:
    return spaces_of(without_limit(gymnasium.spec(gymnasium_id)))


class Rollouts(NamedTuple):
    """What episodes under some policy tell of a world.

    Attributes:
        reward_min: Lowest reward of a step.
        reward_max: Highest reward of a step.
        returns: Undiscounted return of each episode.
    """

    reward_min: float
    reward_max: float
    returns: np.ndarray

    @property
    def mean_return(self) -> float:
        """The mean of the episodes' returns."""
        return float(self.returns.mean())

    @property
    def standard_error(self) -> float:
        """Of that mean."""
        return float(self.returns.std(ddof=1) / len(self.returns) ** 0.5)

    def __str__(self) -> str:
        """Return the mean with its standard error, in words."""
        return (
            f"{self.mean_return:.4g} (standard error {self.standard_error:.2g}), the mean of "
            f"{len(self.returns)} episodes"
        )


def episodes_of(
    environment: Environment, act: Act, rng: np.random.Generator, num_episodes: int
) -> Rollouts:
    """Return what episodes under a policy tell; `rng` draws how they begin."""
    simulator = environment.simulator([environment], [rng], num_episodes)
    rewards: list[np.ndarray] = []
    returns = np.zeros(num_episodes)
    for step in rollout(simulator, act, environment.spec.horizon):
        rewards.append(step.reward[step.active])
        returns += (step.reward * step.active)[0]
    together = np.concatenate(rewards)
    return Rollouts(float(together.min()), float(together.max()), returns)


@cache
def uniform_episodes(gymnasium_id: str, horizon: int) -> Rollouts:
    """Return what episodes of the uniform policy tell of a world, the same ones every time."""
    observed, chosen = _spaces(gymnasium_id)
    unknown = EnvSpec(gymnasium_id, "vector", observed.size, chosen.num_values, 0.0, horizon,
                      0.0, 0.0, 0.0, 0.0)  # fmt: skip
    world = LiveEnvironment(
        unknown, Reference(None, None, ""), without_limit(gymnasium.spec(gymnasium_id))
    )
    rng = np.random.default_rng(0)

    def act(observation: np.ndarray) -> np.ndarray:
        if chosen.bounds is None:
            return rng.integers(chosen.num_values, size=(1, EPISODES))
        return from_unit(rng.uniform(-1, 1, (1, EPISODES, chosen.size)), chosen.bounds)

    return episodes_of(world, act, rng, EPISODES)
