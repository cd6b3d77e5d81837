"""Rewards as learners see them: in the world's own units, unless these are far from 1.

Steps of an optimiser, initial networks and conservatism are made for rewards of ordinary size.
Where a world's largest reward is outside of `ORDINARY`, learners count rewards in another unit: a
power of two, so that nothing is rounded, and the world's, not the data's, so that it does not
change with coverage. Values and regrets are measured in the world's own units everywhere.
"""

import math
from dataclasses import replace

import numpy as np

from bench.types import EnvSpec

# Sizes of the largest reward that learners take as it is: those of all worlds here and of all
# published benchmarks, whose numbers they must reach.
ORDINARY = (1e-2, 1e3)


def reward_unit(spec: EnvSpec) -> float:
    """Return how much of a world's reward is 1 to learners; 1 in a world of ordinary rewards."""
    largest = max(abs(spec.reward_min), abs(spec.reward_max))
    if largest == 0 or ORDINARY[0] <= largest <= ORDINARY[1]:
        return 1.0
    return math.ldexp(1.0, math.frexp(largest)[1] - 1)


def in_units(rewards: np.ndarray, spec: EnvSpec) -> np.ndarray:
    """Return rewards or returns as learners see them; the same array where that is as they are."""
    unit = reward_unit(spec)
    return rewards if unit == 1 else rewards / unit


def learners_spec(spec: EnvSpec) -> EnvSpec:
    """Return the spec as learners see it."""
    unit = reward_unit(spec)
    if unit == 1:
        return spec
    return replace(
        spec,
        reward_min=spec.reward_min / unit,
        reward_max=spec.reward_max / unit,
        v_min=spec.v_min / unit,
        v_max=spec.v_max / unit,
        uniform_regret=None if spec.uniform_regret is None else spec.uniform_regret / unit,
        uniform_value=None if spec.uniform_value is None else spec.uniform_value / unit,
    )
