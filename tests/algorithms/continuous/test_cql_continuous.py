"""CQL of continuous actions: its updates against plain torch, after the authors' code."""

import math

import pytest
import torch

from tests.support import continuous
from tests.support.builders import as_module, random_batch, same_weights
from tests.support.continuous import (
    ACTOR_RATE,
    CLOSE,
    SPEC,
    EntropyWeight,
    Twins,
    mean_of,
    new_soft_learner,
    noise_of,
    squashed,
    step,
    value_of,
)

CONSERVATISM = 0.7
# A log-density for every candidate, of which there are three times `num_actions`.
NUM_ACTIONS = 3


def learner(conservatism=CONSERVATISM):
    return continuous.learner("cql", num_actions=NUM_ACTIONS, conservatism=conservatism)


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
        self.actor, self.weight = as_module(state.actor.network), EntropyWeight(state.actor)
        self.twins = Twins(state)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=ACTOR_RATE)

    def update(self, batch, noise, reward):
        action, density = squashed(self.actor, batch.observation, noise["actor"])
        value = torch.min(*(value_of(c, batch.observation, action) for c in self.twins.fast))
        actor_loss = self.weight.actor_loss(batch, density, value)
        following, _ = squashed(self.actor, batch.next_observation, noise["target"])
        # "Deterministic backup": no entropy.
        loss = self.twins.error(batch, self.twins.target(batch, reward, following))
        for critic in self.twins.fast:
            penalty = penalty_of(critic, self.actor, batch, noise)
            loss = loss + CONSERVATISM * mean_of(penalty, batch)
        step(self.actor_optimizer, actor_loss)
        step(self.weight.optimizer, self.weight.loss(batch, density))
        # The actor's loss has left gradients in the critics, which are not theirs.
        step(self.twins.optimizer, loss)
        self.twins.follow()


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_fifteen_updates_are_those_of_torch(scale):
    algorithm, state = learner(), new_soft_learner(scale)
    reference = Reference(state)
    for index in range(15):
        batch = random_batch(SPEC, 12, index)
        noise = noise_of(algorithm, batch, index)
        state, _ = algorithm.update(state, None, batch, noise, 0)
        reference.update(batch, noise, scale * batch.reward)
    same_weights(state.actor.network, reference.actor, **CLOSE)
    reference.twins.check(state)
    reference.weight.check(state.actor)


def test_without_conservatism_the_penalty_moves_nothing():
    batch, state = random_batch(SPEC, 12), new_soft_learner(1.0)
    noise = noise_of(learner(), batch)
    other = {name: x.flip(0) if name in ("uniform", "next") else x for name, x in noise.items()}
    moved = [
        learner(conservatism=0.0).update(state, None, batch, drawn, 0)[0]
        for drawn in (noise, other | {"here": noise["here"] * 0.5})
    ]
    for left, right in zip(moved[0].critics, moved[1].critics, strict=True):
        torch.testing.assert_close(left, right)


def test_values_are_told_in_the_world_s_units():
    batch = random_batch(SPEC, 12)
    noise = noise_of(learner(), batch)
    told = [
        learner().update(new_soft_learner(scale), None, batch, noise, 0)[1]["value"]
        for scale in (1.0, 4.0)
    ]
    torch.testing.assert_close(told[0], 4 * told[1])
