"""CQL of continuous actions: its updates against plain torch, after the authors' code."""

import math

import pytest
import torch

from algorithms.continuous.cql import State
from algorithms.optimizers import adam_init
from tests.support.builders import (
    as_module,
    build_algorithm,
    make_spec,
    random_batch,
    random_network,
    same_weights,
)
from tests.support.continuous import (
    follow,
    mean_of,
    random_twins,
    same_twins,
    squashed,
    step,
    twin_modules,
    uniform,
    value_of,
)

SPEC = make_spec("continuous", size=4)
DISCOUNT, RATE, ACTOR_RATE, POLYAK, CONSERVATISM = 0.9, 0.01, 0.003, 0.1, 0.7
# A log-density for every candidate, of which there are three times `num_actions`.
NUM_ACTIONS = 3


def learner(**settings):
    return build_algorithm(
        "cql",
        "continuous",
        learning_rate=RATE,
        actor_learning_rate=ACTOR_RATE,
        polyak=POLYAK,
        num_actions=NUM_ACTIONS,
        **{"conservatism": CONSERVATISM} | settings,
    )


def new_state(scale=1.0):
    actor, weight = random_network((4, 8, 4), seed=1), torch.tensor(-1.0).double()
    critics = random_twins((6, 8, 1), seed=1), random_twins((6, 8, 1), seed=2)
    optimizers = adam_init(actor), adam_init(weight), adam_init(critics[0])
    return State(actor, weight, *critics, *optimizers, torch.tensor(scale).double())


def noise_of(n, seed):
    return uniform(learner().noise_shapes(SPEC, n), seed)


def penalty_of(critic, actor, batch, noise):
    """Return ``logsumexp - Q`` candidate by candidate, ``[batch]``."""
    worth = []
    for index in range(NUM_ACTIONS):
        action = 2 * noise["uniform"][index] - 1
        tried = [(action, torch.full((len(action),), -2 * math.log(2)).double())]
        tried += [squashed(actor, batch.observation, noise["here"][index])]
        tried += [squashed(actor, batch.next_observation, noise["next"][index])]
        # All are tried in the state itself, and only the critic has a gradient.
        worth += [value_of(critic, batch.observation, a.detach()) - d.detach() for a, d in tried]
    assert len(worth) == 3 * NUM_ACTIONS
    data = value_of(critic, batch.observation, batch.action)
    return torch.stack(worth).exp().sum(0).log() - data


class Reference:
    """The authors' update, with noise that is handed in."""

    def __init__(self, state):
        self.actor = as_module(state.actor)
        self.log_weight = state.log_entropy_weight.clone().requires_grad_()
        self.critics = twin_modules(state.critics)
        self.slow_critics = twin_modules(state.target_critics)
        parameters = [p for critic in self.critics for p in critic.parameters()]
        self.critic_optimizer = torch.optim.Adam(parameters, lr=RATE)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=ACTOR_RATE)
        self.weight_optimizer = torch.optim.Adam([self.log_weight], lr=ACTOR_RATE)

    def update(self, batch, noise, reward):
        action, density = squashed(self.actor, batch.observation, noise["actor"])
        value = torch.min(*(value_of(c, batch.observation, action) for c in self.critics))
        actor_loss = mean_of(self.log_weight.exp().detach() * density - value, batch)
        weight_loss = -self.log_weight * (mean_of(density, batch).detach() - 2)
        with torch.no_grad():
            following, _ = squashed(self.actor, batch.next_observation, noise["target"])
            values = [value_of(c, batch.next_observation, following) for c in self.slow_critics]
            # "Deterministic backup": no entropy.
            target = reward + DISCOUNT * (1 - batch.terminated) * torch.min(*values)
        loss = sum(
            mean_of((value_of(c, batch.observation, batch.action) - target) ** 2, batch)
            + CONSERVATISM * mean_of(penalty_of(c, self.actor, batch, noise), batch)
            for c in self.critics
        )
        step(self.actor_optimizer, actor_loss)
        step(self.weight_optimizer, weight_loss)
        # The actor's loss has left gradients in the critics, which are not theirs.
        step(self.critic_optimizer, loss)
        for slow, fast in zip(self.slow_critics, self.critics, strict=True):
            follow(slow, fast, POLYAK)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_fifteen_updates_are_those_of_torch(scale):
    algorithm, state = learner(), new_state(scale)
    reference = Reference(state)
    for index in range(15):
        batch, noise = random_batch(SPEC, 12, index), noise_of(12, index)
        state, _ = algorithm.update(state, None, batch, noise, 0)
        reference.update(batch, noise, scale * batch.reward)
    same_weights(state.actor, reference.actor, rtol=1e-5, atol=1e-6)
    same_twins(state.critics, reference.critics, rtol=1e-5, atol=1e-6)
    same_twins(state.target_critics, reference.slow_critics, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state.log_entropy_weight, reference.log_weight.detach())


def test_without_conservatism_the_penalty_moves_nothing():
    batch, noise, state = random_batch(SPEC, 12), noise_of(12, 0), new_state()
    other = {name: x.flip(0) if name in ("uniform", "next") else x for name, x in noise.items()}
    moved = [
        learner(conservatism=0.0).update(state, None, batch, drawn, 0)[0]
        for drawn in (noise, other | {"here": noise["here"] * 0.5})
    ]
    for left, right in zip(moved[0].critics, moved[1].critics, strict=True):
        torch.testing.assert_close(left, right)


def test_values_are_told_in_the_world_s_units():
    batch, noise = random_batch(SPEC, 12), noise_of(12, 0)
    told = [
        learner().update(new_state(scale), None, batch, noise, 0)[1]["value"]
        for scale in (1.0, 4.0)
    ]
    torch.testing.assert_close(told[0], 4 * told[1])
