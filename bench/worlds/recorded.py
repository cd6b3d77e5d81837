"""RecordedEnvironment: a world known through its data alone, in which nothing can be simulated."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, NoReturn, Self

import numpy as np

from bench.types import EnvSpec
from bench.worlds.base import Environment, Simulator


class Reference(NamedTuple):
    """Returns that scores are scaled by, None where no trustworthy one is known.

    Attributes:
        random: Mean return of a random policy; 0 of the normalised score.
        expert: Mean return of an expert policy; 100 of the normalised score.
        source: Where the two come from.
    """

    random: float | None
    expert: float | None
    source: str


@dataclass(frozen=True, eq=False)
class RecordedEnvironment(Environment):
    """The spec and the reference returns of data whose simulator is not to be had here.

    `why` says why it is not.
    """

    spec: EnvSpec
    reference: Reference
    why: str = field(default="no simulator of it is known", kw_only=True)

    can_evaluate: ClassVar[bool] = False
    has_reference_policy: ClassVar[bool] = False

    @property
    def without_evaluation(self) -> str | None:
        """Why no policy can be run in it."""
        return self.why

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
