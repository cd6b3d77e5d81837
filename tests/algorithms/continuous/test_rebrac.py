"""ReBRAC: its updates against plain torch, after the authors' code, and what may not matter."""

import pytest
import torch

from algorithms.continuous.rebrac import CRITICS, CRITICS_AND_ACTOR, State
from algorithms.optimizers import adam_init
from tests.support import continuous
from tests.support.builders import as_module, random_batch, random_network, same, same_weights
from tests.support.continuous import (
    CLOSE,
    DISCOUNT,
    POLYAK,
    RATE,
    SPEC,
    follow,
    mean_of,
    new_critics,
    noise_of,
    normal_of,
    step,
    value_of,
)


def learner(**settings):
    return continuous.learner("rebrac", **settings)


def with_norms(critics, seed):
    """Return critics whose hidden layers have norms of random scale and shift."""
    draw = torch.Generator().manual_seed(seed)
    (hidden, last), size = critics, critics[0]["bias"].shape
    scale, shift = (torch.rand(size, generator=draw, dtype=torch.float64) for _ in range(2))
    return hidden | {"scale": 0.5 + scale, "shift": shift - 0.5}, last


def new_state(scale=1.0):
    actors = random_network((4, 8, 2), seed=1), random_network((4, 8, 2), seed=2)
    critics = [with_norms(twins, seed) for seed, twins in enumerate(new_critics())]
    optimizers = adam_init(actors[0]), adam_init(critics[0])
    return State(*actors, *critics, *optimizers, torch.tensor(scale).double())


def modules_of(critics):
    """Return both critics as modules of torch with its layer norm."""
    made = []
    for twin in range(2):
        first, second = (
            as_module(({"weight": x["weight"][twin], "bias": x["bias"][twin, 0]},)) for x in critics
        )
        norm = torch.nn.LayerNorm(8, eps=1e-6).double()
        with torch.no_grad():
            norm.weight.copy_(critics[0]["scale"][twin, 0])
            norm.bias.copy_(critics[0]["shift"][twin, 0])
        made.append(torch.nn.Sequential(first, torch.nn.ReLU(), norm, second))
    return made


class Reference:
    """The authors' update, with normal noise that is handed in."""

    def __init__(self, state, actor_penalty, critic_penalty):
        self.penalties = actor_penalty, critic_penalty
        self.actor, self.slow_actor = as_module(state.actor), as_module(state.target_actor)
        self.fast, self.slow = modules_of(state.critics), modules_of(state.target_critics)
        self.optimizer = torch.optim.Adam([p for c in self.fast for p in c.parameters()], lr=RATE)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=RATE)

    def lowest(self, critics, observation, action):
        return torch.min(*(value_of(critic, observation, action) for critic in critics))

    def update(self, batch, normal, reward, moves_actor):
        with torch.no_grad():
            noise = (normal * 0.2).clamp(-0.5, 0.5)
            following = (self.slow_actor(batch.next_observation).tanh() + noise).clamp(-1, 1)
            value = self.lowest(self.slow, batch.next_observation, following)
            for row in range(len(value)):
                if batch.followed[row]:
                    away = following[row] - batch.next_action[row]
                    value[row] -= self.penalties[1] * away @ away
            target = reward + DISCOUNT * (1 - batch.terminated) * value
        known = [value_of(critic, batch.observation, batch.action) for critic in self.fast]
        step(self.optimizer, sum(mean_of((target - value) ** 2, batch) for value in known))
        if not moves_actor:
            return
        action = self.actor(batch.observation).tanh()
        value = self.lowest(self.fast, batch.observation, action)
        cloning = ((action - batch.action) ** 2).sum(1)
        weight = 1 / mean_of(value.abs(), batch).detach()
        step(self.actor_optimizer, mean_of(self.penalties[0] * cloning - weight * value, batch))
        follow(self.slow_actor, self.actor, POLYAK)
        for slow, fast in zip(self.slow, self.fast, strict=True):
            follow(slow, fast, POLYAK)

    def check(self, state):
        same_weights(state.actor, self.actor, **CLOSE)
        same_weights(state.target_actor, self.slow_actor, **CLOSE)
        for mine, theirs in ((state.critics, self.fast), (state.target_critics, self.slow)):
            for one, other in zip(modules_of(mine), theirs, strict=True):
                for left, right in zip(one.parameters(), other.parameters(), strict=True):
                    torch.testing.assert_close(left, right, **CLOSE)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_twenty_updates_are_those_of_torch(scale):
    algorithm, state = learner(actor_penalty=0.7, critic_penalty=0.4), new_state(scale)
    reference = Reference(state, 0.7, 0.4)
    for index in range(20):
        batch = random_batch(SPEC, 12, index)
        noise = noise_of(algorithm, batch, index)
        state, _ = algorithm.update(state, None, batch, noise, algorithm.phase(index))
        reference.update(batch, normal_of(noise["target"]), scale * batch.reward, index % 2 == 1)
    reference.check(state)


def test_the_actor_and_all_targets_move_at_every_second_update_alone():
    algorithm, state, batch = learner(), new_state(), random_batch(SPEC, 12)
    assert [algorithm.phase(index) for index in range(4)] == [0, 1, 0, 1]
    noise = noise_of(algorithm, batch)
    still = ("actor", "target_actor", "target_critics", "actor_optimizer")
    for phase, stays in ((CRITICS, True), (CRITICS_AND_ACTOR, False)):
        moved, _ = algorithm.update(state, None, batch, noise, phase)
        assert all(same(getattr(moved, name), getattr(state, name)) == stays for name in still)
        assert not same(moved.critics, state.critics)


def test_what_the_data_does_not_go_on_to_is_not_read():
    algorithm, state, batch = learner(critic_penalty=3.0), new_state(), random_batch(SPEC, 30)
    noise = noise_of(algorithm, batch)
    ended = batch._replace(followed=torch.zeros_like(batch.followed))
    other = ended._replace(next_action=-ended.next_action)
    one, two = (algorithm.update(state, None, b, noise, CRITICS)[0] for b in (ended, other))
    assert same(one, two)
    free = learner(critic_penalty=0.0).update(state, None, batch, noise, CRITICS)[0]
    assert same(one, free)
    penalised = algorithm.update(state, None, batch, noise, CRITICS)[1]
    assert penalised["penalty"] > 0


def test_new_critics_are_normalised_by_nothing_yet():
    cohort = learner(hidden_sizes=[6, 5]).init(SPEC, None, torch.Generator().manual_seed(0))
    *hidden, last = cohort.critics
    assert [tuple(x["scale"].shape) for x in hidden] == [(2, 1, 6), (2, 1, 5)]
    assert all((x["scale"] == 1).all() and (x["shift"] == 0).all() for x in hidden)
    assert set(last) == {"weight", "bias"}
