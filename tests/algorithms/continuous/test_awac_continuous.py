"""AWAC of continuous actions: its updates against plain torch."""

import pytest
import torch

from algorithms.continuous.awac import State
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
DISCOUNT, RATE, POLYAK, SCALE = 0.9, 0.01, 0.1, 2.0


def log_density(policy, observation, action):
    """Return the policy's log-density of actions, those at the bounds moved within."""
    mean, log_std = policy(observation).chunk(2, -1)
    normal = torch.distributions.Normal(mean, log_std.clamp(-5, 2).exp())
    tanh = torch.distributions.transforms.TanhTransform()
    before = action.clamp(-0.999, 0.999).atanh()
    return (normal.log_prob(before) - tanh.log_abs_det_jacobian(before, None)).sum(-1)


@pytest.mark.parametrize("form", ["exp", "binary"])
def test_ten_updates_are_those_of_plain_torch(form):
    algorithm = build_algorithm("awac", "continuous", learning_rate=RATE, polyak=POLYAK, form=form,
                                inverse_temperature=2.0, num_actions=3)  # fmt: skip
    actor = random_network((4, 8, 4), seed=1)
    critics, slow = random_twins((6, 8, 1), seed=1), random_twins((6, 8, 1), seed=2)
    scale = torch.tensor(SCALE).double()
    state = State(actor, critics, slow, adam_init(actor), adam_init(critics), scale)
    policy, fast, targets = as_module(actor), twin_modules(critics), twin_modules(slow)
    actor_optimizer = torch.optim.Adam(policy.parameters(), lr=RATE)
    critic_optimizer = torch.optim.Adam([p for c in fast for p in c.parameters()], lr=RATE)
    for index in range(10):
        batch = random_batch(SPEC, 12, index)
        noise = uniform(algorithm.noise_shapes(SPEC, 12), index)
        state, metrics = algorithm.update(state, None, batch, noise, 0)
        with torch.no_grad():
            own = torch.zeros(12).double()
            for drawn in noise["here"]:
                action, _ = squashed(policy, batch.observation, drawn)
                own += torch.min(*(value_of(c, batch.observation, action) for c in fast)) / 3
            known = torch.min(*(value_of(c, batch.observation, batch.action) for c in fast))
            following, _ = squashed(policy, batch.next_observation, noise["target"])
            value = torch.min(*(value_of(c, batch.next_observation, following) for c in targets))
            target = SCALE * batch.reward + DISCOUNT * (1 - batch.terminated) * value
        weight = (known - own > 0).double()
        if form == "exp":
            weight = (2.0 * (known - own)).exp().clamp_max(20)
        likelihood = log_density(policy, batch.observation, batch.action)
        step(actor_optimizer, -mean_of(weight * likelihood, batch))
        values = [value_of(c, batch.observation, batch.action) for c in fast]
        step(critic_optimizer, mean_of(sum((v - target) ** 2 for v in values), batch))
        for old, new in zip(targets, fast, strict=True):
            follow(old, new, POLYAK)
        expected = mean_of((values[0] + values[1]) / 2, batch).item() / SCALE
        assert metrics["value"].item() == pytest.approx(expected, rel=1e-6)
    same_weights(state.actor, policy, rtol=1e-6, atol=1e-8)
    same_twins(state.critics, fast, rtol=1e-6, atol=1e-8)
    same_twins(state.target_critics, targets, rtol=1e-6, atol=1e-8)
