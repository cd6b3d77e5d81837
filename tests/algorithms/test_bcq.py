"""Discrete batch-constrained Q-learning: mask, target, loss and updates against loops."""

import numpy as np
import pytest
import torch

from algorithms.bcq import Networks, State
from algorithms.optimizers import adam_init
from tests.support.builders import (
    as_module,
    build_algorithm,
    make_cohort,
    make_dataset,
    make_spec,
    random_batch,
    random_network,
    same_weights,
    train,
)

SPEC = make_spec("vector", size=4, num_actions=5)
DISCOUNT = 0.9


def table(*rows):
    return ({"weight": torch.tensor(rows, dtype=torch.float64)},)


def log_table(*rows):
    """Return the logits of a policy with the given probabilities."""
    return ({"weight": torch.tensor(rows, dtype=torch.float64).log()},)


def allowed_by_loops(logits, threshold):
    """Return the actions whose probability is above a share of the largest."""
    weights = [np.exp(logit) for logit in logits]
    likelihood = [w / sum(weights) for w in weights]
    return [
        b
        for b, p in enumerate(likelihood)
        if p / max(likelihood) > threshold or p == max(likelihood)
    ]


def loss_by_loops(critic, imitation, target_critic, batch, threshold, logit_penalty):
    """Return the loss, one transition at a time."""
    total, weights = 0.0, 0.0
    for i in range(len(batch.action)):
        following, action = batch.next_observation[i], batch.action[i]
        online = critic(following).tolist()
        allowed = allowed_by_loops(imitation(following).tolist(), threshold)
        chosen = max(allowed, key=lambda b: online[b])
        target = batch.reward[i].item()
        if not batch.terminated[i]:
            target += DISCOUNT * target_critic(following)[chosen].item()
        size = abs(target - critic(batch.observation[i])[action])
        bellman = size**2 / 2 if size < 1 else size - 0.5
        logits = imitation(batch.observation[i])
        cloning = torch.log(sum(torch.exp(logit) for logit in logits)) - logits[action]
        squares = sum(logit**2 for logit in logits) / len(logits)
        total = total + batch.weight[i] * (bellman + cloning + logit_penalty * squares)
        weights += batch.weight[i]
    return total / weights


def three_networks():
    return [random_network((4, 8, 5), seed=seed, scale=0.7) for seed in (1, 2, 3)]


def new_state(critic, imitation, target_critic):
    online = Networks(critic, imitation)
    return State(online, target_critic, adam_init(online))


def allowed_by(algorithm, logits):
    """Return which actions the algorithm allows at rows of logits; every critic value is 0."""
    rows = torch.tensor(logits, dtype=torch.float64)
    online = Networks(({"weight": torch.zeros_like(rows)},), ({"weight": rows},))
    values = algorithm.allowed_values(online, torch.arange(len(rows)))
    return [np.flatnonzero(row.isfinite()).tolist() for row in values]


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
def test_the_mask_is_that_of_a_loop_over_actions(threshold):
    logits = np.random.default_rng(0).normal(scale=2, size=(40, 5))
    algorithm = build_algorithm("bcq", threshold=threshold)
    expected = [allowed_by_loops(row, threshold) for row in logits]
    assert allowed_by(algorithm, logits) == expected
    if 0 < threshold < 1:
        assert len({len(actions) for actions in expected}) > 1


def test_threshold_zero_allows_even_the_most_unlikely():
    assert allowed_by(build_algorithm("bcq", threshold=0.0), [[0.0, -1e4, 3.0]]) == [[0, 1, 2]]


def test_threshold_one_allows_only_the_likeliest():
    logits = [[0.0, 1.0, 0.999], [5.0, -2.0, 4.999]]
    assert allowed_by(build_algorithm("bcq", threshold=1.0), logits) == [[1], [0]]


def test_an_action_is_weighed_against_the_likeliest_and_not_against_all():
    # 0.2 is more than 0.3 of 0.6, 0.1 is less; every one is less than 0.3 of the whole.
    logits = np.log([[0.6, 0.1, 0.2, 0.1]])
    assert allowed_by(build_algorithm("bcq", threshold=0.3), logits) == [[0, 2]]


def test_allowed_values_are_those_of_the_critic():
    critic, imitation, _ = three_networks()
    algorithm, x = build_algorithm("bcq", threshold=0.3), random_batch(SPEC, 20).observation
    values = algorithm.allowed_values(Networks(critic, imitation), x)
    expected = as_module(critic)(x).detach()
    assert 0 < values.isinf().sum() < values.numel()
    torch.testing.assert_close(values[values.isfinite()], expected[values.isfinite()])
    assert (values[values.isinf()] < 0).all()


def successor_batch():
    """Return a batch of one transition, from state 0 to state 1, that goes on."""
    return random_batch(make_spec(size=2), 1)._replace(
        observation=torch.tensor([0]),
        next_observation=torch.tensor([1]),
        action=torch.tensor([1]),
        reward=torch.tensor([0.5]).double(),
        terminated=torch.zeros(1).double(),
        weight=torch.ones(1).double(),
    )


def test_the_online_critic_chooses_among_the_allowed_and_the_target_critic_values():
    # At state 1 action 0 has the best value but is unlikely; of the others 2 is best.
    critic = table([0.0, 0.0, 0.0], [9.0, 1.0, 2.0])
    imitation = log_table([0.98, 0.01, 0.01], [0.02, 0.49, 0.49])
    target_critic = table([0.0, 0.0, 0.0], [70.0, 60.0, -3.0])
    algorithm = build_algorithm("bcq", threshold=0.3)
    target = algorithm.target(Networks(critic, imitation), target_critic, successor_batch())
    assert target.item() == pytest.approx(0.5 + DISCOUNT * -3.0)


def test_termination_stops_the_bootstrap():
    batch = successor_batch()._replace(terminated=torch.ones(1).double())
    networks = [random_network((2, 3), seed=seed) for seed in range(3)]
    target = build_algorithm("bcq").target(Networks(*networks[:2]), networks[2], batch)
    assert target.item() == 0.5


def test_it_acts_under_the_mask_of_the_target():
    critic = table([9.0, 1.0, 2.0], [9.0, 1.0, 2.0])
    imitation = log_table([0.02, 0.49, 0.49], [0.4, 0.3, 0.3])
    algorithm = build_algorithm("bcq", threshold=0.3)
    # What the target critic holds would be chosen nowhere.
    state = new_state(critic, imitation, table([9.0, 8.0, 2.0], [1.0, 9.0, 2.0]))
    policy = algorithm.policy(state, torch.arange(2))
    assert policy.mode().tolist() == [2, 0]
    assert policy.probabilities().tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_the_loss_is_that_of_a_loop_over_transitions(threshold):
    algorithm = build_algorithm("bcq", threshold=threshold, logit_penalty=0.2)
    critic, imitation, target_critic = three_networks()
    online, batch = Networks(critic, imitation), random_batch(SPEC, 20)
    loss, _ = algorithm.loss(online, algorithm.target(online, target_critic, batch), batch)
    modules = [as_module(network) for network in (critic, imitation, target_critic)]
    expected = loss_by_loops(*modules, batch, threshold, 0.2)
    torch.testing.assert_close(loss, expected.detach())


def test_twenty_updates_are_those_of_torch():
    algorithm = build_algorithm(
        "bcq", threshold=0.3, logit_penalty=0.2, learning_rate=0.01, polyak=0.1
    )
    start = three_networks()
    state = new_state(*start)
    critic, imitation, slow = (as_module(network) for network in start)
    reference = torch.optim.Adam([*critic.parameters(), *imitation.parameters()], lr=0.01)
    for seed in range(20):
        batch = random_batch(SPEC, 12, seed)
        state, _ = algorithm.update(state, None, batch, {}, 0)
        reference.zero_grad()
        loss_by_loops(critic, imitation, slow, batch, 0.3, 0.2).backward()
        reference.step()
        with torch.no_grad():
            for old, new in zip(slow.parameters(), critic.parameters(), strict=True):
                old.copy_(0.9 * old + 0.1 * new)
    same_weights(state.online.critic, critic, rtol=1e-5, atol=1e-6)
    same_weights(state.online.imitation, imitation, rtol=1e-5, atol=1e-6)
    same_weights(state.target_critic, slow, rtol=1e-5, atol=1e-6)


def trained(rows, num_updates=400, **settings):
    """Return the cohort of one table trained on all the rows at once."""
    algorithm = build_algorithm(
        "bcq", hidden_sizes=[], learning_rate=0.02, polyak=0.05, logit_penalty=0.0, **settings
    )
    dataset = make_dataset(make_spec(size=2, v_max=10.0), rows)
    cohort = make_cohort([algorithm], [dataset], batch_size="full", mode="traced")
    return train(cohort, num_updates)


def rows_without(action):
    """Return two states that are each worth going on from by action 2, every pair once."""
    rewards = [[0.0, 0.2, 0.5], [0.1, 0.4, 1.0]]
    pairs = [(s, a) for s in (0, 1) for a in range(3) if a != action]
    return [(s, a, rewards[s][a], 1, s == 1) for s, a in pairs]


def test_an_action_that_was_never_seen_is_never_chosen():
    cohort = trained(rows_without(2), initial_value="v_max")
    # The critic's value of the unseen action is still the highest there is.
    assert (of_critic(cohort)[:, 2] == 10.0).all()
    assert 2 not in cohort.policy(np.arange(2)[None]).mode()[0]


def test_the_values_do_not_hear_of_an_action_that_was_never_seen():
    values = of_critic(trained(rows_without(2), num_updates=1500, initial_value="v_max"))
    expected = torch.tensor([[DISCOUNT * 0.4, 0.2 + DISCOUNT * 0.4], [0.1, 0.4]])
    torch.testing.assert_close(values[:, :2], expected, rtol=0, atol=0.03)


def test_on_uniform_data_it_finds_the_best_actions():
    cohort = trained(rows_without(None))
    assert cohort.policy(np.arange(2)[None]).mode()[0].tolist() == [2, 2]
    expected = torch.tensor([[0.9, 1.1, 1.4], [0.1, 0.4, 1.0]])
    torch.testing.assert_close(of_critic(cohort), expected, rtol=0, atol=0.02)


def of_critic(cohort):
    return cohort.state.online.critic[0]["weight"][0]


def test_critic_and_imitation_start_from_their_own_values():
    cohort = trained(rows_without(None), num_updates=0, initial_value="v_max")
    assert (of_critic(cohort) == 10.0).all()
    assert (cohort.state.target_critic[0]["weight"] == 10.0).all()
    assert (cohort.state.online.imitation[0]["weight"] == 0.0).all()
