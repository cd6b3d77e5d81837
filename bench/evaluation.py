"""PolicyEvaluation: raw episode returns, and exact values where the MDP is known."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from algorithms.base import Categorical
from bench import seeding, tabular
from bench.cohort import Cohort
from bench.environments import Environment, rollout


@dataclass(frozen=True)
class PolicyEvaluation:
    """One policy, evaluated by its mode.

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


def evaluate(
    cohort: Cohort, environments: list[Environment], seeds: list[int], num_episodes: int
) -> list[PolicyEvaluation]:
    """Return the evaluation of every run's policy in its own environment.

    The episodes are those that the run's seed names, the same at every evaluation.
    """
    if environments[0].mdp is None:
        return _evaluate_by_rollout(cohort, environments, seeds, num_episodes)
    return _evaluate_exactly(cohort, environments, seeds, num_episodes)


def _evaluate_exactly(
    cohort: Cohort, environments: list[Environment], seeds: list[int], num_episodes: int
) -> list[PolicyEvaluation]:
    states = np.arange(cohort.spec.observation_size)
    distribution = cohort.policy(np.broadcast_to(states, (len(environments), len(states))).copy())
    mode = distribution.mode().cpu().numpy()
    probabilities = distribution.probabilities().double().cpu().numpy()
    # float32 probabilities sum to one only to 1e-7; the exact value deserves better.
    probabilities /= probabilities.sum(-1, keepdims=True)
    run = np.arange(len(environments))[:, None]
    returns = _returns(environments, seeds, num_episodes, lambda state: mode[run, state])
    evaluations = []
    for index, environment in enumerate(environments):
        assert environment.mdp is not None
        greedy = tabular.deterministic(mode[index], environment.spec.num_actions)
        tables = np.stack([greedy, probabilities[index]])
        value, sampled = tabular.policy_value(environment.mdp, tables, environment.spec.discount)
        stochastic = isinstance(distribution, Categorical)
        evaluations.append(
            PolicyEvaluation(
                cohort.step,
                returns[index].tolist(),
                float(value),
                float(sampled) if stochastic else None,
                greedy,
            )
        )
    return evaluations


def _evaluate_by_rollout(
    cohort: Cohort, environments: list[Environment], seeds: list[int], num_episodes: int
) -> list[PolicyEvaluation]:
    def act(observation: np.ndarray) -> np.ndarray:
        return cohort.policy(observation).mode().cpu().numpy()

    returns = _returns(environments, seeds, num_episodes, act)
    sampled: list[float | None] = [None] * len(environments)
    if isinstance(
        cohort.policy(np.zeros((len(seeds), 1, cohort.spec.observation_size))), Categorical
    ):
        generators = [seeding.numpy_generator("evaluation", seed, "action") for seed in seeds]

        def act_randomly(observation: np.ndarray) -> np.ndarray:
            probabilities = cohort.policy(observation).probabilities().cpu().numpy()
            uniform = np.stack([g.random((num_episodes, 1)) for g in generators])
            chosen = (uniform >= probabilities.cumsum(-1)).sum(-1)
            return np.minimum(chosen, cohort.spec.num_actions - 1)

        means = _returns(environments, seeds, num_episodes, act_randomly).mean(1)
        sampled = [float(mean) for mean in means]
    return [
        PolicyEvaluation(cohort.step, row.tolist(), None, value, None)
        for row, value in zip(returns, sampled, strict=True)
    ]


def _returns(
    environments: list[Environment],
    seeds: list[int],
    num_episodes: int,
    act: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return undiscounted returns ``[run, episode]``."""
    generators = [seeding.numpy_generator("evaluation", seed) for seed in seeds]
    simulator = environments[0].simulator(environments, generators, num_episodes)
    total = np.zeros((len(environments), num_episodes))
    with torch.inference_mode():
        for step in rollout(simulator, act, environments[0].spec.horizon):
            total += step.reward * step.active
    return total
