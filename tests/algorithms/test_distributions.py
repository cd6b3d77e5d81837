"""Policies of continuous actions: densities, samples and noise against torch and integrals."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from algorithms.distributions import (
    LARGEST_ACTION,
    LOG_STD_RANGE,
    Categorical,
    ClippedNormal,
    Deterministic,
    Greedy,
    TanhNormal,
    is_stochastic,
    standard_normal,
)


def random_policy(shape=(5, 3), seed=0):
    draw = torch.Generator().manual_seed(seed)
    mean, log_std = torch.randn(2, *shape, generator=draw, dtype=torch.float64)
    return TanhNormal(mean, 0.5 * log_std - 0.5)


def of_torch(policy):
    normal = TransformedDistribution(
        Normal(policy.mean, policy.log_std.exp()), TanhTransform(cache_size=0)
    )
    return Independent(normal, 1)


def test_the_log_density_is_that_of_torch():
    policy = random_policy()
    action = (2 * torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) - 1).double()
    expected = of_torch(policy).log_prob(action)
    torch.testing.assert_close(policy.log_prob(action), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.3), (-1.5, 0.5), (2.0, 0.2)])
def test_the_density_integrates_to_one_and_gives_the_moments_of_samples(mean, std):
    policy = TanhNormal(torch.full((1,), mean).double(), torch.full((1,), math.log(std)).double())
    action = torch.linspace(-LARGEST_ACTION, LARGEST_ACTION, 200_001, dtype=torch.float64)
    density = policy.log_prob(action.unsqueeze(-1)).exp()
    # What lies nearer to a bound is left out.
    assert torch.trapezoid(density, action).item() == pytest.approx(1, abs=5e-3)
    middle = (torch.arange(200_000).double() + 0.5) / 200_000
    samples = policy.sample(middle.unsqueeze(-1)).squeeze(-1)
    first = torch.trapezoid(density * action, action).item()
    assert samples.mean().item() == pytest.approx(first, abs=5e-3)


def test_the_gradients_of_the_log_density_are_those_of_torch():
    action = (2 * torch.rand(5, 3, generator=torch.Generator().manual_seed(1)) - 1).double()
    found = []
    for log_prob in (TanhNormal.log_prob, lambda p, a: of_torch(p).log_prob(a)):
        leaves = [leaf.clone().requires_grad_() for leaf in random_policy()]
        log_prob(TanhNormal(*leaves), action).sum().backward()
        found.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("action", [1.0, -1.0, 1.5, -1.0001, 0.9999])
def test_an_action_at_a_bound_or_beyond_has_the_density_of_the_nearest_within(action, dtype):
    policy = TanhNormal(torch.zeros(1, dtype=dtype), torch.zeros(1, dtype=dtype))
    nearest = torch.tensor([math.copysign(LARGEST_ACTION, action)], dtype=dtype)
    found = policy.log_prob(torch.tensor([action], dtype=dtype))
    assert torch.isfinite(found)
    assert found == policy.log_prob(nearest)


@pytest.mark.parametrize("mean", [-30.0, 30.0])
def test_far_out_means_have_finite_densities_and_gradients(mean):
    leaf = torch.tensor([mean], requires_grad=True)
    log_prob = TanhNormal(leaf, torch.zeros(1)).log_prob(torch.tensor([0.5]))
    log_prob.backward()
    assert torch.isfinite(log_prob)
    assert torch.isfinite(leaf.grad).all()


def test_samples_are_differentiable_in_mean_and_log_std():
    noise = torch.rand(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def sample(mean, log_std):
        return TanhNormal(mean, log_std).sample(noise)

    leaves = [leaf.requires_grad_() for leaf in random_policy()]
    assert torch.autograd.gradcheck(sample, leaves)


def test_samples_come_with_their_densities_even_at_the_bounds():
    noise = torch.rand(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    policy = random_policy()
    action, log_prob = policy.sample_with_log_prob(noise)
    assert torch.equal(action, policy.sample(noise))
    torch.testing.assert_close(log_prob, of_torch(policy).log_prob(action), rtol=1e-9, atol=1e-9)
    # So far out that the action is 1 and says nothing of where it was before.
    far = TanhNormal(torch.tensor([40.0]).double(), torch.zeros(1).double())
    action, log_prob = far.sample_with_log_prob(torch.tensor([0.5]).double())
    assert action == 1
    # log(1 - tanh(x)^2) is nearly log 4 - 2 x.
    expected = -0.5 * math.log(2 * math.pi) - (math.log(4) - 80)
    assert log_prob.item() == pytest.approx(expected)


def test_a_clipped_normal_is_a_normal_whose_samples_are_clipped():
    mean = torch.tensor([[0.9, -0.2], [0.0, 0.5]]).double()
    policy = ClippedNormal(mean, torch.tensor([-0.5, -1.0]).double().expand(2, 2))
    assert policy.mode() is mean
    action = torch.tensor([[1.0, -1.0], [0.3, 0.2]]).double()
    normal = Normal(mean, policy.log_std.exp())
    torch.testing.assert_close(policy.log_prob(action), normal.log_prob(action).sum(-1))
    noise = torch.rand(2, 2, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(policy.sample(noise), normal.icdf(noise).clamp(-1, 1))
    assert policy.sample(torch.full((2, 2), 0.999).double()).max() == 1
    assert is_stochastic(policy)


def test_normal_noise_is_the_inverse_distribution_of_uniform_noise():
    uniform = torch.linspace(0.001, 0.999, 99, dtype=torch.float64)
    normal = Normal(torch.zeros(()).double(), torch.ones(()).double())
    torch.testing.assert_close(standard_normal(uniform), normal.icdf(uniform))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_uniform_number_gives_infinite_noise(dtype):
    ends = torch.tensor([0.0, 2**-24, 1 - 2**-24, 1.0], dtype=dtype)
    noise = standard_normal(ends)
    assert torch.isfinite(noise).all()
    assert noise[0] == -noise[-1]
    assert 5 < noise[-1] < 5.5


def test_the_mode_is_the_tanh_of_the_mean_and_a_deterministic_action_itself():
    policy = random_policy()
    torch.testing.assert_close(policy.mode(), policy.mean.tanh())
    # Half of the samples lie on either side.
    torch.testing.assert_close(policy.sample(torch.full((5, 3), 0.5).double()), policy.mode())
    action = torch.tensor([[0.1, -1.0]])
    assert Deterministic(action).mode() is action


def test_a_log_std_is_brought_into_range_and_as_wide_as_the_mean():
    policy = TanhNormal.bounded(torch.zeros(4, 3), torch.tensor([-9.0, 0.5, 9.0]))
    assert policy.log_std.shape == (4, 3)
    assert policy.log_std[2].tolist() == [LOG_STD_RANGE[0], 0.5, LOG_STD_RANGE[1]]


def test_who_samples_is_stochastic():
    numbers = torch.zeros(2)
    stochastic = (Categorical(numbers), TanhNormal(numbers, numbers))
    deterministic = (Greedy(numbers), Deterministic(numbers))
    assert [is_stochastic(p) for p in (*stochastic, *deterministic)] == [True, True, False, False]


def test_noise_of_a_run_is_the_same_alone_and_stacked():
    uniform = torch.rand(3, 7, generator=torch.Generator().manual_seed(0))
    stacked = torch.func.vmap(standard_normal)(uniform)
    alone = torch.stack([standard_normal(row) for row in uniform])
    np.testing.assert_array_equal(stacked, alone)
