"""Kernels: their formulas pair by pair, and features whose inner products are the kernel."""

import math

import numpy as np
import pytest
import torch

from algorithms.stackelberg.game import kernels

FORMULAS = {
    "gaussian": lambda d: math.exp(-d * d / 2),
    "laplacian": lambda d: math.exp(-d),
    "inverse_multiquadric": lambda d: 1 / math.sqrt(1 + d * d),
    "delta": lambda d: float(d == 0),
}
BANDWIDTH = 1.7


def points(n=12, size=3, seed=0):
    """Return observations of which two are equal, and actions."""
    draw = torch.Generator().manual_seed(seed)
    observation = torch.randn(n, size, generator=draw, dtype=torch.float64)
    observation[1] = observation[0]
    action = torch.randint(2, (n,), generator=draw)
    action[1] = action[0]
    return observation, action


@pytest.mark.parametrize("kernel", FORMULAS)
def test_a_gram_matrix_is_the_formula_at_every_pair(kernel):
    observation, action = points()
    found = kernels.gram(kernel, observation, action, BANDWIDTH)
    for i in range(12):
        for j in range(12):
            distance = (observation[i] - observation[j]).norm().item() / BANDWIDTH
            same = float(action[i] == action[j])
            assert found[i, j].item() == pytest.approx(same * FORMULAS[kernel](distance), abs=1e-14)


@pytest.mark.parametrize("kernel", FORMULAS)
def test_a_gram_matrix_is_symmetric_and_positive(kernel):
    found = kernels.gram(kernel, *points(40, seed=1), BANDWIDTH)
    assert torch.equal(found, found.T)
    assert torch.linalg.eigvalsh(found).min() > -1e-12


@pytest.mark.parametrize("kernel", FORMULAS)
def test_states_are_as_far_apart_as_their_encodings(kernel):
    eye = torch.eye(5, dtype=torch.float64)
    expected = kernels.gram(kernel, eye, torch.zeros(5), BANDWIDTH)
    torch.testing.assert_close(kernels.state_gram(kernel, 5, BANDWIDTH, eye), expected)


@pytest.mark.parametrize("kernel", kernels.SMOOTH)
def test_random_features_multiply_to_the_kernel(kernel):
    observation, _ = points()
    draw = torch.Generator().manual_seed(2)
    drawn = kernels.random_frequencies(kernel, 3, 40_000, draw)
    features = kernels.random_features(observation, *drawn, BANDWIDTH)
    expected = kernels.gram(kernel, observation, torch.zeros(12), BANDWIDTH)
    np.testing.assert_allclose(features @ features.T, expected, atol=0.03)


def test_kernels_differ_in_their_features():
    drawn = [
        kernels.random_frequencies(kernel, 3, 5, torch.Generator().manual_seed(0))[0]
        for kernel in kernels.SMOOTH
    ]
    assert not torch.allclose(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])


@pytest.mark.parametrize("kernel", ["feature", "normalized_feature", "normalized_delta"])
def test_a_kernel_that_is_no_function_of_distance_says_so(kernel):
    with pytest.raises(ValueError, match=f"kernel={kernel} is no function of a distance"):
        kernels.gram(kernel, *points(), BANDWIDTH)
