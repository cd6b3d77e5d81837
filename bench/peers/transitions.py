"""The data that all who are compared draw from, encoded as our learners see it."""

from typing import Any, NamedTuple

from bench.cohorts.cohort import Cohort, Member


class Transitions(NamedTuple):
    """Columns ``[batch, ...]``; vectors standardised, actions within [-1, 1], rewards scaled."""

    observation: Any
    action: Any
    reward: Any
    next_observation: Any
    terminated: Any


def transitions(member: Member) -> Transitions:
    """Return all of a run's data as arrays of numpy."""
    cohort = Cohort([member], "full")
    batch = cohort.replay.batch(0)
    data = Transitions(*(getattr(batch, name)[0].numpy() for name in Transitions._fields))
    scale = getattr(cohort.state, "reward_scale", None)
    return data if scale is None else data._replace(reward=data.reward * scale[0].item())
