"""Conservative Q-learning: loss, gradient and updates against loops over single transitions."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from algorithms.cql import State
from algorithms.optimizers import adam_init
from tests.support.builders import (
    as_module,
    build_algorithm,
    flat_gradient,
    make_cohort,
    make_dataset,
    make_spec,
    random_batch,
    random_dataset,
    random_network,
    same_weights,
    train,
)

SPEC = make_spec("vector", size=4, num_actions=3)
DISCOUNT = 0.9


def loss_by_loops(critic, target_critic, batch, conservatism):
    """Return the loss of equation 4 (H) with a double DQN target, one transition at a time."""
    total, weights = 0.0, 0.0
    for i in range(len(batch.action)):
        following = batch.next_observation[i]
        online = critic(following).tolist()
        chosen = online.index(max(online))
        target = batch.reward[i].item()
        if not batch.terminated[i]:
            target += DISCOUNT * target_critic(following)[chosen].item()
        values = critic(batch.observation[i])
        value = values[batch.action[i]]
        size = abs(target - value)
        bellman = size**2 / 2 if size < 1 else size - 0.5
        penalty = torch.log(sum(torch.exp(v) for v in values)) - value
        total = total + batch.weight[i] * (bellman + conservatism * penalty)
        weights += batch.weight[i]
    return total / weights


def follow(slow, fast, polyak):
    """Move a module's parameters towards another's."""
    with torch.no_grad():
        for old, new in zip(slow.parameters(), fast.parameters(), strict=True):
            old.copy_((1 - polyak) * old + polyak * new)


def two_networks():
    return random_network((4, 8, 3), seed=1), random_network((4, 8, 3), seed=2)


def new_state(critic, target_critic):
    return State(critic, target_critic, adam_init(critic))


def loss_of(algorithm, critic, target_critic, batch):
    return algorithm.loss(critic, algorithm.target(critic, target_critic, batch), batch)[0]


@pytest.mark.parametrize("conservatism", [0.0, 0.5, 4.0])
def test_the_loss_is_that_of_a_loop_over_transitions(conservatism):
    algorithm = build_algorithm("cql", conservatism=conservatism)
    (critic, target), batch = two_networks(), random_batch(SPEC, 20)
    expected = loss_by_loops(as_module(critic), as_module(target), batch, conservatism)
    torch.testing.assert_close(loss_of(algorithm, critic, target, batch), expected.detach())


@pytest.mark.parametrize("conservatism", [0.0, 0.5, 4.0])
def test_the_gradient_is_that_of_a_loop_over_transitions(conservatism):
    algorithm = build_algorithm("cql", conservatism=conservatism)
    (critic, target), batch = two_networks(), random_batch(SPEC, 20)
    state, _ = algorithm.update(new_state(critic, target), None, batch, {}, 0)
    module = as_module(critic)
    loss_by_loops(module, as_module(target), batch, conservatism).backward()
    # The first moment after one update is a tenth of the gradient.
    torch.testing.assert_close(state.optimizer.first, 0.1 * flat_gradient(module))


def test_twenty_updates_are_those_of_torch():
    algorithm = build_algorithm("cql", learning_rate=0.01, polyak=0.1, conservatism=0.5)
    critic, target = two_networks()
    module, slow = as_module(critic), as_module(target)
    reference = torch.optim.Adam(module.parameters(), lr=0.01)
    state = new_state(critic, target)
    for seed in range(20):
        batch = random_batch(SPEC, 12, seed)
        state, _ = algorithm.update(state, None, batch, {}, 0)
        reference.zero_grad()
        loss_by_loops(module, slow, batch, 0.5).backward()
        reference.step()
        follow(slow, module, 0.1)
    same_weights(state.critic, module, rtol=1e-5, atol=1e-6)
    same_weights(state.target_critic, slow, rtol=1e-5, atol=1e-6)


def test_without_conservatism_it_is_double_dqn():
    algorithm = build_algorithm("cql", learning_rate=0.01, polyak=0.1, conservatism=0.0)
    critic, target = two_networks()
    module, slow = as_module(critic), as_module(target)
    reference = torch.optim.Adam(module.parameters(), lr=0.01)
    state = new_state(critic, target)
    for seed in range(20):
        batch = random_batch(SPEC, 12, seed)._replace(weight=torch.ones(12).double())
        state, _ = algorithm.update(state, None, batch, {}, 0)
        with torch.no_grad():
            chosen = module(batch.next_observation).argmax(1, keepdim=True)
            bootstrap = slow(batch.next_observation).gather(1, chosen).squeeze(1)
            goal = batch.reward + DISCOUNT * (1 - batch.terminated) * bootstrap
        value = module(batch.observation).gather(1, batch.action[:, None]).squeeze(1)
        reference.zero_grad()
        functional.huber_loss(value, goal).backward()
        reference.step()
        follow(slow, module, 0.1)
    same_weights(state.critic, module, rtol=1e-5, atol=1e-6)


def table_and_batch():
    """Return a table of two states and a batch of one transition from state 0 to state 1."""
    table = ({"weight": torch.tensor([[1.0, 2.0, 4.0], [3.0, 9.0, 5.0]]).double()},)
    batch = random_batch(make_spec(size=2), 1)._replace(
        observation=torch.tensor([0]),
        next_observation=torch.tensor([1]),
        action=torch.tensor([1]),
        reward=torch.tensor([0.5]).double(),
        terminated=torch.zeros(1).double(),
        weight=torch.ones(1).double(),
    )
    return table, batch


def penalty_of(table, batch):
    algorithm = build_algorithm("cql", hidden_sizes=[])
    target = algorithm.target(table, table, batch)
    return algorithm.loss(table, target, batch)[1]["conservative_penalty"].item()


def test_the_penalty_sums_over_all_actions():
    table, batch = table_and_batch()
    expected = math.log(math.exp(1) + math.exp(2) + math.exp(4)) - 2
    assert penalty_of(table, batch) == pytest.approx(expected)


def test_the_penalty_is_taken_at_the_state_and_not_at_its_successor():
    table, batch = table_and_batch()
    before = penalty_of(table, batch)
    table[0]["weight"][1] = torch.tensor([50.0, -50.0, 0.0])
    assert penalty_of(table, batch) == before


def test_the_gradient_flows_into_actions_outside_the_data():
    table, batch = table_and_batch()
    algorithm = build_algorithm("cql", hidden_sizes=[], conservatism=0.7)
    target = algorithm.target(table, table, batch)
    gradient = torch.func.grad(lambda t: algorithm.loss(t, target, batch)[0])(table)[0]["weight"]
    softmax = np.exp([1.0, 2.0, 4.0]) / np.exp([1.0, 2.0, 4.0]).sum()
    # The Bellman error is far beyond 1 and pulls the data's action up with a force of 1.
    assert target.item() == pytest.approx(0.5 + DISCOUNT * 9)
    expected = 0.7 * (softmax - np.array([0, 1, 0])) - np.array([0, 1, 0])
    np.testing.assert_allclose(gradient[0], expected)
    assert (gradient[1] == 0).all()


def test_the_online_critic_chooses_and_the_target_critic_values():
    table, batch = table_and_batch()
    target_table = ({"weight": torch.tensor([[0.0, 0.0, 0.0], [100.0, -1.0, 50.0]]).double()},)
    target = build_algorithm("cql", hidden_sizes=[]).target(table, target_table, batch)
    assert target.item() == pytest.approx(0.5 + DISCOUNT * -1.0)


def test_the_target_critic_follows_the_new_critic():
    critic, target = two_networks()
    algorithm = build_algorithm("cql", polyak=0.2, learning_rate=0.1)
    state, _ = algorithm.update(new_state(critic, target), None, random_batch(SPEC, 9), {}, 0)
    for moved, old, goal in zip(state.target_critic, target, state.critic, strict=True):
        expected = 0.8 * old["weight"] + 0.2 * goal["weight"]
        torch.testing.assert_close(moved["weight"], expected)


def covering_rows():
    """Return two states that are each worth going on from by action 2, every pair once."""
    rewards = [[0.0, 0.2, 0.5], [0.1, 0.4, 1.0]]
    return [(s, a, rewards[s][a], 1, s == 1) for s in (0, 1) for a in range(3)]


def trained_table(conservatism, rows, num_updates=300):
    spec = make_spec(size=2)
    algorithm = build_algorithm(
        "cql", hidden_sizes=[], conservatism=conservatism, learning_rate=0.02, polyak=0.05
    )
    cohort = make_cohort([algorithm], [make_dataset(spec, rows)], batch_size="full", mode="traced")
    return train(cohort, num_updates).policy(np.arange(2)[None]).scores[0].numpy()


@pytest.mark.parametrize("conservatism", [0.0, 0.1, 5.0])
def test_the_pull_on_an_unseen_action_is_proportional_to_conservatism(conservatism):
    table, batch = table_and_batch()
    algorithm = build_algorithm("cql", hidden_sizes=[], conservatism=conservatism)
    target = algorithm.target(table, table, batch)
    gradient = torch.func.grad(lambda t: algorithm.loss(t, target, batch)[0])(table)[0]["weight"]
    softmax = np.exp(1.0) / np.exp([1.0, 2.0, 4.0]).sum()
    assert gradient[0, 0].item() == pytest.approx(conservatism * softmax)


def test_without_conservatism_an_unseen_action_keeps_its_value():
    rows = [row for row in covering_rows() if row[1] != 0]
    assert (trained_table(0.0, rows)[:, 0] == 0.0).all()


def test_larger_conservatism_lowers_unseen_actions_below_those_of_the_data():
    full = random_dataset("vector", 200, 0, spec=SPEC)
    dataset = full.keep(full.action != 0, "no action 0")
    algorithms = [
        build_algorithm("cql", hidden_sizes=[32], learning_rate=0.003, conservatism=c)
        for c in (0.0, 0.1, 1.0, 10.0)
    ]
    cohort = train(make_cohort(algorithms, [dataset] * 4, seeds=[0] * 4, batch_size=32), 100)
    values = cohort.policy(np.stack([dataset.observation] * 4)).scores
    seen = values[:, np.arange(len(dataset)), dataset.action].mean(1)
    gap = values[:, :, 0].mean(1) - seen
    assert (gap.diff() < -0.2).all()


def test_without_conservatism_a_covered_table_converges_to_the_optimal_values():
    expected = [[0.9, 1.1, 1.4], [0.1, 0.4, 1.0]]
    np.testing.assert_allclose(trained_table(0.0, covering_rows(), 500), expected, atol=0.02)


def test_a_little_conservatism_still_finds_the_best_action_of_uniform_data():
    assert trained_table(0.1, covering_rows()).argmax(1).tolist() == [2, 2]


def test_it_acts_greedily_in_the_critic():
    critic, target = two_networks()
    x = random_batch(SPEC, 20).observation
    mode = build_algorithm("cql").policy(new_state(critic, target), x).mode()
    assert torch.equal(mode, as_module(critic)(x).argmax(-1))
    assert not torch.equal(mode, as_module(target)(x).argmax(-1))


def test_the_metrics_are_the_parts_of_the_loss():
    algorithm = build_algorithm("cql", conservatism=0.3)
    (critic, target), batch = two_networks(), random_batch(SPEC, 20)
    goal = algorithm.target(critic, target, batch)
    loss, metrics = algorithm.loss(critic, goal, batch)
    parts = metrics["bellman_loss"] + 0.3 * metrics["conservative_penalty"]
    torch.testing.assert_close(loss, parts)
    values = as_module(critic)(batch.observation)[torch.arange(20), batch.action].detach()
    assert metrics["value"].item() == pytest.approx(np.average(values, weights=batch.weight))
