"""AWAC of continuous actions: its updates against plain torch."""

import pytest
import torch

from algorithms.continuous.awac import State
from algorithms.optimizers import adam_init
from tests.support.builders import as_module, random_batch, random_network, same_weights
from tests.support.continuous import (
    CLOSE,
    RATE,
    SPEC,
    Twins,
    learner,
    mean_of,
    new_critics,
    noise_of,
    squashed,
    step,
    value_of,
)

SCALE = 2.0


def log_density(policy, observation, action):
    """Return the policy's log-density of actions, those at the bounds moved within."""
    mean, log_std = policy(observation).chunk(2, -1)
    normal = torch.distributions.Normal(mean, log_std.clamp(-5, 2).exp())
    tanh = torch.distributions.transforms.TanhTransform()
    before = action.clamp(-0.999, 0.999).atanh()
    return (normal.log_prob(before) - tanh.log_abs_det_jacobian(before, None)).sum(-1)


@pytest.mark.parametrize("form", ["exp", "binary"])
def test_ten_updates_are_those_of_plain_torch(form):
    algorithm = learner("awac", form=form, inverse_temperature=2.0, num_actions=3)
    actor, critics = random_network((4, 8, 4), seed=1), new_critics()
    scale = torch.tensor(SCALE).double()
    state = State(actor, *critics, adam_init(actor), adam_init(critics[0]), scale)
    policy, twins = as_module(actor), Twins(state)
    actor_optimizer = torch.optim.Adam(policy.parameters(), lr=RATE)
    for index in range(10):
        batch = random_batch(SPEC, 12, index)
        noise = noise_of(algorithm, batch, index)
        state, metrics = algorithm.update(state, None, batch, noise, 0)
        with torch.no_grad():
            values = [value_of(c, batch.observation, batch.action) for c in twins.fast]
            own = torch.zeros(12).double()
            for drawn in noise["here"]:
                action, _ = squashed(policy, batch.observation, drawn)
                tried = [value_of(c, batch.observation, action) for c in twins.fast]
                own += torch.min(*tried) / 3
            following, _ = squashed(policy, batch.next_observation, noise["target"])
        advantage = torch.min(*values) - own
        weight = (advantage > 0).double()
        if form == "exp":
            weight = (2.0 * advantage).exp().clamp_max(20)
        target = twins.target(batch, SCALE * batch.reward, following)
        likelihood = log_density(policy, batch.observation, batch.action)
        step(actor_optimizer, -mean_of(weight * likelihood, batch))
        step(twins.optimizer, twins.error(batch, target))
        twins.follow()
        expected = mean_of((values[0] + values[1]) / 2, batch).item() / SCALE
        assert metrics["value"].item() == pytest.approx(expected, rel=1e-6)
    same_weights(state.actor, policy, **CLOSE)
    twins.check(state)
