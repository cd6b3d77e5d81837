"""Behavior policies: mixtures of episodes, each epsilon-greedy around the reference policy."""

from collections.abc import Callable
from typing import Literal, NamedTuple, NotRequired

import numpy as np
from typing_extensions import TypedDict

from bench import seeding
from bench.types import Fraction, Positive
from bench.worlds import exact
from bench.worlds.base import Environment, World, rollout
from bench.worlds.spaces import from_unit, to_unit
from bench.worlds.tabular import TabularEnvironment

# Instances of a world that its halfway epsilon is found on; no figure uses these seeds.
INSTANCES = range(1000, 1008)


class Component(TypedDict):
    """A share of the episodes, collected epsilon-greedily around the reference policy.

    The reference policy is the optimal one where the MDP is known and the environment's scripted
    controller elsewhere; epsilon 1 is the uniform policy. Where actions are continuous the
    reference policy's are noisy (`Environment.behavior_noise`). With ``policy: clinician`` those
    who kept a world's records (`Environment.clinician`) take the reference policy's place.
    """

    policy: NotRequired[Literal["reference", "clinician"]]
    epsilon: Fraction
    share: Positive


class KnownBehavior(NamedTuple):
    """A behavior policy whose probabilities are known, a mixture of episodes.

    Attributes:
        shares: ``[components]`` of the episodes.
        chances: Each component's probabilities ``[components, n, num_actions]`` of numbered actions
            at raw observations ``[n, ...]``.
    """

    shares: np.ndarray
    chances: Callable[[np.ndarray], np.ndarray]


def known_behavior(
    environment: Environment, behavior: tuple[Component, ...]
) -> KnownBehavior | None:
    """Return a mixture's probabilities, None where actions are continuous."""
    if environment.spec.action_bounds is not None:
        return None
    num_actions = environment.spec.num_actions

    def chances(observation: np.ndarray) -> np.ndarray:
        uniform = np.full((len(observation), num_actions), 1 / num_actions)

        def of(part: Component) -> np.ndarray:
            if part["epsilon"] == 1:
                return uniform
            if by_clinician(part):
                intended = environment.clinician_chances(observation)
            else:
                intended = np.eye(num_actions)[environment.reference_action(observation)]
            return (1 - part["epsilon"]) * intended + part["epsilon"] * uniform

        return np.stack([of(part) for part in behavior])

    return KnownBehavior(shares(behavior), chances)


def actor(
    environment: Environment,
    behavior: tuple[Component, ...],
    rng: np.random.Generator,
    num_episodes: int,
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the behavior policy for some episodes, each of which belongs to one component."""
    component = rng.choice(len(behavior), size=num_episodes, p=shares(behavior))
    epsilon = np.array([part["epsilon"] for part in behavior])[component]
    clinical = np.array([by_clinician(part) for part in behavior])[component]
    if environment.spec.action_bounds is not None:
        return _continuous_actor(environment, epsilon, clinical, rng)

    def act(observation: np.ndarray) -> np.ndarray:
        explore = rng.random(num_episodes) < epsilon
        uniform = rng.integers(environment.spec.num_actions, size=num_episodes)
        if explore.all():
            return np.broadcast_to(uniform, observation.shape[:2])
        return np.where(explore, uniform, _intended(environment, observation, clinical, rng))

    return act


def _intended(
    environment: Environment,
    observation: np.ndarray,
    clinical: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return what is done where nothing is tried, in `clinical` episodes by clinicians."""
    intended = environment.reference_action(observation)
    if not clinical.any():
        return intended
    by_clinicians = environment.clinician_action(observation, rng)
    whose = clinical.reshape(-1, *[1] * (intended.ndim - 2))
    return np.where(whose, by_clinicians, intended)


def by_clinician(part: Component) -> bool:
    """Return whether a share of the episodes is of those who kept the records."""
    return part.get("policy") == "clinician"


def _continuous_actor(
    environment: Environment, epsilon: np.ndarray, clinical: np.ndarray, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    bounds, noise = environment.spec.action_bounds, environment.behavior_noise
    assert bounds is not None
    shape = (len(epsilon), len(bounds[0]))

    def act(observation: np.ndarray) -> np.ndarray:
        explore = rng.random(len(epsilon)) < epsilon
        unit, noisy = rng.uniform(-1, 1, shape), noise * rng.normal(size=shape)
        if explore.all():
            unit = np.broadcast_to(unit, (*observation.shape[:2], shape[-1]))
        else:
            intended = to_unit(_intended(environment, observation, clinical, rng), bounds) + noisy
            unit = np.where(explore[:, None], unit, intended)
        # Rounded before it is taken, so that data holds just what was done.
        return from_unit(unit, bounds).astype(np.float32)

    return act


def shares(behavior: tuple[Component, ...]) -> np.ndarray:
    weights = np.array([part["share"] for part in behavior])
    return weights / weights.sum()


def simulated_value(environment: Environment, behavior: tuple[Component, ...]) -> float:
    """Return the value by fresh episodes, the same ones for every seed."""
    episodes = environment.value_episodes
    world = seeding.numpy_generator("behavior", "world")
    act = actor(environment, behavior, seeding.numpy_generator("behavior", "action"), episodes)
    simulator = environment.simulator([environment], [world], episodes)
    steps = rollout(simulator, act, environment.spec.horizon)
    discount = environment.spec.discount if environment.discounted else 1.0
    gained = (discount**t * (step.reward * step.active).sum() for t, step in enumerate(steps))
    return float(sum(gained)) / episodes


def exact_values(environment: TabularEnvironment, behavior: tuple[Component, ...]) -> np.ndarray:
    """Return the exact value of each component ``[components]``."""
    return exact.policy_value(
        environment.mdp, tables(environment, behavior), environment.spec.discount
    )


def tables(environment: TabularEnvironment, behavior: tuple[Component, ...]) -> np.ndarray:
    """Return the policies ``[components, states, actions]`` of a mixture."""
    num_actions = environment.mdp.num_actions

    def table(part: Component) -> np.ndarray:
        if not by_clinician(part):
            return exact.epsilon_greedy(environment.optimal_actions, num_actions, part["epsilon"])
        assert environment.clinician is not None
        return (1 - part["epsilon"]) * environment.clinician + part["epsilon"] / num_actions

    return np.stack([table(part) for part in behavior])


def halfway_epsilon(world: World, discount: float, max_steps: int) -> float:
    """Return the epsilon, to two digits, whose value is halfway from uniform to the reference.

    On average over instances of the world, where a seed draws them.
    """
    environments = [world.environment("", seed, discount, max_steps) for seed in INSTANCES]
    if not world.tabular:
        # Whatever the seed, it is one world, and simulating takes time.
        environments = environments[:1]

    def share(epsilon: float) -> float:
        """Return where the value lies, 0 the uniform policy's and 1 the reference's."""
        found = []
        for environment in environments:
            behavior: tuple[Component, ...] = ({"epsilon": epsilon, "share": 1.0},)
            low, high = environment.uniform, environment.optimum
            assert low is not None
            assert high is not None
            value = (
                float(exact_values(environment, behavior)[0])
                if isinstance(environment, TabularEnvironment)
                else simulated_value(environment, behavior)
            )
            found.append((value - low) / (high - low))
        return float(np.mean(found))

    low, high = 0, 100
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share(middle / 100) > 0.5 else (low, middle)
    return min((low, high), key=lambda percent: abs(share(percent / 100) - 0.5)) / 100
