"""Where a regret comes from: parts that add up to it, and what each of them is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.data.datasets import OfflineDataset
from bench.data.sources import Task
from bench.data.units import reward_unit
from bench.measures.exact import data_distribution
from bench.measures.splits import NO_CRITIC, NOT_FINITE, TERMS, errors, regret_split
from bench.worlds import exact
from bench.worlds.tabular import TabularEnvironment
from tests.support.builders import (
    ALGORITHMS,
    build_algorithm,
    evaluate,
    kinds_of,
    make_cohort,
    make_spec,
    of_run,
    random_dataset,
    train,
)
from tests.support.worlds import (
    random_mdp,
    random_policy,
    slow_chain,
    slow_occupancy,
    slow_values,
)

STATES, ACTIONS, DISCOUNT = 4, 3, 0.85
SIZE = (STATES, ACTIONS)
ON_TABLES = [name for name in ALGORITHMS if "discrete" in kinds_of(name)]


def task_of(seed: int, num_transitions: int = 12) -> Task:
    """Return a random MDP and transitions of it, too few for all pairs."""
    mdp, rng = random_mdp(seed, *SIZE), np.random.default_rng(seed)
    environment = TabularEnvironment.from_mdp("toy", mdp, DISCOUNT, 50)
    drawn = random_dataset("discrete", num_transitions, seed, environment.spec)
    state, action = drawn.observation, drawn.action
    outcome = [rng.choice(3, p=mdp.probability[s, a]) for s, a in zip(state, action, strict=True)]
    at = state, action, outcome
    columns = {"reward": mdp.reward[at], "terminated": mdp.terminated[at]}
    columns["next_observation"] = mdp.next_state[at]
    storage = replace(drawn.storage, **columns)
    data = OfflineDataset.full(storage, environment.spec, {"seed": seed})
    assert 0 < (data_distribution(data) > 0).sum() < STATES * ACTIONS
    return Task(environment, data, environment.uniform, np.full(SIZE, 1 / STATES / ACTIONS))


def mdp_of(task: Task) -> exact.TabularMDP:
    assert task.environment.mdp is not None
    return task.environment.mdp


def slow_regret(task: Task, policy: np.ndarray) -> float:
    """Return the regret against the best of the actions that are optimal, by summing over time."""
    mdp, environment = mdp_of(task), task.environment
    best = exact.deterministic(environment.reference_action(np.arange(STATES)), ACTIONS)
    values = [slow_values(mdp, table, DISCOUNT) @ mdp.initial for table in (best, policy)]
    return float(values[0] - values[1])


def random_table(seed: int) -> np.ndarray:
    return np.random.default_rng([seed, 1]).normal(size=SIZE) * 3


def parts(split: dict) -> list[float]:
    assert list(split["terms"]) == list(TERMS)
    return [x for x in split["terms"].values() if x is not None]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("answers", [False, True])
def test_whatever_policy_and_critic_the_parts_add_up_to_the_regret(seed, answers):
    task, policy = task_of(seed), random_policy(seed, *SIZE)
    q, slope = random_table(seed), random_table(seed + 100)
    split = regret_split(
        task, task.data, policy, lambda asked: q + slope * asked if answers else q, tabular=True
    )
    assert sum(parts(split)) == pytest.approx(slow_regret(task, policy), abs=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_the_errors_are_sums_over_pairs_and_transitions(seed):
    task, policy, q = task_of(seed), random_policy(seed, *SIZE), random_table(seed)
    mdp, data, value = mdp_of(task), task.data, random_table(seed + 7)[:, 0]
    visits = slow_occupancy(mdp, policy, DISCOUNT) / (1 - DISCOUNT)
    uncertainty = bias = unseen = 0.0
    for s, a in np.ndindex(SIZE):
        action = np.eye(ACTIONS)[np.full(STATES, a)]
        transition, reward = slow_chain(mdp, action)
        true = reward[s] + DISCOUNT * transition[s] @ value - q[s, a]
        here = [
            data.reward[i] + DISCOUNT * (not data.terminated[i]) * value[data.next_observation[i]]
            for i in range(len(data))
            if (data.observation[i], data.action[i]) == (s, a)
        ]
        if here:
            uncertainty += visits[s, a] * (true - (np.mean(here) - q[s, a]))
            bias += visits[s, a] * (np.mean(here) - q[s, a])
        else:
            unseen += visits[s, a] * true
    found = errors(task, data, exact.visits(mdp, policy, DISCOUNT), q, value)
    np.testing.assert_allclose(found, (uncertainty, bias, unseen), atol=1e-12)


def test_of_the_optimum_and_its_values_no_part_is_left():
    task = task_of(3)
    best = exact.deterministic(task.environment.reference_action(np.arange(STATES)), ACTIONS)
    q = exact.optimal_values(mdp_of(task), DISCOUNT)
    split = regret_split(task, task.data, best, lambda _: q, tabular=True)
    np.testing.assert_allclose(parts(split), 0, atol=1e-12)
    for name in ("comparator", "learned"):
        assert split["by_policy"][name]["estimate"] == pytest.approx(task.environment.optimum)


def test_with_the_true_values_of_the_policy_all_of_its_regret_is_optimization():
    """The performance difference lemma (Kakade and Langford 2002): no error is the critic's."""
    task, policy = task_of(5), random_policy(5, *SIZE)
    mdp = mdp_of(task)
    q = exact.backup(mdp, slow_values(mdp, policy, DISCOUNT), DISCOUNT)
    split = regret_split(task, task.data, policy, lambda _: q, tabular=True)
    terms = split["terms"]
    assert terms["optimization"] == pytest.approx(slow_regret(task, policy), abs=1e-10)
    assert terms["off_support_error"] == pytest.approx(0, abs=1e-12)
    # What data says and what is true differ, by as much and the other way round.
    both = terms["on_support_uncertainty"] + terms["on_support_bias"]
    assert both == pytest.approx(0, abs=1e-12)
    assert abs(terms["on_support_bias"]) > 1e-3


def test_values_that_solve_the_datas_own_mdp_are_without_bias():
    task = task_of(2)
    cohort = train(make_cohort([build_algorithm("fqi_exact", discount=DISCOUNT)], [task.data]), 300)
    policy = evaluate(cohort, [task.environment], [0], 2)[0].probabilities
    split = regret_split(task, task.data, policy, lambda p: cohort.critic_values(0, p), True)
    terms = split["terms"]
    assert terms["on_support_bias"] == pytest.approx(0, abs=1e-5)
    # Greedy in its own values, to which no other action is better.
    assert terms["optimization"] <= 1e-6
    assert abs(terms["off_support_error"]) > 1e-2


@pytest.mark.parametrize("name", ON_TABLES)
def test_every_learners_regret_is_split(name):
    tasks = [task_of(seed, 20) for seed in (1, 4)]
    settings = {"hidden_sizes": [], "discount": DISCOUNT, "warm_updates": 2, "follower": "table"}
    algorithm = build_algorithm(name, "discrete", **settings)
    cohort = train(make_cohort([algorithm] * 2, [t.data for t in tasks]), 12)
    found = evaluate(cohort, [t.environment for t in tasks], [0, 1], 2)
    for run, (task, one) in enumerate(zip(tasks, found, strict=True)):
        policy, critic = one.probabilities, lambda p, run=run: cohort.critic_values(run, p)
        split = regret_split(task, task.data, policy, critic, cohort.algorithm.tabular_critic)
        if type(algorithm).critic_values is build_algorithm("bc").critic_values.__func__:
            assert split == {"terms": None, "reasons": {"terms": NO_CRITIC}}
            continue
        assert split["terms"]["misspecification"] == 0
        regret = task.environment.optimum - one.exact_value
        assert sum(parts(split)) == pytest.approx(regret, abs=1e-10)
        assert regret == pytest.approx(slow_regret(task, policy), abs=1e-10)


def test_a_critic_with_hidden_layers_is_split_too_but_for_what_it_cannot_represent():
    task = task_of(6)
    cohort = train(make_cohort([build_algorithm("cql", hidden_sizes=[8])], [task.data]), 5)
    assert not cohort.algorithm.tabular_critic
    policy = random_policy(0, *SIZE)
    split = regret_split(task, task.data, policy, lambda p: cohort.critic_values(0, p), False)
    assert split["terms"]["misspecification"] is None
    assert "hidden layers" in split["reasons"]["misspecification"]
    assert sum(parts(split)) == pytest.approx(slow_regret(task, policy), abs=1e-10)


@pytest.mark.parametrize("follower", ["linear", "neural"])
def test_a_follower_that_is_no_table_says_nothing(follower):
    task = task_of(6)
    settings = {"ridge": 0.1, "kernel_loss": "u" if follower == "neural" else "v"}
    algorithm = build_algorithm("stackelberg", follower=follower, **settings)
    cohort = make_cohort([algorithm], [task.data])
    assert cohort.critic_values(0, random_policy(0, *SIZE)) is None


def test_values_that_are_no_numbers_are_not_split():
    task, q = task_of(6), random_table(0)
    q[0, 0] = np.inf
    split = regret_split(task, task.data, random_policy(0, *SIZE), lambda _: q, tabular=True)
    assert split == {"terms": None, "reasons": {"terms": NOT_FINITE}}


def test_values_are_asked_for_in_the_learners_unit_of_reward():
    task, policy, q = task_of(8), random_policy(8, *SIZE), random_table(8)
    mdp = mdp_of(task)
    large = TabularEnvironment.from_mdp("toy", replace(mdp, reward=4096 * mdp.reward), DISCOUNT, 50)
    unit = reward_unit(large.spec)
    assert unit > 1
    data = OfflineDataset.full(
        replace(task.data.storage, reward=4096 * task.data.reward), large.spec, {"seed": 8}
    )
    scaled = Task(large, data, large.uniform, task.behavior_occupancy)
    one = regret_split(task, task.data, policy, lambda _: q, tabular=True)["terms"]
    other = regret_split(scaled, data, policy, lambda _: 4096 * q / unit, tabular=True)["terms"]
    assert other == pytest.approx({name: 4096 * value for name, value in one.items()})


def test_pspi_and_a_stackelberg_follower_of_its_game_answer_alike():
    task, policy = task_of(9), random_policy(9, *SIZE)
    game = {"objective": "initial", "pessimism": "absolute", "kernel": "normalized_delta"}
    game |= {"follower": "table", "kernel_loss": "v", "form": "penalty", "conservatism": 0.7}
    pair = [build_algorithm("pspi", conservatism=0.7), build_algorithm("stackelberg", **game)]
    cohorts = [make_cohort([algorithm], [task.data]) for algorithm in pair]
    answers = [cohort.critic_values(0, policy) for cohort in cohorts]
    np.testing.assert_allclose(*answers, rtol=1e-6)
    # And the answer is what the policy moves along.
    before = of_run(cohorts[0].state, 0).logits.softmax(-1).numpy()
    q = cohorts[0].critic_values(0, before)
    after = of_run(train(cohorts[0], 1).state, 0)
    step = after.logits - after.logits.mean(-1, keepdim=True)
    moved = torch.as_tensor(q - q.mean(-1, keepdims=True)) / after.units.width
    torch.testing.assert_close(step, moved, rtol=1e-6, atol=1e-9)


def test_a_critic_of_another_shape_is_refused():
    class Odd(type(build_algorithm("bc"))):
        def critic_values(self, state, summary, policy):
            return policy[0]

    bc = build_algorithm("bc")
    cohort = make_cohort([Odd(**vars(bc))], [random_dataset("discrete", 30, 0, make_spec())])
    with pytest.raises(ValueError, match=r"Odd.critic_values .* \(4, 3\), and not \(3,\)"):
        cohort.critic_values(0, random_policy(0, *SIZE))
