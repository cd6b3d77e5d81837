"""PolicyEvaluation: raw episode returns, and exact values where the world knows them."""

from collections import defaultdict
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from algorithms.distributions import (
    ActionDistribution,
    ClippedNormal,
    DiscretePolicy,
    TanhNormal,
    is_stochastic,
)
from bench import seeding
from bench.worlds import exact
from bench.worlds.base import Act, Environment, rollout
from bench.worlds.spaces import Bounds, from_unit


class Policy(Protocol):
    """The runs' policies: action distributions at raw observations ``[run, ..., (dim)]``."""

    def __call__(self, observation: np.ndarray, runs: slice = ...) -> ActionDistribution:
        """Return those of some runs, by default of all."""


@dataclass(frozen=True)
class PolicyEvaluation:
    """One policy, evaluated by its mode, exact ties split evenly.

    Attributes:
        update: Updates made before.
        returns: Undiscounted return of each episode.
        exact_value: Exact discounted value from the initial distribution, where known.
        sampled_value: Of a stochastic policy, the value of sampling from it: exact where the MDP is
            known, else the mean of as many episodes, discounted where values are.
        probabilities: ``[states, actions]`` of the mode, where the MDP is known.
        discounted_returns: Discounted return of each episode, where they are all that is known of
            a discounted value.
        measured: What else the world judges a policy by, means over the steps of the episodes.
    """

    update: int
    returns: list[float]
    exact_value: float | None
    sampled_value: float | None
    probabilities: np.ndarray | None
    discounted_returns: list[float] | None = None
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The achieved value: exact where known, else the mean of the episodes."""
        if self.exact_value is not None:
            return self.exact_value
        episodes = self.returns if self.discounted_returns is None else self.discounted_returns
        return float(np.mean(episodes))

    @property
    def told(self) -> dict[str, Any]:
        """What a record says of it, by name: everything but the table of probabilities."""
        return {
            own.name: getattr(self, own.name) for own in fields(self) if own.name != "probabilities"
        }


def evaluate(
    policy: Policy,
    update: int,
    environments: list[Environment],
    seeds: list[int],
    num_episodes: int,
) -> list[PolicyEvaluation]:
    """Return the evaluation of every run's policy in its own environment.

    The episodes are those that the run's seed names, the same at every evaluation.
    """
    if environments[0].mdp is not None:
        return _exactly(policy, update, environments, seeds, num_episodes)
    simulated = _Simulated(policy, environments, seeds, num_episodes)
    by_mode, by_sampling = simulated.returns()
    sampled = None if by_sampling is None else by_sampling.values(environments[0]).mean(1)
    evaluations = []
    for index, environment in enumerate(environments):
        value = environment.policy_value(simulated.one_run(index))
        discounted = environment.discounted and value is None
        evaluations.append(
            PolicyEvaluation(
                update,
                by_mode.plain[index].tolist(),
                value,
                None if sampled is None else float(sampled[index]),
                None,
                by_mode.discounted[index].tolist() if discounted else None,
                {name: float(mean[index]) for name, mean in by_mode.measured.items()},
            )
        )
    return evaluations


def _exactly(
    policy: Policy,
    update: int,
    environments: list[Environment],
    seeds: list[int],
    num_episodes: int,
) -> list[PolicyEvaluation]:
    states = np.arange(environments[0].spec.observation_size)
    distribution = policy(np.broadcast_to(states, (len(environments), len(states))).copy())
    assert isinstance(distribution, DiscretePolicy)
    mode, probabilities = (
        chances_table(distribution.mode_probabilities()),
        chances_table(distribution.probabilities()),
    )
    run = np.arange(len(environments))[:, None]
    act = _choosing(lambda state: mode[run, state], seeds, num_episodes)
    returns = _returns(environments, seeds, num_episodes, act).plain
    evaluations = []
    for index, environment in enumerate(environments):
        assert environment.mdp is not None
        tables = np.stack([mode[index], probabilities[index]])
        value, sampled = exact.policy_value(environment.mdp, tables, environment.spec.discount)
        evaluations.append(
            PolicyEvaluation(
                update,
                returns[index].tolist(),
                float(value),
                float(sampled) if is_stochastic(distribution) else None,
                mode[index],
            )
        )
    return evaluations


class _Returns(NamedTuple):
    """Returns ``[run, episode]`` of the same episodes, undiscounted and discounted.

    `measured` are means ``[run]`` over all their steps of what else the world measures.
    """

    plain: np.ndarray
    discounted: np.ndarray
    measured: dict[str, np.ndarray]

    def values(self, environment: Environment) -> np.ndarray:
        """Return those that an environment's values are means of."""
        return self.discounted if environment.discounted else self.plain


class _Simulated:
    """Policies of runs in worlds without known tables, as functions of raw observations."""

    def __init__(
        self,
        policy: Policy,
        environments: list[Environment],
        seeds: list[int],
        num_episodes: int,
    ):
        self.policy, self.environments = policy, environments
        self.seeds, self.num_episodes = seeds, num_episodes
        self.bounds = environments[0].spec.action_bounds

    def returns(self) -> tuple[_Returns, _Returns | None]:
        """Return those of acting by the mode and, if policies are stochastic, by sampling."""
        spec = self.environments[0].spec
        nowhere = (
            np.zeros((len(self.seeds), 1), dtype=np.int64)
            if spec.observation_kind == "discrete"
            else np.zeros((len(self.seeds), 1, spec.observation_size))
        )
        given = self.environments, self.seeds, self.num_episodes
        by_mode = _returns(*given, self._by_mode())
        if not is_stochastic(self.policy(nowhere)):
            return by_mode, None
        return by_mode, _returns(*given, self._by_sampling())

    def one_run(self, run: int) -> Act:
        """Return how one run acts by the mode at observations ``[..., dim]``, if always alike."""

        def act(observation: np.ndarray) -> np.ndarray:
            assert self.bounds is not None
            chosen = self.policy(observation[None], slice(run, run + 1))
            return _in_world(chosen.mode(), self.bounds)[0]

        return act

    def _by_mode(self) -> Act:
        bounds = self.bounds
        if bounds is None:
            return _choosing(
                lambda x: chances_table(discrete(self.policy(x)).mode_probabilities()),
                self.seeds, self.num_episodes,
            )  # fmt: skip
        return lambda observation: _in_world(self.policy(observation).mode(), bounds)

    def _by_sampling(self) -> Act:
        bounds = self.bounds
        if bounds is None:
            return _choosing(
                lambda x: chances_table(discrete(self.policy(x)).probabilities()),
                self.seeds, self.num_episodes,
            )  # fmt: skip
        choices = _choices(self.seeds)
        shape = (self.num_episodes, len(bounds[0]))

        def act(observation: np.ndarray) -> np.ndarray:
            distribution = self.policy(observation)
            assert isinstance(distribution, TanhNormal | ClippedNormal)
            mean = distribution.mean
            noise = np.stack([generator.random(shape) for generator in choices])
            return _in_world(distribution.sample(torch.as_tensor(noise).to(mean)), bounds)

        return act


def discrete(distribution: ActionDistribution) -> DiscretePolicy:
    assert isinstance(distribution, DiscretePolicy)
    return distribution


def _in_world(unit: torch.Tensor, bounds: Bounds) -> np.ndarray:
    """Return actions of learners ``[..., action_size]`` in a world's units, as data stores them.

    A run that is lost acts too, until somebody looks at its parameters.
    """
    known = np.nan_to_num(unit.double().cpu().numpy())
    return from_unit(known, bounds).astype(np.float32)


def chances_table(probabilities: torch.Tensor) -> np.ndarray:
    """Return float64 probabilities; in float32 they sum to one only to 1e-7."""
    table = probabilities.double().cpu().numpy()
    return table / table.sum(-1, keepdims=True)


def _choices(seeds: list[int]) -> list[np.random.Generator]:
    """Return the generators by which runs choose among actions."""
    return [seeding.numpy_generator("evaluation", seed, "action") for seed in seeds]


def _choosing(probabilities: Act, seeds: list[int], num_episodes: int) -> Act:
    """Return how runs act that choose by probabilities ``[run, episode, num_actions]``."""
    choices = _choices(seeds)

    def act(observation: np.ndarray) -> np.ndarray:
        cumulative = probabilities(observation).cumsum(-1)
        uniform = np.stack([generator.random((num_episodes, 1)) for generator in choices])
        # Scaling keeps a rounding error in the sum from selecting past the end.
        return (uniform * cumulative[..., -1:] >= cumulative).sum(-1)

    return act


def _returns(
    environments: list[Environment], seeds: list[int], num_episodes: int, act: Act
) -> _Returns:
    """Return the returns of the episodes that the runs' seeds name."""
    generators = [seeding.numpy_generator("evaluation", seed) for seed in seeds]
    simulator = environments[0].simulator(environments, generators, num_episodes)
    spec = environments[0].spec
    plain, discounted = np.zeros((2, len(environments), num_episodes))
    steps = np.zeros(len(environments))
    measured: dict[str, np.ndarray] = defaultdict(lambda: np.zeros_like(steps))
    with torch.inference_mode():
        for time, step in enumerate(rollout(simulator, act, spec.horizon)):
            gained = step.reward * step.active
            plain += gained
            discounted += spec.discount**time * gained
            steps += step.active.sum(1)
            for name, value in step.measured.items():
                measured[name] += (value * step.active).sum(1)
    return _Returns(plain, discounted, {name: sums / steps for name, sums in measured.items()})
