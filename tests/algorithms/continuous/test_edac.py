"""SAC-N and EDAC: their updates against plain torch, and what the minimum and its slopes do."""

import math

import pytest
import torch

from algorithms import critics as ensembles
from bench.settings.typed import ConfigError
from tests.support.builders import (
    as_module,
    build_algorithm,
    make_spec,
    random_batch,
    random_network,
    same_weights,
)
from tests.support.continuous import (
    EntropyWeight,
    follow,
    mean_of,
    new_soft_learner,
    squashed,
    step,
    uniform,
    value_of,
)

SPEC = make_spec("continuous", size=4)
DISCOUNT, RATE, POLYAK, SCALE, NUMBER = 0.9, 0.01, 0.1, 2.0, 3


def learner(name, **settings):
    given = {"learning_rate": RATE, "polyak": POLYAK, "num_critics": NUMBER}
    return build_algorithm(name, **given | settings)


def ensemble(seed):
    drawn = [random_network((6, 8, 1), seed=100 * seed + i) for i in range(NUMBER)]
    return tuple(
        {
            "weight": torch.stack([layer["weight"] for layer in several]),
            "bias": torch.stack([layer["bias"] for layer in several]).unsqueeze(1),
        }
        for several in zip(*drawn, strict=True)
    )


def modules_of(critics):
    return [
        as_module(tuple({"weight": x["weight"][i], "bias": x["bias"][i, 0]} for x in critics))
        for i in range(NUMBER)
    ]


def diversity_by_pairs(critics, batch):
    """Return the cosine of the slopes of every pair of critics, summed, by loops."""
    slopes = []
    for critic in critics:
        action = batch.action.clone().requires_grad_()
        total = value_of(critic, batch.observation, action).sum()
        slopes.append(torch.autograd.grad(total, action, create_graph=True)[0])
    pairs = [(i, j) for i in range(NUMBER) for j in range(NUMBER) if i != j]
    # A critic whose units are all off has no slope, and no direction.
    unit = [slope / slope.norm(dim=-1, keepdim=True).clamp_min(1e-10) for slope in slopes]
    return sum((unit[i] * unit[j]).sum(-1) for i, j in pairs) / (NUMBER - 1)


@pytest.mark.parametrize("name", ["sac_n", "edac"])
def test_ten_updates_are_those_of_plain_torch(name):
    algorithm = learner(name, **({"diversity": 2.0} if name == "edac" else {}))
    state = new_soft_learner(SCALE, (ensemble(1), ensemble(2)))
    policy, temperature = as_module(state.actor.network), EntropyWeight(state.actor).log
    fast, targets = modules_of(state.critics), modules_of(state.target_critics)
    actor_optimizer = torch.optim.Adam(policy.parameters(), lr=RATE)
    critic_optimizer = torch.optim.Adam([p for c in fast for p in c.parameters()], lr=RATE)
    weight_optimizer = torch.optim.Adam([temperature], lr=RATE)
    for index in range(10):
        batch = random_batch(SPEC, 12, index)
        noise = uniform(algorithm.noise_shapes(SPEC, 12), index)
        state, metrics = algorithm.update(state, None, batch, noise, 0)
        weight = temperature.exp().detach()
        with torch.no_grad():
            following, density = squashed(policy, batch.next_observation, noise["target"])
            values = [value_of(c, batch.next_observation, following) for c in targets]
            # The entropy's sign: what is likely is worth less.
            value = torch.stack(values).amin(0) - weight * density
            target = SCALE * batch.reward + DISCOUNT * (1 - batch.terminated) * value
        action, density = squashed(policy, batch.observation, noise["actor"])
        values = torch.stack([value_of(c, batch.observation, action) for c in fast])
        actor_loss = mean_of(weight * density - values.amin(0), batch)
        errors = sum((value_of(c, batch.observation, batch.action) - target) ** 2 for c in fast)
        if name == "edac":
            penalty = mean_of(2.0 * diversity_by_pairs(fast, batch), batch)
            assert metrics["penalty"].item() == pytest.approx(penalty.item(), rel=1e-6)
        else:
            penalty = 0.0
        entropy = -mean_of(density, batch).detach()
        step(actor_optimizer, actor_loss)
        step(critic_optimizer, mean_of(errors, batch) + penalty)
        step(weight_optimizer, temperature * (entropy + 2))
        for old, new in zip(targets, fast, strict=True):
            follow(old, new, POLYAK)
    same_weights(state.actor.network, policy, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(state.actor.log_entropy_weight, temperature.detach())
    for found, modules in ((state.critics, fast), (state.target_critics, targets)):
        for mine, theirs in zip(modules_of(found), modules, strict=True):
            for left, right in zip(mine.parameters(), theirs.parameters(), strict=True):
                torch.testing.assert_close(left, right, rtol=1e-6, atol=1e-7)


def test_the_minimum_over_more_critics_is_lower_by_the_bias_of_normal_minima():
    generator = torch.Generator().manual_seed(0)
    observation, action = (torch.randn(400, n, generator=generator) for n in (4, 2))
    spec = make_spec("continuous", size=4)
    found = {}
    for number in (2, 10, 50):
        critics = [ensembles.ensemble(spec, (64,), generator, number) for _ in range(40)]
        values = torch.stack([ensembles.values(c, observation, action) for c in critics])
        spread = values.std((0, 1))
        found[number] = ((values.mean((0, 1)) - values.amin(1).mean(0)) / spread).mean().item()
    # Of N independent normal numbers: .564, 1.539, 2.249 standard deviations.
    for number, expected in zip(found, (0.564, 1.539, 2.249), strict=True):
        assert found[number] == pytest.approx(expected, abs=0.08)
        assert found[number] < math.sqrt(2 * math.log(number))


def test_diversity_drives_slopes_apart():
    rng = torch.Generator().manual_seed(0)
    critics = ensembles.ensemble(SPEC, (32,), rng, 4)
    # All alike at first.
    critics = tuple({k: x[:1].expand(4, *x.shape[1:]).clone() for k, x in layer.items()}
                    for layer in critics)  # fmt: skip
    batch = random_batch(SPEC, 32, dtype=torch.float32)
    algorithm = learner("edac", num_critics=4, diversity=1.0)
    # Four of length 1: 4 x 3 pairs, divided by 3.
    assert algorithm.penalty(critics, batch).item() == pytest.approx(4, abs=1e-4)
    noise = torch.Generator().manual_seed(1)
    critics = tuple({k: x + 0.05 * torch.randn(x.shape, generator=noise) for k, x in layer.items()}
                    for layer in critics)  # fmt: skip
    before = algorithm.penalty(critics, batch).item()
    for _ in range(100):
        slope = torch.func.grad(lambda c: algorithm.penalty(c, batch))(critics)
        critics = tuple(
            {k: layer[k] - 0.05 * by[k] for k in layer}
            for layer, by in zip(critics, slope, strict=True)
        )
    # The least there is, where the sum of four directions vanishes.
    assert -4 / 3 - 1e-4 <= algorithm.penalty(critics, batch).item() < before - 1


def test_a_single_critic_has_nothing_to_be_kept_apart_from():
    with pytest.raises(ConfigError, match="2 or more"):
        learner("edac", num_critics=1)
