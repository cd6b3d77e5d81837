"""TrainedWorld: an environment of gymnasium's with a trained policy to collect and compare by."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from bench.behaviors.actor import Actor
from bench.behaviors.kept import actor_of, card_of, digest_of
from bench.types import ActionKind, NonNegative
from bench.worlds.base import World
from bench.worlds.simulators.live import LiveEnvironment
from bench.worlds.simulators.recorded import Reference
from bench.worlds.simulators.registered import Registered
from bench.worlds.spaces import from_unit
from bench.worlds.tabular import return_bounds


@dataclass(frozen=True, eq=False)
class TrainedEnvironment(LiveEnvironment):
    """An environment whose reference policy has been trained."""

    actor: Actor
    noise: float

    has_reference_policy: ClassVar[bool] = True
    value_episodes: ClassVar[int] = 20

    @property
    def behavior_noise(self) -> float:  # type: ignore[override]
        """Standard deviation of behavior policies' noise, in half ranges of an action."""
        return self.noise

    def reference_action(self, observation: np.ndarray) -> np.ndarray:  # type: ignore[override]
        """Return the policy's action ``[..., action_size]``, as data stores it."""
        assert self.spec.action_bounds is not None
        return from_unit(self.actor(observation), self.spec.action_bounds).astype(np.float32)


@dataclass(frozen=True)
class TrainedWorld(World):
    """An environment of gymnasium's with one of its trained policies.

    Attributes:
        id: As in ``gymnasium.make``.
        policy: Which of its policies acts.
        behavior_noise: Standard deviation of the normal noise that behavior policies add to the
            policy's actions, in half ranges of an action.
        digest: Which training the policy is of.
    """

    id: str
    policy: str
    behavior_noise: NonNegative
    digest: str

    action_kind: ClassVar[ActionKind] = "continuous"
    own_world: ClassVar[bool] = False

    @property
    def observation_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the observation's dimensions."""
        return self.bare.observation_names

    @property
    def gymnasium_id(self) -> str:
        """The environment's id."""
        return self.id

    @property
    def bare(self) -> Registered:
        """The same without any policy."""
        return Registered(self.id, None)

    def environment(
        self, name: str, seed: int, discount: float, horizon: int
    ) -> TrainedEnvironment:
        """Return the environment, with the expert's and the uniform policy's returns."""
        card = card_of(self.id)
        assert card is not None
        assert digest_of(card) == self.digest
        live = self.bare.environment(name, seed, discount, horizon)
        assert isinstance(live, LiveEnvironment)
        expert, random = card.policies["expert"], card.random
        low = min(expert.reward_min, random.reward_min)
        high = max(expert.reward_max, random.reward_max)
        v_min, v_max = return_bounds(low, high, discount, only_at_end=False)
        spec = replace(live.spec, reward_min=low, reward_max=high, v_min=v_min, v_max=v_max)
        source = (
            f"expert: {card.settings['algorithm']} of stable-baselines3, standard error "
            f"{expert.standard_error:.2g}; random: standard error {random.standard_error:.2g}"
        )
        return TrainedEnvironment(
            spec,
            Reference(random.mean, expert.mean, source),
            live.gymnasium_spec,
            actor_of(self.id, self.policy, self.digest),
            self.behavior_noise,
        )
