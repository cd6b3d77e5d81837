"""Behavior cloning: its loss, which episodes it clones, and what it learns."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from algorithms.bc import State
from algorithms.optimizers import adam_init
from tests.support.builders import (
    as_module,
    build_algorithm,
    from_columns,
    make_cohort,
    make_dataset,
    make_spec,
    of_run,
    random_batch,
    random_dataset,
    random_network,
    same_weights,
    train,
)

SPEC = make_spec("vector", size=4, num_actions=3)
STATES = make_spec("discrete", size=4, num_actions=3)


def episodes_with_returns(returns, length=3):
    """Return a dataset whose episodes have the given returns, unevenly spread over their steps."""
    rng = np.random.default_rng(0)
    n = len(returns) * length
    share = rng.dirichlet(np.ones(length), size=len(returns))
    observation = rng.normal(size=(n, SPEC.observation_size))
    return from_columns(
        SPEC,
        observation,
        rng.integers(SPEC.num_actions, size=n),
        (share * np.array(returns, dtype=float)[:, None]).ravel(),
        observation,
        np.zeros(n),
        np.repeat(np.arange(len(returns)), length),
        np.tile(np.arange(length), len(returns)),
    )


def cloned(dataset, top_fraction):
    """Return which transitions the loss looks at: alone in a batch, no other costs anything."""
    algorithm = build_algorithm("bc", top_fraction=top_fraction, hidden_sizes=[])
    cohort = make_cohort([algorithm], [dataset], batch_size="full")
    summary, batch = of_run(cohort.summary, 0), of_run(cohort.replay.batch(cohort.step), 0)
    sizes = (dataset.spec.observation_size, dataset.spec.num_actions)
    actor = random_network(sizes, dtype=torch.float32)
    alone = [batch._replace(weight=weight) for weight in torch.eye(len(dataset))]
    return np.array([algorithm.loss(actor, summary, one).item() for one in alone]) > 0


def episode(start, rewards):
    """Return an episode that walks from state to state and terminates."""
    last = len(rewards) - 1
    return [(start + t, 0, r, start + t + 1, t == last) for t, r in enumerate(rewards)]


def test_the_loss_is_the_cross_entropy_of_torch():
    algorithm = build_algorithm("bc", top_fraction=1.0)
    batch = random_batch(SPEC, 12)
    summary = of_run(make_cohort([algorithm], [episodes_with_returns([-100.0])]).summary, 0)
    actor = random_network((4, 8, 3))
    losses = functional.cross_entropy(
        as_module(actor)(batch.observation), batch.action, reduction="none"
    )
    expected = np.average(losses.detach(), weights=batch.weight)
    assert algorithm.loss(actor, summary, batch).item() == pytest.approx(expected)


def test_twenty_updates_are_those_of_torch():
    algorithm = build_algorithm("bc", top_fraction=1.0, learning_rate=0.01)
    summary = of_run(make_cohort([algorithm], [episodes_with_returns([-100.0])]).summary, 0)
    actor = random_network((4, 8, 3))
    module = as_module(actor)
    reference = torch.optim.Adam(module.parameters(), lr=0.01)
    state = State(actor, adam_init(actor))
    for seed in range(20):
        batch = random_batch(SPEC, 12, seed)._replace(weight=torch.ones(12).double())
        state, metrics = algorithm.update(state, summary, batch, {}, 0)
        reference.zero_grad()
        loss = functional.cross_entropy(module(batch.observation), batch.action)
        loss.backward()
        reference.step()
        torch.testing.assert_close(metrics["loss"], loss.detach(), rtol=1e-5, atol=1e-6)
    same_weights(state.actor, module, rtol=1e-5, atol=1e-6)


def best_by_sorting(dataset, top_fraction):
    """Return which transitions belong to the best ``ceil(fraction * n)`` of n episodes."""
    count = math.ceil(round(top_fraction * dataset.num_episodes, 9))
    return dataset.episode_return >= np.sort(dataset.episode_returns)[-count]


@pytest.mark.parametrize("top_fraction", [1.0, 0.9, 0.8, 0.71, 0.6, 0.5, 0.25, 0.1, 0.01])
@pytest.mark.parametrize("num_episodes", [1, 3, 10, 11, 101])
def test_it_clones_the_best_fraction_of_the_episodes(top_fraction, num_episodes):
    returns = np.random.default_rng(num_episodes).permutation(num_episodes) - 3.0
    dataset = episodes_with_returns(returns, length=2)
    expected = best_by_sorting(dataset, top_fraction)
    assert np.array_equal(cloned(dataset, top_fraction), expected)


@pytest.mark.parametrize("top_fraction", [0.159, 0.1549, 0.0051, 0.9999])
def test_it_never_clones_less_than_the_fraction(top_fraction):
    dataset = episodes_with_returns(np.random.default_rng(0).permutation(200), length=1)
    assert cloned(dataset, top_fraction).sum() >= top_fraction * 200


def test_episodes_of_equal_return_are_cloned_together():
    dataset = episodes_with_returns([1.0, 5.0, 5.0, 5.0, 0.0], length=1)
    dataset.storage.reward[1:4] = 5.0
    assert np.array_equal(cloned(dataset, 0.25), [False, True, True, True, False])


def test_what_counts_is_the_return_and_neither_reward_nor_length():
    # Three short episodes with high rewards, one that is longest, and two with the best return.
    short = [row for start in (0, 2, 4) for row in episode(start, [3.0, 3.0])]
    longest = episode(6, [0.1] * 6)
    best = [row for start in (12, 16) for row in episode(start, [1.75] * 4)]
    dataset = make_dataset(make_spec(size=21), short + longest + best)
    assert dataset.episode_returns == pytest.approx([6.0, 6.0, 6.0, 0.6, 7.0, 7.0])
    assert np.array_equal(cloned(dataset, 0.2), dataset.episode >= 4)


def test_an_episode_keeps_the_return_it_was_collected_with():
    dataset = episodes_with_returns([9.0, 5.0, 1.0, 2.0, 4.0], length=4)
    # Of the two best episodes only the first step is left.
    thinned = dataset.keep((dataset.episode > 1) | (dataset.step == 0), "cut")
    assert np.array_equal(cloned(thinned, 0.25), thinned.episode <= 1)


def test_the_fraction_may_differ_between_runs():
    dataset = episodes_with_returns(np.arange(21.0), length=1)
    fractions = [1.0, 0.5, 0.1]
    algorithms = [build_algorithm("bc", top_fraction=f, hidden_sizes=[8]) for f in fractions]
    together = train(make_cohort(algorithms, [dataset] * 3, seeds=[0] * 3), 3)
    for run, algorithm in enumerate(algorithms):
        alone = train(make_cohort([algorithm], [dataset], seeds=[0]), 3)
        torch.testing.assert_close(together.metrics["loss"][run], alone.metrics["loss"][0])
    assert len(set(together.metrics["loss"].tolist())) == 3


def test_it_learns_the_majority_action():
    majority, rng = np.array([2, 0, 1, 2]), np.random.default_rng(0)
    state = np.repeat(np.arange(4), 50)
    action = np.where(rng.random(200) < 0.6, majority[state], rng.integers(3, size=200))
    counts = np.zeros((4, 3))
    np.add.at(counts, (state, action), 1)
    assert np.array_equal(counts.argmax(1), majority)
    dataset = make_dataset(
        STATES, [(s, a, 0.0, s, False) for s, a in zip(state, action, strict=True)]
    )
    algorithm = build_algorithm("bc", hidden_sizes=[], learning_rate=0.02)
    policy = train(make_cohort([algorithm], [dataset], batch_size="full"), 300).policy(
        np.arange(4)[None]
    )
    assert np.array_equal(policy.mode()[0], majority)
    frequency = torch.tensor(counts / counts.sum(1, keepdims=True), dtype=torch.float32)
    torch.testing.assert_close(policy.probabilities()[0], frequency, rtol=0, atol=0.01)


def test_it_ignores_rewards():
    dataset = random_dataset("vector", 40, 0)
    other = random_dataset("vector", 40, 0)
    other.storage.reward[:] = np.random.default_rng(5).normal(size=40)
    algorithm = build_algorithm("bc", top_fraction=1.0, hidden_sizes=[8])
    left, right = (train(make_cohort([algorithm], [d]), 5) for d in (dataset, other))
    torch.testing.assert_close(left.metrics["loss"], right.metrics["loss"], rtol=0, atol=0)
