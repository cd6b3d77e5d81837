"""BCQ of continuous actions: its updates against plain torch, after the authors' code."""

import pytest
import torch
from torch.nn import functional

from algorithms.continuous.bcq import Generator, State
from algorithms.optimizers import adam_init
from tests.support import continuous
from tests.support.builders import as_module, random_batch, random_network, same_weights
from tests.support.continuous import (
    CLOSE,
    DISCOUNT,
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
    uniform,
    value_of,
)

SETTINGS = {"perturbation": 0.3, "smaller_weight": 0.6, "kl_weight": 0.4}


def learner(**settings):
    return continuous.learner("bcq", num_target_actions=5, **SETTINGS | settings)


def new_state(scale=1.0):
    # An encoder gives mean and log-std of four latents, a decoder takes them.
    vae = Generator(random_network((6, 8, 8), seed=1), random_network((8, 8, 2), seed=2))
    perturbation = random_network((6, 8, 2), seed=3), random_network((6, 8, 2), seed=4)
    critics = new_critics()
    optimizers = adam_init(vae), adam_init(perturbation[0]), adam_init(critics[0])
    latents = normal_of(uniform({"latents": (7, 4)}, 9)["latents"]).clamp(-0.5, 0.5)
    scale = torch.tensor(scale).double()
    return State(vae, *perturbation, *critics, *optimizers, latents, scale)


def joined(*parts):
    return torch.cat(parts, -1)


class Reference:
    """The authors' update, with noise that is handed in."""

    def __init__(self, state):
        self.encoder, self.decoder = map(as_module, state.generator)
        self.perturbation = as_module(state.perturbation)
        self.slow_perturbation = as_module(state.target_perturbation)
        self.twins = Twins(state)
        self.vae_optimizer, self.perturbation_optimizer = (
            torch.optim.Adam([p for module in modules for p in module.parameters()], lr=RATE)
            for modules in ((self.encoder, self.decoder), (self.perturbation,))
        )

    def candidate(self, perturbation, observation, latent):
        action = self.decoder(joined(observation, latent)).tanh()
        moved = perturbation(joined(observation, action)).tanh()
        return (action + SETTINGS["perturbation"] * moved).clamp(-1, 1)

    def generate(self, batch, noise):
        mean, log_std = self.encoder(joined(batch.observation, batch.action)).chunk(2, -1)
        std = log_std.clamp(-4, 15).exp()
        made = self.decoder(joined(batch.observation, mean + std * normal_of(noise))).tanh()
        error = functional.mse_loss(made, batch.action, reduction="none").mean(1)
        told = torch.distributions.kl_divergence(
            torch.distributions.Normal(mean, std),
            torch.distributions.Normal(torch.zeros_like(mean), 1.0),
        ).mean(1)
        step(self.vae_optimizer, mean_of(error + SETTINGS["kl_weight"] * told, batch))

    def target(self, batch, noise, reward):
        best = []
        for row in range(len(reward)):
            worth = []
            for drawn in noise[:, row]:
                observation = batch.next_observation[row : row + 1]
                latent = normal_of(drawn).clamp(-0.5, 0.5)[None]
                action = self.candidate(self.slow_perturbation, observation, latent)
                both = [value_of(c, observation, action).item() for c in self.twins.slow]
                share = SETTINGS["smaller_weight"]
                worth.append(share * min(both) + (1 - share) * max(both))
            best.append(max(worth))
        return reward + DISCOUNT * (1 - batch.terminated) * torch.tensor(best).double()

    def update(self, batch, noise, reward):
        self.generate(batch, noise["encoder"])
        target = self.target(batch, noise["target"], reward).detach()
        step(self.twins.optimizer, self.twins.error(batch, target))
        latent = normal_of(noise["actor"]).clamp(-0.5, 0.5)
        action = self.candidate(self.perturbation, batch.observation, latent)
        value = value_of(self.twins.fast[0], batch.observation, action)
        step(self.perturbation_optimizer, -mean_of(value, batch))
        follow(self.slow_perturbation, self.perturbation, POLYAK)
        self.twins.follow()


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_ten_updates_are_those_of_torch(scale):
    algorithm, state = learner(), new_state(scale)
    reference = Reference(state)
    for index in range(10):
        batch = random_batch(SPEC, 12, index)
        noise = noise_of(algorithm, batch, index)
        state, _ = algorithm.update(state, None, batch, noise, 0)
        reference.update(batch, noise, scale * batch.reward)
    same_weights(state.generator.encoder, reference.encoder, **CLOSE)
    same_weights(state.generator.decoder, reference.decoder, **CLOSE)
    same_weights(state.perturbation, reference.perturbation, **CLOSE)
    same_weights(state.target_perturbation, reference.slow_perturbation, **CLOSE)
    reference.twins.check(state)


def test_it_acts_by_the_best_candidate_of_the_first_critic():
    algorithm, state = learner(), new_state()
    reference = Reference(state)
    observation = random_batch(SPEC, 6).observation
    for row, action in enumerate(algorithm.policy(state, observation).mode()):
        here = observation[row : row + 1].expand(len(state.latents), -1)
        tried = reference.candidate(reference.perturbation, here, state.latents)
        worth = value_of(reference.twins.fast[0], here, tried)
        torch.testing.assert_close(action, tried[worth.argmax()].detach())
    # Observations come with any leading axes.
    grid = algorithm.policy(state, observation.reshape(2, 3, 4)).mode()
    torch.testing.assert_close(grid.reshape(6, 2), algorithm.policy(state, observation).mode())


def test_without_perturbation_it_never_leaves_what_the_generator_makes():
    state = new_state()
    observation = random_batch(SPEC, 6).observation
    action = learner(perturbation=0.0).policy(state, observation).mode()
    decoder = as_module(state.generator.decoder)
    for row, taken in enumerate(action):
        here = observation[row : row + 1].expand(len(state.latents), -1)
        made = decoder(joined(here, state.latents)).tanh()
        assert (made - taken).abs().amax(1).min() < 1e-12
