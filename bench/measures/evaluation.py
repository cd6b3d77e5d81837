"""PolicyEvaluation: raw episode returns, and exact values where the MDP is known."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from algorithms.base import ActionDistribution, Categorical
from bench import seeding
from bench.worlds import exact
from bench.worlds.base import Environment, rollout

# Action distributions at raw observations ``[run, ..., (dim)]``.
Policy = Callable[[np.ndarray], ActionDistribution]


@dataclass(frozen=True)
class PolicyEvaluation:
    """One policy, evaluated by its mode, exact ties split evenly.

    Attributes:
        update: Updates made before.
        returns: Undiscounted return of each episode.
        exact_value: Exact discounted value from the initial distribution, where known.
        sampled_value: Of a stochastic policy, the value of sampling from it: exact where known,
            else the mean return of as many episodes.
        probabilities: ``[states, actions]`` of the mode, where the MDP is known.
    """

    update: int
    returns: list[float]
    exact_value: float | None
    sampled_value: float | None
    probabilities: np.ndarray | None

    @property
    def value(self) -> float:
        """The achieved value: exact where known, else the mean return."""
        return self.exact_value if self.exact_value is not None else float(np.mean(self.returns))

    @property
    def told(self) -> dict[str, Any]:
        """What a record says of it, by name: everything but the table of probabilities."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "probabilities"
        }


def evaluate(
    policy: Policy,
    update: int,
    environments: list[Environment],
    seeds: list[int],
    num_episodes: int,
) -> list[PolicyEvaluation]:
    """Return the evaluation of every run's policy in its own environment.

    `policy` returns action distributions at raw observations ``[run, ..., (dim)]``. The episodes
    are those that the run's seed names, the same at every evaluation.
    """
    way = _by_rollout if environments[0].mdp is None else _exactly
    return way(policy, update, environments, seeds, num_episodes)


def _exactly(
    policy: Policy,
    update: int,
    environments: list[Environment],
    seeds: list[int],
    num_episodes: int,
) -> list[PolicyEvaluation]:
    states = np.arange(environments[0].spec.observation_size)
    distribution = policy(np.broadcast_to(states, (len(environments), len(states))).copy())
    mode, probabilities = (
        _table(distribution.mode_probabilities()),
        _table(distribution.probabilities()),
    )
    run = np.arange(len(environments))[:, None]
    returns = _returns(environments, seeds, num_episodes, lambda state: mode[run, state])
    evaluations = []
    for index, environment in enumerate(environments):
        assert environment.mdp is not None
        tables = np.stack([mode[index], probabilities[index]])
        value, sampled = exact.policy_value(environment.mdp, tables, environment.spec.discount)
        stochastic = isinstance(distribution, Categorical)
        evaluations.append(
            PolicyEvaluation(
                update,
                returns[index].tolist(),
                float(value),
                float(sampled) if stochastic else None,
                mode[index],
            )
        )
    return evaluations


def _by_rollout(
    policy: Policy,
    update: int,
    environments: list[Environment],
    seeds: list[int],
    num_episodes: int,
) -> list[PolicyEvaluation]:
    def by_mode(observation: np.ndarray) -> np.ndarray:
        return _table(policy(observation).mode_probabilities())

    def by_sampling(observation: np.ndarray) -> np.ndarray:
        return _table(policy(observation).probabilities())

    returns = _returns(environments, seeds, num_episodes, by_mode)
    sampled: list[float | None] = [None] * len(environments)
    discrete = environments[0].spec.observation_kind == "discrete"
    nowhere = (
        np.zeros((len(seeds), 1), dtype=np.int64)
        if discrete
        else np.zeros((len(seeds), 1, environments[0].spec.observation_size))
    )
    if isinstance(policy(nowhere), Categorical):
        means = _returns(environments, seeds, num_episodes, by_sampling).mean(1)
        sampled = [float(mean) for mean in means]
    return [
        PolicyEvaluation(update, row.tolist(), None, value, None)
        for row, value in zip(returns, sampled, strict=True)
    ]


def _table(probabilities: torch.Tensor) -> np.ndarray:
    """Return float64 probabilities; in float32 they sum to one only to 1e-7."""
    table = probabilities.double().cpu().numpy()
    return table / table.sum(-1, keepdims=True)


def _returns(
    environments: list[Environment],
    seeds: list[int],
    num_episodes: int,
    policy: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return undiscounted returns ``[run, episode]`` of a policy's action probabilities."""
    choices = [seeding.numpy_generator("evaluation", seed, "action") for seed in seeds]

    def act(observation: np.ndarray) -> np.ndarray:
        cumulative = policy(observation).cumsum(-1)
        uniform = np.stack([generator.random((num_episodes, 1)) for generator in choices])
        # Scaling keeps a rounding error in the sum from selecting past the end.
        return (uniform * cumulative[..., -1:] >= cumulative).sum(-1)

    generators = [seeding.numpy_generator("evaluation", seed) for seed in seeds]
    simulator = environments[0].simulator(environments, generators, num_episodes)
    total = np.zeros((len(environments), num_episodes))
    with torch.inference_mode():
        for step in rollout(simulator, act, environments[0].spec.horizon):
            total += step.reward * step.active
    return total
