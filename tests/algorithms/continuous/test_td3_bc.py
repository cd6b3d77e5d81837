"""TD3+BC: its updates against plain torch, after the authors' code, and what may not matter."""

import copy

import pytest
import torch
from torch.nn import functional

from algorithms.continuous.td3_bc import CRITICS, CRITICS_AND_ACTOR, State
from algorithms.optimizers import adam_init
from tests.support import continuous
from tests.support.builders import as_module, random_batch, random_network, same, same_weights
from tests.support.continuous import (
    CLOSE,
    POLYAK,
    RATE,
    SPEC,
    Twins,
    follow,
    mean_of,
    new_critics,
    noise_of,
    normal_of,
    step,
    value_of,
)


def learner(**settings):
    return continuous.learner("td3_bc", **settings)


def new_state(scale=1.0):
    actors = random_network((4, 8, 2), seed=1), random_network((4, 8, 2), seed=2)
    critics = new_critics()
    optimizers = adam_init(actors[0]), adam_init(critics[0])
    return State(*actors, *critics, *optimizers, torch.tensor(scale).double())


class Reference:
    """The authors' update, with normal noise that is handed in."""

    def __init__(self, state, alpha):
        self.alpha = alpha
        self.actor, self.slow_actor = as_module(state.actor), as_module(state.target_actor)
        self.twins = Twins(state)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=RATE)

    def update(self, batch, normal, reward, moves_actor):
        noise = (normal * 0.2).clamp(-0.5, 0.5)
        following = (self.slow_actor(batch.next_observation).tanh() + noise).clamp(-1, 1)
        target = self.twins.target(batch, reward, following)
        step(self.twins.optimizer, self.twins.error(batch, target))
        if not moves_actor:
            return
        action = self.actor(batch.observation).tanh()
        value = value_of(self.twins.fast[0], batch.observation, action)
        weight = self.alpha / mean_of(value.abs(), batch).detach()
        cloning = functional.mse_loss(action, batch.action, reduction="none").mean(1)
        step(self.actor_optimizer, -weight * mean_of(value, batch) + mean_of(cloning, batch))
        follow(self.slow_actor, self.actor, POLYAK)
        self.twins.follow()


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_twenty_updates_are_those_of_torch(scale):
    algorithm, state = learner(alpha=1.7), new_state(scale)
    reference = Reference(state, alpha=1.7)
    for index in range(20):
        batch = random_batch(SPEC, 12, index)
        noise = noise_of(algorithm, batch, index)
        phase = algorithm.phase(index)
        state, _ = algorithm.update(state, None, batch, noise, phase)
        reference.update(batch, normal_of(noise["target"]), scale * batch.reward, index % 2 == 1)
    same_weights(state.actor, reference.actor, **CLOSE)
    same_weights(state.target_actor, reference.slow_actor, **CLOSE)
    reference.twins.check(state)


def test_the_actor_and_all_targets_move_at_every_second_update_alone():
    algorithm, state = learner(), new_state()
    assert [algorithm.phase(index) for index in range(5)] == [0, 1, 0, 1, 0]
    batch = random_batch(SPEC, 12)
    noise = noise_of(algorithm, batch)
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
    expected = Twins(state).target(batch, batch.reward, following)
    torch.testing.assert_close(algorithm.target(state, batch, largest["target"]), expected)


def test_the_smaller_of_both_critics_counts():
    algorithm, batch = learner(), random_batch(SPEC, 12)
    noise = noise_of(algorithm, batch)["target"]
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
    algorithm, batch = learner(), random_batch(SPEC, 12)
    noise = noise_of(algorithm, batch)
    told = [
        algorithm.update(new_state(scale), None, batch, noise, CRITICS)[1]["value"]
        for scale in (1.0, 4.0)
    ]
    torch.testing.assert_close(told[0], 4 * told[1])
