"""Claim: the world that a file, a table of this project or the settings name for some data."""

from dataclasses import dataclass

from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

from bench.worlds.base import Environment
from bench.worlds.simulators.recorded import RecordedEnvironment


@dataclass(frozen=True, eq=False)
class Claim:
    """A world that is named for data, before anybody has compared the two.

    Attributes:
        environment: The world; one that nobody can act in where it cannot be made here.
        data_alone: The same data without a world.
        gymnasium_spec: What gymnasium makes the world from; None where it is only this project's.
        stands_in: Whether it is known to be another one than the data is from, only near to it.
        elsewhere: Whether the file says itself that it was collected in another world.
        altered_rewards: Whether the file says that its rewards were altered on purpose.
        instance: What tells one of this project's worlds from another; None of gymnasium's.
        label: What a world is called that gymnasium has no id for.
    """

    environment: Environment
    data_alone: RecordedEnvironment
    gymnasium_spec: GymnasiumSpec | None = None
    stands_in: bool = False
    elsewhere: bool = False
    altered_rewards: bool = False
    instance: object = None
    label: str = "none"

    @property
    def name(self) -> str:
        """The world's name in sentences."""
        spec = self.gymnasium_spec
        return self.label if spec is None else spec.id
