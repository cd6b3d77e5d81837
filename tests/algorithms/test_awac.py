"""AWAC of numbered actions: its updates against plain torch, its weights, its fixed point."""

import math

import numpy as np
import pytest
import torch

from algorithms.awac import State
from algorithms.objectives import advantage_weight
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
from tests.support.continuous import follow, mean_of, step

SPEC = make_spec("vector", size=4, num_actions=3)
DISCOUNT, RATE, POLYAK, INVERSE = 0.9, 0.01, 0.1, 2.0


def learner(**settings):
    given = {"learning_rate": RATE, "polyak": POLYAK, "inverse_temperature": INVERSE}
    return build_algorithm("awac", **given | settings)


def stacked(seed):
    pair = [random_network((4, 8, 3), seed=10 * seed + twin) for twin in range(2)]
    return tuple(
        {part: torch.stack([layer[part] for layer in both]) for part in both[0]}
        for both in zip(*pair, strict=True)
    )


def modules_of(stack):
    return [as_module(tuple({k: x[i] for k, x in layer.items()} for layer in stack))
            for i in range(2)]  # fmt: skip


@pytest.mark.parametrize("form", ["exp", "binary"])
def test_ten_updates_are_those_of_plain_torch(form):
    actor, critics, slow = random_network((4, 8, 3), seed=1), stacked(3), stacked(4)
    state = State(actor, critics, slow, adam_init(actor), adam_init(critics))
    policy, fast, targets = as_module(actor), modules_of(critics), modules_of(slow)
    actor_optimizer = torch.optim.Adam(policy.parameters(), lr=RATE)
    critic_optimizer = torch.optim.Adam([p for c in fast for p in c.parameters()], lr=RATE)
    algorithm = learner(form=form)
    for index in range(10):
        batch = random_batch(SPEC, 12, index)
        state, _ = algorithm.update(state, None, batch, {}, 0)
        at = torch.arange(12), batch.action
        with torch.no_grad():
            lowest = torch.min(*(c(batch.observation) for c in fast))
            advantage = lowest[at] - (policy(batch.observation).softmax(-1) * lowest).sum(-1)
            chances = policy(batch.next_observation).softmax(-1)
            values = torch.min(*(c(batch.next_observation) for c in targets))
            following = (chances * values).sum(-1)
            target = batch.reward + DISCOUNT * (1 - batch.terminated) * following
        weight = torch.tensor(
            [min(math.exp(INVERSE * a), 20) if form == "exp" else float(a > 0) for a in advantage]
        ).double()
        likelihood = policy(batch.observation).log_softmax(-1)[at]
        step(actor_optimizer, -mean_of(weight * likelihood, batch))
        errors = sum((c(batch.observation)[at] - target) ** 2 for c in fast)
        step(critic_optimizer, mean_of(errors, batch))
        for old, new in zip(targets, fast, strict=True):
            follow(old, new, POLYAK)
    same_weights(state.actor, policy, rtol=1e-6, atol=1e-8)
    for stack, modules in ((state.critics, fast), (state.target_critics, targets)):
        for twin, module in enumerate(modules):
            alone = tuple({k: x[twin] for k, x in layer.items()} for layer in stack)
            same_weights(alone, module, rtol=1e-6, atol=1e-8)


def test_weights_are_constants_and_never_above_twenty():
    advantage = torch.tensor([-3.0, 0.0, 0.5, 90.0], requires_grad=True)
    by_exp, binary = (advantage_weight(advantage, form, 2.0) for form in ("exp", "binary"))
    assert by_exp.tolist() == pytest.approx([math.exp(-6), 1.0, math.e, 20.0])
    # At zero an action is no better than the policy's own.
    assert binary.tolist() == [0, 0, 1, 1]
    assert not by_exp.requires_grad
    assert not binary.requires_grad


def test_on_a_table_it_evaluates_the_policy_that_cloning_alone_can_reach():
    """Binary weights end at the best of what data shows, its values those of that policy."""
    rows = [
        (0, 0, 0.0, 1, False), (1, 0, 0.2, 1, True),
        (0, 1, 0.0, 1, False), (1, 1, 1.0, 1, True),
        (0, 2, 0.5, 1, True),
    ]  # fmt: skip
    dataset = make_dataset(make_spec(size=2, num_actions=3, v_min=0.0, v_max=1.0), rows)
    algorithm = build_algorithm("awac", "discrete", discount=DISCOUNT, form="binary",
                                hidden_sizes=[], learning_rate=0.02, polyak=0.1)  # fmt: skip
    cohort = train(make_cohort([algorithm], [dataset], batch_size="full", mode="traced"), 1500)
    policy = cohort.policy(np.arange(2)[None]).probabilities()[0]
    assert policy[1, 1] > 0.95
    # 0 and 1 lead to the same; ending at .5 is worse than discount * 1.
    assert policy[0, 2] < 0.05
    (table,) = cohort.state.critics
    values = table["weight"][0].mean(0)
    assert values[1, :2].tolist() == pytest.approx([0.2, 1.0], abs=0.01)
    assert values[0, 1].item() == pytest.approx(DISCOUNT, abs=0.06)
