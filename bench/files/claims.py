"""What a dataset's world could be: gymnasium's, this project's own, or nothing but data."""

from dataclasses import replace

import gymnasium
from gymnasium.envs.registration import EnvSpec as GymnasiumSpec

from bench.files.flat import Card
from bench.files.gate.claim import Claim
from bench.files.trusted import is_registered
from bench.types import EnvSpec
from bench.worlds.base import Environment, World
from bench.worlds.simulators.live import LiveEnvironment
from bench.worlds.simulators.recorded import RecordedEnvironment, Reference
from bench.worlds.simulators.registered import own_world
from bench.worlds.tabular import return_bounds


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


def gymnasium_claim(
    name: str, card: Card, discount: float, reference: Reference, spec: GymnasiumSpec
) -> Claim:
    """Return one of gymnasium's worlds for data, this project's own where it is the same."""
    horizon = spec.max_episode_steps or card.longest_episode
    data_alone = RecordedEnvironment(spec_of(name, card, discount, horizon), reference)
    own = _own_world(spec)
    environment: Environment
    if own is not None:
        environment = own.environment(name, 0, discount, horizon)
    else:
        environment = simulated(data_alone, spec)
    return Claim(environment, data_alone, spec)


def no_claim(
    name: str, card: Card, discount: float, reference: Reference, why: str | None = None
) -> Claim:
    """Return that no world is named for data, or none that may be made."""
    alone = RecordedEnvironment(spec_of(name, card, discount, card.longest_episode), reference)
    if why is not None:
        alone = replace(alone, why=why)
    return Claim(alone, alone)


def simulated(data_alone: RecordedEnvironment, spec: GymnasiumSpec) -> RecordedEnvironment:
    """Return the world of a file's transitions, to be acted in if gymnasium's can be made here."""
    try:
        return LiveEnvironment.make(spec, data_alone.spec, data_alone.reference)
    except ValueError as error:
        # The data is still good.
        return replace(data_alone, why=str(error))


def _own_world(spec: GymnasiumSpec) -> World | None:
    """Return the world of this project that is the same as one of gymnasium's, if there is one."""
    if not is_registered(spec) or spec.additional_wrappers:
        return None
    if gymnasium.registry[spec.id].kwargs != spec.kwargs:
        return None
    return own_world(spec.id)
