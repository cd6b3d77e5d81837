"""Evaluated values and returns, against loops over states and plain gymnasium episodes."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from algorithms import networks
from algorithms.distributions import Categorical, Greedy
from bench import seeding
from bench.measures.evaluation import PolicyEvaluation
from bench.worlds import exact
from bench.worlds.cartpole import CartPole
from bench.worlds.mdps import Cliff, CombinationLock, Garnet
from tests.support.builders import (
    build_algorithm,
    evaluate,
    make_cohort,
    of_run,
    random_dataset,
    train,
)

DISCOUNT = 0.9


def tabular_runs(name, family, num_runs=2, instances=None, num_updates=15, horizon=12, seeds=None):
    """Return a cohort trained on noise, one run per instance, with its environments and seeds."""
    instances = range(num_runs) if instances is None else instances
    environments = [family.environment("world", seed, DISCOUNT, horizon) for seed in instances]
    datasets = [random_dataset("discrete", 80, i, spec=e.spec) for i, e in enumerate(environments)]
    algorithm = build_algorithm(name, "table", hidden_sizes=[], learning_rate=0.1)
    seeds = list(range(num_runs)) if seeds is None else seeds
    cohort = train(make_cohort([algorithm] * num_runs, datasets, seeds), num_updates)
    return cohort, environments, seeds


def policies(cohort):
    """Return the probabilities of every run's actions ``[run, states, actions]``."""
    states = np.arange(cohort.spec.observation_size)
    every_run = np.broadcast_to(states, (cohort.num_runs, len(states))).copy()
    return cohort.policy(every_run)


def discounted_value(mdp, policy):
    """Return the value of a policy by summing over time, outcome by outcome."""
    weight, total = mdp.initial.copy(), 0.0
    for time in range(400):
        following = np.zeros(mdp.num_states)
        for state, action in np.ndindex(policy.shape):
            share = weight[state] * policy[state, action]
            if share == 0:
                continue
            for k, chance in enumerate(mdp.probability[state, action]):
                total += DISCOUNT**time * share * chance * mdp.reward[state, action, k]
                if not mdp.terminated[state, action, k]:
                    following[mdp.next_state[state, action, k]] += share * chance
        weight = following
        if DISCOUNT**time * weight.sum() < 1e-9:
            break
    return total


def expected_return(mdp, actions, horizon):
    """Return the mean undiscounted return of deterministic actions within the horizon."""
    value = np.zeros(mdp.num_states)
    rows = np.arange(mdp.num_states)
    for _ in range(horizon):
        going_on = np.where(mdp.terminated, 0.0, value[mdp.next_state])
        value = (mdp.probability * (mdp.reward + going_on)).sum(-1)[rows, actions]
    return mdp.initial @ value


FAMILIES = [Garnet(6, 3, 2, 0.5), CombinationLock(3, 3, 0.3), Cliff(2, 3, 0.2)]


@pytest.mark.parametrize("family", FAMILIES, ids=["garnet", "lock", "cliff"])
def test_the_exact_value_is_that_of_the_most_likely_actions(family):
    cohort, environments, seeds = tabular_runs("bc", family)
    modes = policies(cohort).mode().numpy()
    for run, result in enumerate(evaluate(cohort, environments, seeds, 3)):
        mdp = environments[run].mdp
        table = np.eye(mdp.num_actions)[modes[run]]
        expected = exact.policy_value(mdp, table, DISCOUNT)
        assert result.exact_value == pytest.approx(expected, abs=1e-12)
        assert result.exact_value == pytest.approx(discounted_value(mdp, table), abs=1e-6)
        np.testing.assert_array_equal(result.probabilities, table)


def test_the_exact_value_of_an_optimal_policy_is_the_optimum():
    cohort, environments, seeds = tabular_runs("fqi_exact", FAMILIES[1], num_updates=60)
    for environment in environments:
        assert environment.optimum != 0
    best = torch.stack([torch.eye(3)[environment.optimal_actions] for environment in environments])
    cohort.state = cohort.state._replace(table=best)
    for environment, result in zip(
        environments, evaluate(cohort, environments, seeds, 3), strict=True
    ):
        assert result.exact_value == pytest.approx(environment.optimum)


@pytest.mark.parametrize("family", FAMILIES, ids=["garnet", "lock", "cliff"])
def test_the_sampled_value_is_that_of_the_probabilities(family):
    cohort, environments, seeds = tabular_runs("bc", family)
    probabilities = policies(cohort).logits.double().softmax(-1).numpy()
    for run, result in enumerate(evaluate(cohort, environments, seeds, 3)):
        expected = discounted_value(environments[run].mdp, probabilities[run])
        assert result.sampled_value == pytest.approx(expected, abs=1e-6)
        assert result.sampled_value != pytest.approx(result.exact_value, abs=1e-3)


@pytest.mark.parametrize("name", ["cql", "bcq", "fqi", "fqi_exact"])
def test_a_deterministic_policy_has_no_value_of_sampling(name):
    for result in evaluate(*tabular_runs(name, FAMILIES[0], num_updates=2), 3):
        assert result.sampled_value is None
        assert result.exact_value is not None


@pytest.mark.parametrize("family", [CombinationLock(3, 3, 0.0), Cliff(2, 3, 0.0)])
def test_returns_in_a_world_without_chance_are_those_of_a_walk(family):
    cohort, environments, seeds = tabular_runs("bc", family)
    modes = policies(cohort).mode().numpy()
    for run, result in enumerate(evaluate(cohort, environments, seeds, 3)):
        mdp, total = environments[run].mdp, 0.0
        state = int(mdp.initial.argmax())
        for _ in range(environments[run].spec.horizon):
            at = (state, modes[run, state], int(mdp.probability[state, modes[run, state]].argmax()))
            total += mdp.reward[at]
            state = mdp.next_state[at]
            if mdp.terminated[at]:
                break
        assert result.returns == [total] * 3


@pytest.mark.parametrize("family", FAMILIES, ids=["garnet", "lock", "cliff"])
def test_the_mean_return_is_the_undiscounted_expectation_within_the_horizon(family):
    cohort, environments, seeds = tabular_runs("fqi", family)
    modes = policies(cohort).mode().numpy()
    for run, result in enumerate(evaluate(cohort, environments, seeds, 4000)):
        error = np.std(result.returns) / np.sqrt(4000)
        expected = expected_return(environments[run].mdp, modes[run], horizon=12)
        # Five standard errors of a mean.
        assert abs(np.mean(result.returns) - expected) <= 5 * error + 1e-9


def test_there_is_a_return_per_episode_and_the_number_of_updates_made():
    cohort, environments, seeds = tabular_runs("fqi", FAMILIES[0], num_updates=7)
    for result in evaluate(cohort, environments, seeds, 9):
        assert len(result.returns) == 9
        assert result.update == 7


def test_the_achieved_value_is_exact_where_known_and_else_the_mean_return():
    exact = PolicyEvaluation(0, [1.0, 4.0], 0.7, None, None)
    assert exact.value == 0.7
    assert replace(exact, exact_value=0.0).value == 0.0
    assert replace(exact, exact_value=None).value == 2.5


def cartpole_runs(name="fqi", num_runs=2, seeds=None, horizon=60, **settings):
    environment = CartPole().environment("cartpole", 0, DISCOUNT, horizon)
    datasets = [random_dataset("vector", 50, i, spec=environment.spec) for i in range(num_runs)]
    algorithms = [build_algorithm(name, **settings)] * num_runs
    seeds = list(range(num_runs)) if seeds is None else seeds
    return make_cohort(algorithms, datasets, seeds), [environment] * num_runs, seeds


def steer(cohort, scale):
    """Make linear policies push to where the pole falls; the larger the scale, the surer."""
    weight = torch.tensor([0.0, 0.5, 3.0, 1.0]) * cohort.encoder.scale
    cohort.state.actor[0]["weight"].copy_(scale * torch.stack([-weight, weight], -1))
    # Standardising takes the mean away; put it back, so that upright is zero.
    offset = scale * (weight * cohort.encoder.mean / cohort.encoder.scale).sum(-1)
    cohort.state.actor[0]["bias"].copy_(torch.stack([-offset, offset], -1))


def starts(seed, num_episodes):
    """Return the start states that the run's evaluation stream names ``[episode, 4]``."""
    return seeding.numpy_generator("evaluation", seed).uniform(-0.05, 0.05, (4, num_episodes)).T


def plain_return(start, horizon, act):
    """Return the undiscounted return of one episode of gymnasium's own CartPole."""
    environment = gymnasium.make("CartPole-v1", max_episode_steps=horizon)
    environment.reset(seed=0)
    environment.unwrapped.state = start
    observation, total, ended, time = start.astype(np.float32), 0.0, False, 0
    while not ended:
        observation, reward, terminated, truncated, _ = environment.step(act(observation, time))
        total, time, ended = total + reward, time + 1, terminated or truncated
    return total


def logits_of(cohort, run, observation):
    """Return what a run's network says, standardising by hand."""
    mean, scale = cohort.encoder.mean[run], cohort.encoder.scale[run]
    x = (torch.as_tensor(observation) - mean) / scale
    return networks.apply(of_run(cohort.state, run)[0], x)


@pytest.mark.parametrize("name", ["fqi", "bc"])
def test_cartpole_returns_are_those_of_plain_gymnasium_episodes(name):
    cohort, environments, seeds = cartpole_runs(name, hidden_sizes=[])
    if name == "bc":
        steer(cohort, 1.0)
    lengths = []
    for run, result in enumerate(evaluate(cohort, environments, seeds, 5)):

        def act(observation, time, run=run):
            return int(logits_of(cohort, run, observation).argmax())

        expected = [plain_return(start, 60, act) for start in starts(seeds[run], 5)]
        assert result.returns == expected
        lengths += expected
    assert (max(lengths) == 60) if name == "bc" else (max(lengths) < 60)


def test_cartpole_has_no_exact_value():
    for result in evaluate(*cartpole_runs(), 2):
        assert result.exact_value is None
        assert result.probabilities is None
        assert result.sampled_value is None
        assert result.value == np.mean(result.returns)


def test_the_sampled_return_is_that_of_plain_episodes_with_drawn_actions():
    cohort, environments, seeds = cartpole_runs("bc", hidden_sizes=[])
    steer(cohort, 0.1)
    for run, result in enumerate(evaluate(cohort, environments, seeds, 4)):
        stream = seeding.numpy_generator("evaluation", seeds[run], "action")
        uniform = stream.random((60, 4))
        totals = []
        for episode, start in enumerate(starts(seeds[run], 4)):

            def act(observation, time, run=run, episode=episode, uniform=uniform):
                left = logits_of(cohort, run, observation).softmax(-1)[0].item()
                return int(uniform[time, episode] >= left)

            totals.append(plain_return(start, 60, act))
        assert result.sampled_value == np.mean(totals)
        assert result.sampled_value != np.mean(result.returns)


def test_sampling_an_indifferent_policy_is_the_uniform_policy():
    cohort, environments, seeds = cartpole_runs("bc", hidden_sizes=[], horizon=500)
    for tensor in cohort.state.actor[0].values():
        tensor.zero_()
    for result in evaluate(cohort, environments, seeds, 200):
        # Five standard errors of the mean of 200 uniform episodes, whose std is about 12.
        assert result.sampled_value == pytest.approx(environments[0].uniform, abs=5 * 12 / 14)


def test_sampling_a_policy_that_is_sure_is_its_mode():
    cohort, environments, seeds = cartpole_runs("bc", hidden_sizes=[])
    steer(cohort, 1e6)
    for result in evaluate(cohort, environments, seeds, 5):
        assert result.sampled_value == np.mean(result.returns) > 20


WORLDS = {
    "tabular": lambda **settings: tabular_runs("bc", FAMILIES[0], **settings),
    "cartpole": lambda **settings: cartpole_runs("bc", hidden_sizes=[8], **settings),
}


def outcome(results):
    return [(r.returns, r.exact_value, r.sampled_value) for r in results]


@pytest.mark.parametrize("kind", WORLDS)
def test_every_evaluation_has_the_same_episodes(kind):
    arguments = WORLDS[kind]()
    assert outcome(evaluate(*arguments, 5)) == outcome(evaluate(*arguments, 5))


@pytest.mark.parametrize("kind", WORLDS)
def test_a_runs_episodes_do_not_depend_on_its_company(kind):
    together = outcome(evaluate(*WORLDS[kind](num_runs=3), 5))
    assert outcome(evaluate(*WORLDS[kind](num_runs=1), 5)) == together[:1]


def test_the_seed_names_the_episodes():
    environments = WORLDS["tabular"](num_runs=3, instances=[0, 0, 0])[1]
    cohort = tabular_runs("fqi", FAMILIES[0], 3, [0, 0, 0], num_updates=0)[0]
    # Tables without training: one policy for all.
    first, again, other = evaluate(cohort, environments, [0, 0, 1], 50)
    assert first.returns == again.returns
    assert first.returns != other.returns
    assert first.exact_value == other.exact_value


def test_two_methods_with_one_policy_have_the_same_episodes():
    fitted, cloned = (tabular_runs(name, FAMILIES[0], num_updates=0) for name in ("fqi", "bc"))
    left, right = evaluate(*fitted, 20), evaluate(*cloned, 20)
    assert [r.returns for r in left] == [r.returns for r in right]


def test_evaluation_touches_no_global_generator():
    arguments = cartpole_runs("bc", hidden_sizes=[8])
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    evaluate(*arguments, 3)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_a_run_whose_parameters_are_lost_leaves_the_others_evaluations_alone():
    cohort, environments, seeds = tabular_runs("bc", FAMILIES[0], num_runs=2)
    expected = outcome(evaluate(cohort, environments, seeds, 5))
    cohort.state.actor[0]["weight"][1] = torch.nan
    assert outcome(evaluate(cohort, environments, seeds, 5))[0] == expected[0]


def test_exactly_tied_actions_share_their_probability():
    scores = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0], [5.0, 1.0, 1.0, 1.0]])
    expected = [[0, 0.5, 0.5, 0], [0.25] * 4, [1, 0, 0, 0]]
    assert Greedy(scores).mode_probabilities().tolist() == expected
    assert Greedy(scores).probabilities().tolist() == expected
    assert Categorical(scores).mode_probabilities().tolist() == expected


def test_an_untrained_table_has_the_value_of_the_uniform_policy():
    """It knows nothing, so how actions are numbered must not decide what it is worth."""
    environment = Cliff(3, 4, 0.1).environment("cliff", 0, 0.9, 20)
    dataset = random_dataset("discrete", 20, 0, spec=environment.spec)
    cohort = make_cohort([build_algorithm("fqi", hidden_sizes=[])], [dataset])
    (evaluation,) = evaluate(cohort, [environment], [0], 5)
    assert evaluation.exact_value == pytest.approx(environment.uniform)
