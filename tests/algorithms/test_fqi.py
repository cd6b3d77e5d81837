"""Fitted Q iteration: its loss, its frozen target, and the values it converges to."""

import numpy as np
import pytest
import torch

from algorithms.fqi import NEW_ITERATION, SAME_ITERATION, State
from algorithms.optimizers import adam_init
from tests.support.builders import (
    as_module,
    build_algorithm,
    flat_gradient,
    make_cohort,
    make_dataset,
    make_spec,
    random_batch,
    random_network,
    same,
    same_weights,
    train,
)

SPEC = make_spec("vector", size=4, num_actions=3)
DISCOUNT = 0.7


def loss_by_loops(critic, target_critic, batch):
    """Return the weighted mean squared Bellman error, one transition at a time."""
    total, weights = 0.0, 0.0
    for i in range(len(batch.action)):
        target = batch.reward[i].item()
        if not batch.terminated[i]:
            target += DISCOUNT * max(target_critic(batch.next_observation[i]).tolist())
        value = critic(batch.observation[i])[batch.action[i]]
        total = total + batch.weight[i] * (target - value) ** 2
        weights += batch.weight[i]
    return total / weights


def chain(length=4, num_actions=3):
    """Return an MDP as ``{(state, action): (reward, next_state, terminated)}``.

    Action 0 goes back, 1 stays for a small reward, 2 goes on; beyond the end waits a reward of 1.
    """
    outcomes = {}
    for state in range(length):
        outcomes[state, 0] = (0.0, max(state - 1, 0), False)
        outcomes[state, 1] = (0.02 * (length - state), state, False)
        last = state == length - 1
        outcomes[state, 2] = (1.0 if last else -0.1, state if last else state + 1, last)
    return outcomes


def optimal_values(outcomes, discount=DISCOUNT):
    """Return Q by value iteration over a deterministic MDP."""
    states, actions = (max(key[i] for key in outcomes) + 1 for i in (0, 1))
    q = np.zeros((states, actions))
    for _ in range(500):
        updated = np.zeros_like(q)
        for (state, action), (reward, following, terminated) in outcomes.items():
            updated[state, action] = reward + (0 if terminated else discount * q[following].max())
        q = updated
    return q


def as_rows(outcomes):
    return [(s, a, r, following, end) for (s, a), (r, following, end) in outcomes.items()]


def new_state(critic, target_critic=None):
    return State(critic, critic if target_critic is None else target_critic, adam_init(critic))


def test_the_loss_is_that_of_a_loop_over_transitions():
    algorithm, batch = build_algorithm("fqi", discount=DISCOUNT), random_batch(SPEC, 12)
    critic, target = random_network((4, 8, 3), seed=1), random_network((4, 8, 3), seed=2)
    loss, _ = algorithm.loss(critic, target, batch)
    expected = loss_by_loops(as_module(critic), as_module(target), batch)
    torch.testing.assert_close(loss, expected.detach())


def test_twenty_updates_are_those_of_torch():
    algorithm = build_algorithm("fqi", learning_rate=0.01, target_interval=6, discount=DISCOUNT)
    critic = random_network((4, 8, 3))
    module, frozen = as_module(critic), as_module(critic)
    reference = torch.optim.Adam(module.parameters(), lr=0.01)
    state = new_state(critic)
    for step in range(20):
        batch = random_batch(SPEC, 12, seed=step)
        if step in (0, 6, 12, 18):
            frozen.load_state_dict(module.state_dict())
        state, metrics = algorithm.update(state, None, batch, {}, algorithm.phase(step))
        reference.zero_grad()
        loss = loss_by_loops(module, frozen, batch)
        loss.backward()
        reference.step()
        torch.testing.assert_close(metrics["loss"], loss.detach(), rtol=1e-5, atol=1e-6)
    same_weights(state.critic, module, rtol=1e-5, atol=1e-6)


def test_a_new_iteration_begins_every_interval():
    algorithm = build_algorithm("fqi", target_interval=3)
    new, old = NEW_ITERATION, SAME_ITERATION
    assert [algorithm.phase(step) for step in range(7)] == [new, old, old, new, old, old, new]


def test_with_interval_one_every_update_is_a_new_iteration():
    algorithm = build_algorithm("fqi", target_interval=1)
    assert {algorithm.phase(step) for step in range(5)} == {NEW_ITERATION}


def test_the_target_is_frozen_for_exactly_the_interval_and_then_copied():
    algorithm = build_algorithm("fqi", target_interval=4)
    state = new_state(random_network((4, 8, 3), seed=1), random_network((4, 8, 3), seed=2))
    for step in range(12):
        before = state
        batch = random_batch(SPEC, 12, seed=step)
        state, _ = algorithm.update(state, None, batch, {}, algorithm.phase(step))
        expected = before.critic if step % 4 == 0 else before.target_critic
        assert same(state.target_critic, expected)
        assert not same(state.critic, state.target_critic)


def test_a_cohort_freezes_the_target_for_exactly_the_interval():
    dataset = make_dataset(make_spec(), as_rows(chain()))
    algorithm = build_algorithm("fqi", hidden_sizes=[], target_interval=4)
    cohort = make_cohort([algorithm], [dataset], batch_size="full")
    for step in range(12):
        before = cohort.state
        train(cohort, 1)
        expected = before.critic if step % 4 == 0 else before.target_critic
        assert same(cohort.state.target_critic, expected)


@pytest.mark.parametrize("phase", [NEW_ITERATION, SAME_ITERATION])
def test_no_gradient_flows_into_the_target(phase):
    algorithm = build_algorithm("fqi", discount=DISCOUNT)
    batch = random_batch(SPEC, 12)
    critic = random_network((4, 8, 3))
    # Critic and target are the same here, so a gradient through the target would add to it.
    state, _ = algorithm.update(new_state(critic), None, batch, {}, phase)
    module = as_module(critic)
    loss_by_loops(module, as_module(critic), batch).backward()
    # The first moment after one update is a tenth of the gradient.
    torch.testing.assert_close(state.optimizer.first, 0.1 * flat_gradient(module))


@pytest.mark.parametrize("initial_value", ["zero", "v_min", "v_max"])
def test_a_table_converges_to_the_optimal_values_where_everything_is_covered(initial_value):
    spec = make_spec(v_min=-1.0, v_max=2.0)
    algorithm = build_algorithm(
        "fqi",
        hidden_sizes=[],
        learning_rate=0.02,
        target_interval=25,
        initial_value=initial_value,
        discount=DISCOUNT,
    )
    dataset = make_dataset(spec, as_rows(chain()))
    cohort = make_cohort([algorithm], [dataset], batch_size="full", mode="traced")
    table = train(cohort, 800).policy(np.arange(4)[None]).scores[0]
    expected = torch.tensor(optimal_values(chain()), dtype=torch.float32)
    torch.testing.assert_close(table, expected, rtol=0, atol=0.02)


def test_a_pair_without_data_keeps_its_initial_value_in_a_table():
    rows = [row for row in as_rows(chain()) if row[:2] != (1, 2)]
    algorithm = build_algorithm("fqi", hidden_sizes=[], initial_value="v_max")
    cohort = make_cohort([algorithm], [make_dataset(make_spec(v_max=7.0), rows)], batch_size="full")
    table = train(cohort, 50).policy(np.arange(4)[None]).scores[0]
    unseen = torch.zeros(4, 3, dtype=torch.bool)
    unseen[1, 2] = True
    assert (table[unseen] == 7.0).all()
    assert (table[~unseen] != 7.0).all()


def test_a_time_limit_does_not_end_the_world():
    # The same step over and over, cut after every one: worth 1 / (1 - discount). If it
    # terminated instead, it would be worth 1.
    spec = make_spec(size=2, num_actions=1)
    rows = [(0, 0, 1.0, 0, False), (1, 0, 1.0, 1, True)]
    algorithm = build_algorithm(
        "fqi", hidden_sizes=[], learning_rate=0.1, target_interval=10, discount=0.5
    )
    cohort = train(make_cohort([algorithm], [make_dataset(spec, rows)], batch_size="full"), 400)
    table = cohort.policy(np.arange(2)[None]).scores[0, :, 0]
    torch.testing.assert_close(table, torch.tensor([2.0, 1.0]), rtol=0, atol=0.01)


def test_it_acts_greedily_in_the_critic():
    algorithm = build_algorithm("fqi", discount=DISCOUNT)
    critic, target_critic = random_network((4, 8, 3), seed=1), random_network((4, 8, 3), seed=2)
    x = random_batch(SPEC, 20).observation
    mode = algorithm.policy(new_state(critic, target_critic), x).mode()
    assert mode.tolist() == [int(np.argmax(row)) for row in as_module(critic)(x).detach().numpy()]
