"""RecordedEnvironment: a world known through its data alone, in which nothing can be simulated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NoReturn, Self

import numpy as np

from bench.environments import Environment, Simulator, return_bounds
from bench.files.flat import Card
from bench.files.references import Reference
from bench.types import EnvSpec


@dataclass(frozen=True, eq=False)
class RecordedEnvironment(Environment):
    """The spec and the reference returns of data whose simulator is not to be had here."""

    spec: EnvSpec
    reference: Reference

    can_evaluate: ClassVar[bool] = False
    has_reference_policy: ClassVar[bool] = False

    @classmethod
    def from_card(
        cls, name: str, card: Card, discount: float, horizon: int, reference: Reference
    ) -> Self:
        """Return the world of a file's transitions."""
        return cls(spec_of(name, card, discount, horizon), reference)

    @property
    def optimum(self) -> float | None:
        """Return of the reference expert, 100 of the normalised score."""
        return self.reference.expert

    @property
    def uniform(self) -> float | None:
        """Return of the reference random policy, 0 of the normalised score."""
        return self.reference.random

    def reference_action(self, observation: np.ndarray) -> NoReturn:
        """Refuse: no policy is known."""
        raise NotImplementedError(f"No reference policy of {self.spec.name} is known.")

    @classmethod
    def simulator(
        cls,
        environments: Sequence[Self],
        generators: Sequence[np.random.Generator],
        num_episodes: int,
    ) -> Simulator:
        """Refuse: nothing can be simulated."""
        raise NotImplementedError(f"{environments[0].spec.name} cannot be simulated here.")


def spec_of(name: str, card: Card, discount: float, horizon: int) -> EnvSpec:
    """Return what an algorithm may know of the world that a file's transitions come from.

    The bounds of value follow from the range of rewards in the whole file, whatever a degradation
    takes away later.
    """
    v_min, v_max = return_bounds(
        card.reward_min, card.reward_max, discount, card.reward_only_at_end
    )
    size = card.observation_size
    return EnvSpec(
        name=name,
        observation_kind="discrete" if card.discrete_observations else "vector",
        observation_size=size,
        num_actions=card.num_actions,
        discount=discount,
        horizon=horizon,
        reward_min=card.reward_min,
        reward_max=card.reward_max,
        v_min=v_min,
        v_max=v_max,
        observation_names=() if card.discrete_observations else tuple(f"x{i}" for i in range(size)),
        action_bounds=card.action_bounds,
    )
