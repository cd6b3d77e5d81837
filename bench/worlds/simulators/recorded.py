"""RecordedEnvironment: a world known through its data alone, in which nothing can be simulated."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, NoReturn, Self

import numpy as np

from bench.types import EnvSpec
from bench.worlds.base import Environment, Simulator

# Whose reference returns those are that the settings give.
OWN_SETTINGS = "the run's own settings"


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

    def rescaled(self, slope: float, offset: float) -> "Reference":
        """Return the returns in terms of ``slope * reward + offset``.

        What the settings give is in such terms already. With an offset they would depend on how
        long the reference's episodes were, which is not known.
        """
        if self.source == OWN_SETTINGS:
            return self
        if offset:
            return Reference(None, None, f"none: those of {self.source} are of other rewards")
        low, high = (None if end is None else slope * end for end in self[:2])
        return Reference(low, high, f"{self.source}, times {slope:g}")


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
