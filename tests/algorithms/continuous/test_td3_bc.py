"""TD3+BC: its updates against plain torch, after the authors' code, and what may not matter."""

import copy

import pytest
import torch
from torch.nn import functional

from algorithms.continuous.td3_bc import CRITICS, CRITICS_AND_ACTOR, State
from algorithms.optimizers import adam_init
from tests.support.builders import (
    as_module,
    build_algorithm,
    make_spec,
    random_batch,
    random_network,
    same,
    same_weights,
)
from tests.support.continuous import (
    follow,
    mean_of,
    random_twins,
    same_twins,
    step,
    twin_modules,
    value_of,
)

SPEC = make_spec("continuous", size=4)
DISCOUNT, RATE, POLYAK = 0.9, 0.01, 0.1


def learner(**settings):
    return build_algorithm("td3_bc", learning_rate=RATE, polyak=POLYAK, **settings)


def new_state(scale=1.0):
    actors = random_network((4, 8, 2), seed=1), random_network((4, 8, 2), seed=2)
    critics = random_twins((6, 8, 1), seed=1), random_twins((6, 8, 1), seed=2)
    optimizers = adam_init(actors[0]), adam_init(critics[0])
    return State(*actors, *critics, *optimizers, torch.tensor(scale).double())


def uniform(n, seed):
    draw = torch.Generator().manual_seed(seed)
    return {"target": torch.rand(n, 2, generator=draw, dtype=torch.float64)}


class Reference:
    """The authors' update, with normal noise that is handed in."""

    def __init__(self, state, alpha):
        self.alpha = alpha
        self.actor, self.slow_actor = as_module(state.actor), as_module(state.target_actor)
        self.critics = twin_modules(state.critics)
        self.slow_critics = twin_modules(state.target_critics)
        parameters = [p for critic in self.critics for p in critic.parameters()]
        self.critic_optimizer = torch.optim.Adam(parameters, lr=RATE)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=RATE)

    def update(self, batch, normal, reward, moves_actor):
        with torch.no_grad():
            noise = (normal * 0.2).clamp(-0.5, 0.5)
            following = (self.slow_actor(batch.next_observation).tanh() + noise).clamp(-1, 1)
            values = [value_of(c, batch.next_observation, following) for c in self.slow_critics]
            target = reward + (1 - batch.terminated) * DISCOUNT * torch.min(*values)
        errors = [
            functional.mse_loss(
                value_of(c, batch.observation, batch.action), target, reduction="none"
            )
            for c in self.critics
        ]
        step(self.critic_optimizer, mean_of(sum(errors), batch))
        if not moves_actor:
            return
        action = self.actor(batch.observation).tanh()
        value = value_of(self.critics[0], batch.observation, action)
        weight = self.alpha / mean_of(value.abs(), batch).detach()
        cloning = functional.mse_loss(action, batch.action, reduction="none").mean(1)
        step(self.actor_optimizer, -weight * mean_of(value, batch) + mean_of(cloning, batch))
        follow(self.slow_actor, self.actor, POLYAK)
        for slow, fast in zip(self.slow_critics, self.critics, strict=True):
            follow(slow, fast, POLYAK)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_twenty_updates_are_those_of_torch(scale):
    algorithm, state = learner(alpha=1.7), new_state(scale)
    reference = Reference(state, alpha=1.7)
    normal = torch.distributions.Normal(torch.zeros(()).double(), 1.0)
    for index in range(20):
        batch, noise = random_batch(SPEC, 12, index), uniform(12, index)
        phase = algorithm.phase(index)
        state, _ = algorithm.update(state, None, batch, noise, phase)
        drawn = normal.icdf(noise["target"])
        reference.update(batch, drawn, scale * batch.reward, index % 2 == 1)
    same_weights(state.actor, reference.actor, rtol=1e-5, atol=1e-6)
    same_weights(state.target_actor, reference.slow_actor, rtol=1e-5, atol=1e-6)
    same_twins(state.critics, reference.critics, rtol=1e-5, atol=1e-6)
    same_twins(state.target_critics, reference.slow_critics, rtol=1e-5, atol=1e-6)


def test_the_actor_and_all_targets_move_at_every_second_update_alone():
    algorithm, state = learner(), new_state()
    assert [algorithm.phase(index) for index in range(5)] == [0, 1, 0, 1, 0]
    batch, noise = random_batch(SPEC, 12), uniform(12, 0)
    moved, _ = algorithm.update(state, None, batch, noise, CRITICS)
    still = ("actor", "target_actor", "target_critics", "actor_optimizer")
    assert all(same(getattr(moved, name), getattr(state, name)) for name in still)
    assert not same(moved.critics, state.critics)
    moved, _ = algorithm.update(state, None, batch, noise, CRITICS_AND_ACTOR)
    assert not any(same(getattr(moved, name), getattr(state, name)) for name in still)


@pytest.mark.parametrize("interval", [1, 3])
def test_the_interval_is_a_setting(interval):
    algorithm = learner(policy_interval=interval)
    moves = [index for index in range(6) if algorithm.phase(index) == CRITICS_AND_ACTOR]
    assert moves == list(range(interval - 1, 6, interval))


def test_the_size_of_values_does_not_matter_to_the_actor():
    algorithm, state, batch = learner(), new_state(), random_batch(SPEC, 20)
    larger = copy.deepcopy(state.critics)
    for part in ("weight", "bias"):
        larger[-1][part] *= 50
    gradients = [
        torch.func.grad(algorithm.actor_loss, has_aux=True)(state.actor, critics, batch)[0]
        for critics in (state.critics, larger)
    ]
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right)


def test_noise_on_the_target_s_action_is_clipped_and_the_action_within_the_bounds():
    algorithm, state, batch = learner(policy_noise=100.0), new_state(), random_batch(SPEC, 20)
    largest = {"target": torch.ones(20, 2).double()}
    intended = as_module(state.target_actor)(batch.next_observation).tanh()
    following = (intended + 0.5).clamp(max=1)
    assert (following == 1).any()
    values = [
        value_of(c, batch.next_observation, following) for c in twin_modules(state.target_critics)
    ]
    expected = batch.reward + DISCOUNT * (1 - batch.terminated) * torch.min(*values)
    torch.testing.assert_close(algorithm.target(state, batch, largest["target"]), expected)


def test_the_smaller_of_both_critics_counts():
    algorithm, batch, noise = learner(), random_batch(SPEC, 12), uniform(12, 0)["target"]
    state = new_state()
    targets = []
    for twin in (0, 1):
        alone = tuple(
            {k: v[twin : twin + 1].expand_as(v) for k, v in layer.items()}
            for layer in state.target_critics
        )
        targets.append(algorithm.target(state._replace(target_critics=alone), batch, noise))
    both = algorithm.target(state, batch, noise)
    torch.testing.assert_close(both, torch.minimum(*targets))


def test_values_are_told_in_the_world_s_units():
    algorithm, batch, noise = learner(), random_batch(SPEC, 12), uniform(12, 0)
    told = [
        algorithm.update(new_state(scale), None, batch, noise, CRITICS)[1]["value"]
        for scale in (1.0, 4.0)
    ]
    torch.testing.assert_close(told[0], 4 * told[1])
