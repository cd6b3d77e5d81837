"""ATAC of continuous actions: its updates against plain torch, after the authors' code."""

import pytest
import torch

from algorithms.continuous.atac import ADVERSARIAL, WARM, State
from algorithms.critics import projected
from algorithms.optimizers import adam_init
from tests.support import continuous
from tests.support.builders import (
    as_module,
    make_spec,
    random_batch,
    same,
    same_weights,
)
from tests.support.continuous import (
    ACTOR_RATE,
    CLOSE,
    DISCOUNT,
    RATE,
    SPEC,
    EntropyWeight,
    Twins,
    mean_of,
    new_actor,
    new_critics,
    noise_of,
    random_twins,
    squashed,
    step,
    value_of,
)

# So narrow and so small that clipping and projection matter.
RANGE, NORM, WARM_UPDATES = (-1.5, 1.0), 3.0, 6


def learner(beta=3.0):
    settings = {"residual_weight": 0.3, "warm_updates": WARM_UPDATES, "largest_norm": NORM}
    return continuous.learner("atac", beta=beta, **settings)


def new_state(scale=1.0):
    fast, slow = new_critics()
    value_range, scale = torch.tensor(RANGE).double(), torch.tensor(scale).double()
    return State(new_actor(), fast, slow, adam_init(fast), scale, value_range)


class Reference:
    """The authors' update, with noise that is handed in."""

    def __init__(self, state, beta):
        self.beta = beta
        self.actor, self.weight = as_module(state.actor.network), EntropyWeight(state.actor)
        self.twins = Twins(state)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=RATE)

    def critic_loss(self, batch, noise, reward, pessimistic):
        here, following = (
            squashed(self.actor, observation, noise[name])[0].detach()
            for name, observation in (("here", batch.observation), ("next", batch.next_observation))
        )
        target = self.twins.target(batch, reward, following).clamp(*RANGE)
        if not pessimistic:
            return self.twins.error(batch, target)
        bellman, relative = 0.7 * self.twins.error(batch, target), 0.0
        for critic in self.twins.fast:
            value = value_of(critic, batch.observation, batch.action)
            next_value = value_of(critic, batch.next_observation, following)
            own = reward + DISCOUNT * (1 - batch.terminated) * next_value
            bellman = bellman + 0.3 * mean_of((value - own.clamp(*RANGE)) ** 2, batch)
            relative = relative + mean_of(value_of(critic, batch.observation, here) - value, batch)
        if self.beta > 1:
            return relative / self.beta + bellman
        return relative + self.beta * bellman

    @torch.no_grad()
    def project(self):
        for critic in self.twins.fast:
            for layer in critic:
                if isinstance(layer, torch.nn.Linear):
                    norm = layer.weight.norm()
                    layer.weight.mul_(min(1.0, NORM / norm))

    def update(self, batch, noise, reward, pessimistic):
        step(self.twins.optimizer, self.critic_loss(batch, noise, reward, pessimistic))
        self.project()
        self.twins.follow()
        if not pessimistic:
            mean, log_std = self.actor(batch.observation).chunk(2, -1)
            before = batch.action.clamp(-0.999, 0.999).atanh()
            density = torch.distributions.Normal(mean, log_std.clamp(-5, 2).exp()).log_prob(before)
            step(self.actor_optimizer, -mean_of(density.sum(-1), batch))
            return
        self.actor_optimizer.param_groups[0]["lr"] = ACTOR_RATE
        action, density = squashed(self.actor, batch.observation, noise["here"])
        value = value_of(self.twins.fast[0], batch.observation, action)
        loss, weight_loss = (
            self.weight.actor_loss(batch, density, value), self.weight.loss(batch, density)
        )  # fmt: skip
        step(self.actor_optimizer, loss)
        step(self.weight.optimizer, weight_loss)


@pytest.mark.parametrize(("scale", "beta"), [(1.0, 3.0), (0.3, 0.5)])
def test_fifteen_updates_are_those_of_torch(scale, beta):
    algorithm, state = learner(beta=beta), new_state(scale)
    reference = Reference(state, beta)
    for index in range(15):
        batch = random_batch(SPEC, 12, index)
        noise = noise_of(algorithm, batch, index)
        phase = algorithm.phase(index)
        assert phase == (WARM if index < WARM_UPDATES else ADVERSARIAL)
        state, _ = algorithm.update(state, None, batch, noise, phase)
        reference.update(batch, noise, scale * batch.reward, phase == ADVERSARIAL)
    same_weights(state.actor.network, reference.actor, **CLOSE)
    reference.twins.check(state)
    reference.weight.check(state.actor)


def test_the_range_of_returns_is_the_world_s_in_scaled_units():
    spec = make_spec("continuous", size=4, v_min=-30.0, v_max=20.0, uniform_regret=5.0)
    state = learner().init(spec, None, torch.Generator().manual_seed(0))
    assert state.reward_scale == 2.0
    assert state.value_range.tolist() == [-60.0, 40.0]


def test_projection_shrinks_what_is_too_large_and_nothing_else():
    critics = random_twins((6, 8, 1), seed=1)
    norms = [layer["weight"].norm(dim=(1, 2)) for layer in critics]
    assert norms[0].min() > 3 > norms[1].max() - 1
    found = projected(critics, 3.0)
    for before, after, norm in zip(critics, found, norms, strict=True):
        expected = before["weight"] * (3 / norm).clamp(max=1)[:, None, None]
        torch.testing.assert_close(after["weight"], expected)
        assert same(after["bias"], before["bias"])
    assert same(projected(critics, 100.0), critics)


def test_while_it_warms_up_the_entropy_s_weight_stays():
    algorithm, state = learner(), new_state()
    batch = random_batch(SPEC, 12)
    warm, _ = algorithm.update(state, None, batch, noise_of(algorithm, batch), WARM)
    assert same(warm.actor.log_entropy_weight, state.actor.log_entropy_weight)
    assert same(warm.actor.entropy_optimizer, state.actor.entropy_optimizer)
