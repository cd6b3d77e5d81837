"""Registered: any environment with numbered actions that gymnasium has under an id."""

import difflib
from dataclasses import dataclass
from functools import cache, cached_property
from typing import get_args

import gymnasium
import numpy as np

from bench.types import EnvSpec
from bench.worlds.base import Environment, World, rollout
from bench.worlds.cartpole import CartPole
from bench.worlds.live import LiveEnvironment, flat_spaces, without_limit
from bench.worlds.mdps import ToyText, ToyTextId
from bench.worlds.recorded import Reference
from bench.worlds.spaces import FlatSpace
from bench.worlds.tabular import return_bounds

# Episodes of the uniform policy that tell the range of rewards and that policy's own value.
EPISODES = 100


@dataclass(frozen=True)
class Registered(World):
    """A world of gymnasium; this project's own exact one where there is one.

    Attributes:
        id: As in ``gymnasium.make``.
        expert_return: 100 of the normalised score; null where none is known.
    """

    id: str
    expert_return: float | None

    def __post_init__(self) -> None:
        """Refuse what gymnasium does not know, cannot make here, or has no numbered actions."""
        if self.id not in gymnasium.registry:
            near = difflib.get_close_matches(self.id, gymnasium.registry, n=3) or ["Acrobot-v1"]
            raise ValueError(
                f"id is {self.id!r}, but should be registered in gymnasium, such as "
                f"{', '.join(near)}"
            )
        if _spaces(self.id)[1].num_values == 0:
            raise ValueError(f"id is {self.id!r}, whose actions are not numbered")

    @cached_property
    def own(self) -> World | None:
        """The world of this project that is the same, None if there is none."""
        return own_world(self.id)

    @property
    def tabular(self) -> bool:  # type: ignore[override]
        """Whether its tables are known."""
        return self.own is not None and self.own.tabular

    @property
    def has_reference_policy(self) -> bool:  # type: ignore[override]
        """Whether a policy to compare with is known."""
        return self.own is not None

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

    @property
    def gymnasium_id(self) -> str:
        """The environment's id."""
        return self.id

    def environment(self, name: str, seed: int, discount: float, horizon: int) -> Environment:
        """Return the environment; every instance is the same."""
        if self.own is not None:
            return self.own.environment(name, seed, discount, horizon)
        observed, chosen = _spaces(self.id)
        low, high, uniform = _uniform(self.id, horizon)
        v_min, v_max = return_bounds(low, high, discount, only_at_end=False)
        spec = EnvSpec(
            name=name,
            observation_kind="discrete" if observed.num_values else "vector",
            observation_size=observed.num_values or observed.size,
            num_actions=chosen.num_values,
            discount=discount,
            horizon=horizon,
            reward_min=low,
            reward_max=high,
            v_min=v_min,
            v_max=v_max,
            observation_names=self.observation_names,
        )
        source = f"the mean of {EPISODES} uniform episodes"
        return LiveEnvironment(
            spec,
            Reference(uniform, self.expert_return, source),
            without_limit(gymnasium.spec(self.id)),
        )


def own_world(gymnasium_id: str) -> World | None:
    """Return the world of this project that is the same as one of gymnasium's, None if none is."""
    if gymnasium_id == "CartPole-v1":
        return CartPole()
    known = gymnasium_id in get_args(ToyTextId)
    return ToyText(gymnasium_id) if known else None  # type: ignore[arg-type]


@cache
def _spaces(gymnasium_id: str) -> tuple[FlatSpace, FlatSpace]:
    try:
        return flat_spaces(without_limit(gymnasium.spec(gymnasium_id)))
    except Exception as error:
        # Whatever keeps an optional package from working here.
        cause = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(f"id is {gymnasium_id!r}, which cannot be made: {cause}") from None


@cache
def _uniform(gymnasium_id: str, horizon: int) -> tuple[float, float, float]:
    """Return lowest and highest reward of a step and the mean return under the uniform policy."""
    observed, chosen = _spaces(gymnasium_id)
    unknown = EnvSpec(gymnasium_id, "vector", observed.size, chosen.num_values, 0.0, horizon,
                      0.0, 0.0, 0.0, 0.0)  # fmt: skip
    world = LiveEnvironment(
        unknown, Reference(None, None, ""), without_limit(gymnasium.spec(gymnasium_id))
    )
    rng = np.random.default_rng(0)
    simulator = LiveEnvironment.simulator([world], [rng], EPISODES)
    rewards: list[np.ndarray] = []
    total = 0.0

    def act(observation: np.ndarray) -> np.ndarray:
        return rng.integers(chosen.num_values, size=(1, EPISODES))

    for step in rollout(simulator, act, horizon):
        rewards.append(step.reward[step.active])
        total += float(rewards[-1].sum())
    together = np.concatenate(rewards)
    return float(together.min()), float(together.max()), total / EPISODES
