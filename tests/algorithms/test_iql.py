"""IQL of numbered actions: losses by loops over transitions, and its fixed point on a table."""

import numpy as np
import torch

from algorithms.iql import State
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

SPEC = make_spec("vector", size=4, num_actions=3)
DISCOUNT, RATE, POLYAK, EXPECTILE, INVERSE = 0.9, 0.01, 0.1, 0.8, 2.0


def learner(**settings):
    given = {"learning_rate": RATE, "polyak": POLYAK, "expectile": EXPECTILE}
    return build_algorithm("iql", **given | {"inverse_temperature": INVERSE} | settings)


def pair(seed):
    networks = [random_network((4, 8, 3), seed=10 * seed + twin) for twin in range(2)]
    stacked = tuple(
        {part: torch.stack([layer[part] for layer in both]) for part in both[0]}
        for both in zip(*networks, strict=True)
    )
    return networks, stacked


def stepped(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_ten_updates_are_those_of_loops_in_torch():
    actor, value = random_network((4, 8, 3), seed=1), random_network((4, 8, 1), seed=2)
    (critics, critic_stack), (targets, target_stack) = pair(3), pair(4)
    optimizers = adam_init(actor), adam_init(value), adam_init(critic_stack)
    state = State(actor, value, critic_stack, target_stack, *optimizers)
    policy, worth = as_module(actor), as_module(value)
    fast, slow = ([as_module(network) for network in both] for both in (critics, targets))
    adams = [
        torch.optim.Adam([p for module in modules for p in module.parameters()], lr=RATE)
        for modules in ((policy,), (worth,), fast)
    ]
    algorithm = learner()
    for index in range(10):
        batch = random_batch(SPEC, 12, index)
        state, _ = algorithm.update(state, None, batch, {}, 0)
        rows = [row for row in range(12) if batch.weight[row] > 0]
        total = batch.weight.sum()

        def mean(of, batch=batch, rows=rows, total=total):
            return sum(batch.weight[row] * of(row) for row in rows) / total

        def known(row, batch=batch):
            with torch.no_grad():
                return min(c(batch.observation[row])[batch.action[row]] for c in slow)

        def value_loss(row, batch=batch):
            u = known(row) - worth(batch.observation[row])[0]
            return (EXPECTILE if u > 0 else 1 - EXPECTILE) * u**2

        def actor_loss(row, batch=batch):
            with torch.no_grad():
                u = known(row) - worth(batch.observation[row])[0]
                weight = min((INVERSE * u).exp(), torch.tensor(100.0).double())
            return -weight * policy(batch.observation[row]).log_softmax(-1)[batch.action[row]]

        def critic_loss(row, batch=batch):
            with torch.no_grad():
                after = worth(batch.next_observation[row])[0]
                target = batch.reward[row] + DISCOUNT * (1 - batch.terminated[row]) * after
            return sum((c(batch.observation[row])[batch.action[row]] - target) ** 2 for c in fast)

        stepped(adams[1], mean(value_loss))
        stepped(adams[0], mean(actor_loss))
        stepped(adams[2], mean(critic_loss))
        with torch.no_grad():
            for left, right in zip(slow, fast, strict=True):
                for old, new in zip(left.parameters(), right.parameters(), strict=True):
                    old.copy_((1 - POLYAK) * old + POLYAK * new)
    same_weights(state.actor, policy, rtol=1e-5, atol=1e-6)
    same_weights(state.value, worth, rtol=1e-5, atol=1e-6)
    for twin in range(2):
        for stack, modules in ((state.critics, fast), (state.target_critics, slow)):
            alone = tuple({k: x[twin] for k, x in layer.items()} for layer in stack)
            same_weights(alone, modules[twin], rtol=1e-5, atol=1e-6)


def expectiles(values, weights, share):
    """Return of each row what minimises its weighted expectile loss, by bisection."""
    low, high = values.min(1), values.max(1)
    for _ in range(60):  # to 1e-18 of where it began
        middle = (low + high) / 2
        apart = values - middle[:, None]
        rises = (weights * np.where(apart > 0, share, 1 - share) * apart).sum(1) > 0
        low, high = np.where(rises, middle, low), np.where(rises, high, middle)
    return (low + high) / 2


def test_on_a_table_it_comes_to_the_fixed_point_of_expectiles():
    # Two states of three actions, tried this often; from the second an action may end it.
    rng = np.random.default_rng(0)
    counts = np.array([[5, 2, 1], [1, 4, 3]])
    reward, following = rng.normal(size=(2, 3)), np.array([[0, 1, 1], [0, 1, 0]])
    ends = np.array([[False] * 3, [False, False, True]])
    rows = [
        (s, a, reward[s, a], following[s, a], ends[s, a])
        for s, a in np.ndindex(2, 3)
        for _ in range(counts[s, a])
    ]
    shares = (0.5, 0.9)
    dataset = make_dataset(make_spec("discrete", size=2, num_actions=3), rows)
    algorithms = [learner(hidden_sizes=[], expectile=share, polyak=0.2) for share in shares]
    cohort = make_cohort(algorithms, [dataset] * 2, batch_size="full", mode="traced")
    state = train(cohort, 1500).state
    for run, share in enumerate(shares):
        values = np.zeros(2)
        for _ in range(300):
            q = reward + DISCOUNT * ~ends * values[following]
            values = expectiles(q, counts, share)
        np.testing.assert_allclose(state.value[0]["weight"][run, :, 0], values, atol=0.03)
        np.testing.assert_allclose(state.critics[0]["weight"][run, 0], q, atol=0.03)
        # The policy is the data's, weighted by exponentials of advantages.
        weight = counts * np.exp(INVERSE * (q - values[:, None]))
        found = state.actor[0]["weight"][run].softmax(-1)
        np.testing.assert_allclose(found, weight / weight.sum(1, keepdims=True), atol=0.02)
