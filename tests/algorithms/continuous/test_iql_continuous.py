"""IQL: its updates against plain torch, after the authors' code, and its expectiles."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch.distributions import Independent, Normal

from algorithms.continuous.iql import LARGEST_WEIGHT, Actor, State
from algorithms.optimizers import adam_init
from tests.support import continuous
from tests.support.builders import as_module, random_batch, random_network, same, same_weights
from tests.support.continuous import (
    CLOSE,
    DISCOUNT,
    RATE,
    SPEC,
    Twins,
    mean_of,
    new_critics,
    step,
    value_of,
)


def learner(**settings):
    return continuous.learner("iql", **settings)


def new_state(scale=1.0):
    actor = Actor(random_network((4, 8, 2), seed=1), torch.tensor([-0.5, 0.2]).double())
    value = random_network((4, 8, 1), seed=2)
    critics = new_critics()
    optimizers = adam_init(actor), adam_init(value), adam_init(critics[0])
    return State(actor, value, *critics, *optimizers, torch.tensor(scale).double())


class Reference:
    """The authors' update: value, actor, critics, and targets last."""

    def __init__(self, state, expectile, inverse_temperature):
        self.expectile, self.inverse_temperature = expectile, inverse_temperature
        self.mean, self.value = as_module(state.actor.mean), as_module(state.value)
        self.log_std = state.actor.log_std.clone().requires_grad_()
        self.twins = Twins(state)
        self.value_optimizer = torch.optim.Adam(self.value.parameters(), lr=RATE)
        self.actor_optimizer = torch.optim.Adam([*self.mean.parameters(), self.log_std], lr=RATE)

    def update(self, batch, reward):
        with torch.no_grad():
            values = [value_of(c, batch.observation, batch.action) for c in self.twins.slow]
            known = torch.min(*values)
        difference = known - self.value(batch.observation).squeeze(1)
        weight = torch.where(difference > 0, self.expectile, 1 - self.expectile)
        step(self.value_optimizer, mean_of(weight * difference**2, batch))
        with torch.no_grad():
            advantage = known - self.value(batch.observation).squeeze(1)
            weight = torch.exp(self.inverse_temperature * advantage).clamp(max=100.0)
            following = self.value(batch.next_observation).squeeze(1)
            target = reward + DISCOUNT * (1 - batch.terminated) * following
        policy = Independent(Normal(self.mean(batch.observation).tanh(), self.log_std.exp()), 1)
        step(self.actor_optimizer, -mean_of(weight * policy.log_prob(batch.action), batch))
        step(self.twins.optimizer, self.twins.error(batch, target))
        self.twins.follow()


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_twenty_updates_are_those_of_torch(scale):
    algorithm, state = learner(expectile=0.8, inverse_temperature=2.0), new_state(scale)
    reference = Reference(state, 0.8, 2.0)
    for index in range(20):
        batch = random_batch(SPEC, 12, index)
        state, _ = algorithm.update(state, None, batch, {}, 0)
        reference.update(batch, scale * batch.reward)
    same_weights(state.actor.mean, reference.mean, **CLOSE)
    torch.testing.assert_close(state.actor.log_std, reference.log_std.detach())
    same_weights(state.value, reference.value, **CLOSE)
    reference.twins.check(state)


@pytest.mark.parametrize("expectile", [0.1, 0.5, 0.7, 0.95])
def test_the_best_constant_is_the_expectile_of_the_values(expectile):
    values = np.random.default_rng(0).normal(size=50)

    def imbalance(constant):
        apart = values - constant
        return (np.where(apart < 0, 1 - expectile, expectile) * apart).sum()

    best = brentq(imbalance, values.min(), values.max())
    algorithm = learner(expectile=expectile)
    constant = (
        {"weight": torch.zeros(4, 1).double(), "bias": torch.tensor([best], dtype=torch.float64)},
    )
    batch = random_batch(SPEC, 50)._replace(weight=torch.ones(50).double())
    gradient = torch.func.grad(algorithm.value_loss)(constant, torch.tensor(values), batch)
    assert gradient[0]["bias"].item() == pytest.approx(0, abs=1e-9)
    if expectile == 0.5:
        assert best == pytest.approx(values.mean())


def test_better_actions_weigh_more_and_none_more_than_a_hundred():
    algorithm, batch = learner(inverse_temperature=3.0), random_batch(SPEC, 3)
    batch = batch._replace(weight=torch.ones(3).double())
    actor = new_state().actor

    def loss(advantage):
        return algorithm.actor_loss(actor, torch.tensor(advantage).double(), batch)

    single = [
        algorithm.actor_loss(actor, torch.zeros(3).double(), batch._replace(weight=row))
        for row in torch.eye(3).double()
    ]
    expected = (torch.stack(single) * torch.tensor([1.0, np.exp(3), LARGEST_WEIGHT])).mean()
    torch.testing.assert_close(loss([0.0, 1.0, 50.0]), expected)


def test_no_other_action_than_the_data_s_is_asked_for():
    """What the critics say elsewhere changes nothing: the update never sees the policy's action."""
    algorithm, state, batch = learner(), new_state(), random_batch(SPEC, 12)
    other = Actor(random_network((4, 8, 2), seed=9), torch.zeros(2).double())
    left, _ = algorithm.update(state, None, batch, {}, 0)
    right, _ = algorithm.update(state._replace(actor=other), None, batch, {}, 0)
    assert same((left.value, left.critics), (right.value, right.critics))


def test_values_are_told_in_the_world_s_units():
    algorithm, batch = learner(), random_batch(SPEC, 12)
    told = [algorithm.update(new_state(s), None, batch, {}, 0)[1]["value"] for s in (1.0, 4.0)]
    torch.testing.assert_close(told[0], 4 * told[1])
