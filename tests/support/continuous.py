"""Twin critics and optimisers of plain torch, for what learns continuous actions."""

import torch

from tests.support.builders import as_module, random_network


def random_twins(sizes, seed=0, dtype=torch.float64):
    """Return two networks side by side, as `algorithms.critics` makes them."""
    pair = [random_network(sizes, seed=100 * seed + twin, dtype=dtype) for twin in range(2)]
    return tuple(
        {
            "weight": torch.stack([one["weight"], other["weight"]]),
            "bias": torch.stack([one["bias"], other["bias"]]).unsqueeze(1),
        }
        for one, other in zip(*pair, strict=True)
    )


def twin_modules(critics):
    """Return both critics as modules."""
    return [
        as_module(tuple({"weight": x["weight"][i], "bias": x["bias"][i, 0]} for x in critics))
        for i in range(2)
    ]


def same_twins(critics, modules, **tolerance):
    """Assert that both critics hold the numbers of two modules."""
    for mine, theirs in zip(twin_modules(critics), modules, strict=True):
        for left, right in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(left, right, **tolerance)


def value_of(module, observation, action):
    """Return a critic module's values ``[batch]``."""
    return module(torch.cat([observation, action], 1)).squeeze(1)


def mean_of(values, batch):
    """Return the weighted mean over a batch."""
    return (values * batch.weight).sum() / batch.weight.sum()


def step(optimizer, loss):
    """Take a step of a torch optimiser."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def follow(slow, fast, polyak):
    """Move a module's parameters towards another's."""
    with torch.no_grad():
        for old, new in zip(slow.parameters(), fast.parameters(), strict=True):
            old.copy_((1 - polyak) * old + polyak * new)


def uniform(shapes, seed, dtype=torch.float64):
    """Return uniform noise of the shapes, by name."""
    draw = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=draw, dtype=dtype) for name, shape in shapes.items()}


def normal_of(noise):
    """Return the normal numbers that uniform noise stands for."""
    return torch.distributions.Normal(torch.zeros(()).to(noise), 1.0).icdf(noise)


def squashed(module, observation, noise):
    """Return actions of a tanh-normal policy ``[..., size]`` and their log-densities by torch."""
    mean, log_std = module(observation).chunk(2, -1)
    std = log_std.clamp(-5, 2).exp()
    before = mean + std * normal_of(noise)
    density = torch.distributions.Normal(mean, std).log_prob(before)
    slope = torch.distributions.transforms.TanhTransform().log_abs_det_jacobian(before, None)
    return before.tanh(), (density - slope).sum(-1)
