"""Evaluation where actions are continuous: values against closed forms and plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from algorithms.distributions import Deterministic, TanhNormal
from bench import seeding
from bench.cohorts.cohort import Cohort
from bench.data.sources import Task
from bench.measures import coverage, regret
from bench.measures.evaluation import evaluate
from bench.worlds.continuous.lqr import LQR
from bench.worlds.continuous.pendulum import Pendulum
from bench.worlds.continuous.swamp import Swamp
from tests.support import builders
from tests.support.builders import build_algorithm, make_cohort, random_dataset, train
from tests.support.worlds import continuous_task

DISCOUNT = 0.9
LINEAR, PLANE = LQR(0.1, 1), Swamp(0.1, 0.02, 2.0)
GAINS = np.array([[[-0.3, -0.2]], [[0.1, -0.5]]])


def worlds(family, horizon=20, runs=2):
    return [family.environment("world", seed, DISCOUNT, horizon) for seed in range(runs)]


def linear(observation, runs=slice(None)):
    """Return the policies of two runs that act by a gain each."""
    gain = torch.as_tensor(GAINS[runs], dtype=torch.float64)
    return Deterministic(torch.as_tensor(observation).double() @ gain.mT)


def squashed(log_std):
    """Return stochastic versions of the linear policies, close to them where they are narrow."""

    def policy(observation, runs=slice(None)):
        mean = linear(observation, runs).action.clamp(-0.99, 0.99).atanh()
        return TanhNormal(mean, torch.full_like(mean, log_std))

    return policy


def walked(environment, seed, act, num_episodes=3):
    """Return undiscounted and discounted returns, episode by episode and step by step."""
    generator = seeding.numpy_generator("evaluation", seed)
    simulator = environment.simulator([environment], [generator], num_episodes)
    observation, returns = simulator.reset(), np.zeros((2, num_episodes))
    for time in range(environment.spec.horizon):
        observation, reward, _ = simulator.step(act(observation[0])[None])
        returns += np.array([[1.0], [DISCOUNT**time]]) * reward[0]
    return returns


def test_a_linear_policy_has_its_exact_value_and_undiscounted_returns():
    environments = worlds(LINEAR)
    for run, result in enumerate(evaluate(linear, 7, environments, [4, 9], 3)):
        expected = LINEAR.linear_value(GAINS[run], DISCOUNT, 20)
        # Actions are rounded to float32, as data stores them.
        assert result.exact_value == pytest.approx(expected, abs=1e-6)
        assert result.value == result.exact_value
        assert (result.discounted_returns, result.sampled_value) == (None, None)
        plain, _ = walked(
            environments[run], [4, 9][run], lambda x, run=run: x @ GAINS[run].T.astype(np.float32)
        )
        assert result.returns == pytest.approx(plain, abs=1e-5)
        assert result.update == 7


def test_the_optimal_policy_has_no_regret():
    environment = LINEAR.environment("world", 0, DISCOUNT, 100)
    gain = torch.as_tensor(LINEAR.gain(DISCOUNT))

    def optimal(observation, runs=slice(None)):
        return Deterministic(torch.as_tensor(observation).double() @ gain.T)

    (result,) = evaluate(optimal, 0, [environment], [0], 2)
    against = regret.Anchors(environment.optimum, environment.uniform, -5.0, None)
    found = regret.scores(result, against)
    # The closed form is for episodes without end.
    assert found["normalized_regret"] == pytest.approx(0, abs=1e-4)
    assert found["improvement"] == pytest.approx(5.0 + environment.optimum, abs=1e-3)


def test_without_an_exact_value_the_discounted_returns_of_the_walks_are_the_value():
    gains = np.stack([np.array([[-0.3, 0.2], [0.5, 0.1]])] * 2)

    def policy(observation, runs=slice(None)):
        unit = torch.as_tensor(observation).double() @ torch.as_tensor(gains[runs]).mT
        return Deterministic(unit)

    environments = worlds(PLANE)
    for run, result in enumerate(evaluate(policy, 0, environments, [4, 9], 3)):
        plain, discounted = walked(
            environments[run], [4, 9][run], lambda x: (x @ gains[0].T).astype(np.float32)
        )
        assert result.returns == pytest.approx(plain, abs=1e-4)
        assert result.discounted_returns == pytest.approx(discounted, abs=1e-4)
        assert result.exact_value is None
        assert result.value == np.mean(result.discounted_returns)
        assert result.value != pytest.approx(np.mean(result.returns))


def test_actions_reach_the_world_in_its_units():
    environments = worlds(Pendulum(0.1), runs=1)

    def half(observation, runs=slice(None)):
        return Deterministic(torch.full((*observation.shape[:-1], 1), 0.5))

    (result,) = evaluate(half, 0, environments, [4], 3)
    plain, _ = walked(environments[0], 4, lambda x: np.ones((*x.shape[:-1], 1)))
    assert result.returns == pytest.approx(plain)


def test_a_narrow_policy_is_worth_the_same_sampled_and_a_wide_one_is_not():
    environments = worlds(LINEAR)
    narrow = evaluate(squashed(-12.0), 0, environments, [4, 9], 200)
    wide = evaluate(squashed(0.0), 0, environments, [4, 9], 200)
    for run in range(2):
        mean = walked(
            environments[run], [4, 9][run],
            lambda x, run=run: x @ GAINS[run].T.astype(np.float32), 200,
        )[1].mean()  # fmt: skip
        assert narrow[run].sampled_value == pytest.approx(mean, abs=1e-3)
        assert wide[run].sampled_value < mean - 1
        assert wide[run].exact_value == pytest.approx(narrow[run].exact_value, abs=1e-5)


def test_a_run_is_evaluated_the_same_alone_and_in_a_cohort():
    environments = worlds(LINEAR)
    policy = squashed(-1.0)
    together = evaluate(policy, 0, environments, [4, 9], 5)

    def second(observation, runs=slice(None)):
        return policy(observation, slice(1, 2))

    (alone,) = evaluate(second, 0, environments[1:], [9], 5)
    assert alone == together[1]


def test_of_a_cohort_each_run_has_the_value_of_its_own_policy():
    environments = worlds(LINEAR)
    datasets = [random_dataset("continuous", 60, i, spec=environments[0].spec) for i in range(2)]
    algorithm = build_algorithm("bc", "continuous", hidden_sizes=[8], learning_rate=0.05)
    cohort = train(make_cohort([algorithm] * 2, datasets), 10)
    for run, result in enumerate(builders.evaluate(cohort, environments, [0, 1], 2)):

        def act(observation, run=run):
            both = np.stack([observation] * 2)
            return cohort.policy(both).mode()[run].double().numpy()

        expected = environments[run].policy_value(act)
        assert result.exact_value == pytest.approx(expected, abs=1e-5)


def test_a_lost_run_can_be_evaluated_beside_the_others():
    environments = worlds(PLANE)

    def lost(observation, runs=slice(None)):
        action = linear(observation, runs).action.expand(*observation.shape[:-1], 2).clone()
        action[0] = torch.nan
        return Deterministic(action)

    first, second = evaluate(lost, 0, environments, [4, 9], 2)
    assert np.isfinite(second.returns).all()
    assert np.isfinite(first.returns).all()


def test_why_there_is_no_regret_to_the_best_covered_policy_is_said():
    task = continuous_task()
    assert isinstance(task, Task)
    report = coverage.measure(task, task.data)
    assert "best covered" in report.reasons["regret_to_covered"]
    assert regret.anchors(task, task.data).best_covered is None


def test_the_spec_says_what_uniform_costs_and_runs_may_differ_in_it():
    environment = worlds(LINEAR, horizon=100)[0]
    assert environment.spec.uniform_regret == pytest.approx(
        environment.optimum - environment.uniform
    )
    other = replace(environment.spec, uniform_regret=1.0)
    datasets = [random_dataset("continuous", 30, 0, spec=s) for s in (environment.spec, other)]
    cohort = make_cohort([build_algorithm("td3_bc", hidden_sizes=[8])] * 2, datasets)
    assert isinstance(cohort, Cohort)
    assert cohort.state.reward_scale.tolist() == pytest.approx(
        [10 / environment.spec.uniform_regret, 10.0]
    )
