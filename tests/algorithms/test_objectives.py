"""Loss terms, against `torch.nn.functional`, numpy and numbers worked out by hand."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from algorithms import objectives
from tests.support.builders import make_spec, random_batch

ERRORS = [-300.0, -2.0, -1.001, -1.0, -0.999, -0.2, 0.0, 1e-6, 0.5, 1.0, 1.5, 1e6]


def test_huber_is_that_of_torch():
    error = torch.tensor(ERRORS, dtype=torch.float64)
    expected = functional.huber_loss(error, torch.zeros_like(error), reduction="none")
    torch.testing.assert_close(objectives.huber(error), expected)


def test_the_gradient_of_huber_is_the_error_clipped_to_one():
    error = torch.tensor(ERRORS, dtype=torch.float64)
    gradient = torch.func.grad(lambda e: objectives.huber(e).sum())(error)
    torch.testing.assert_close(gradient, error.clamp(-1, 1))


def test_negative_log_likelihood_is_the_cross_entropy_of_torch():
    logits = torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    action = torch.arange(20) % 4
    expected = functional.cross_entropy(logits, action, reduction="none")
    torch.testing.assert_close(objectives.negative_log_likelihood(logits, action), expected)


def test_negative_log_likelihood_survives_large_logits():
    logits = torch.tensor([[1e4, -1e4, 0.0]])
    loss = objectives.negative_log_likelihood(logits, torch.tensor([1]))
    torch.testing.assert_close(loss, torch.tensor([2e4]))


def test_the_value_at_an_action_is_read_row_by_row():
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    picked = objectives.at_action(values, torch.tensor([2, 0]))
    assert torch.equal(picked, torch.tensor([3.0, 4.0]))


def test_weighted_mean_is_numpys_average():
    rng = np.random.default_rng(0)
    values, weight = rng.normal(size=30), rng.random(30)
    mean = objectives.weighted_mean(torch.tensor(values), torch.tensor(weight))
    assert mean.item() == pytest.approx(np.average(values, weights=weight))


def test_padding_does_not_change_a_weighted_mean():
    values, weight = torch.tensor([1.0, 2.0, 6.0]), torch.ones(3)
    padded = torch.cat([values, torch.tensor([1e6, -3.0])])
    mean = objectives.weighted_mean(padded, torch.cat([weight, torch.zeros(2)]))
    assert mean == objectives.weighted_mean(values, weight) == 3.0


def test_a_weighted_mean_of_nothing_is_zero():
    assert objectives.weighted_mean(torch.tensor([5.0, 7.0]), torch.zeros(2)) == 0.0


def test_small_weights_are_weights():
    mean = objectives.weighted_mean(torch.tensor([5.0, 7.0]), torch.tensor([1e-6, 3e-6]))
    torch.testing.assert_close(mean, torch.tensor(6.5))


def test_termination_stops_the_bootstrap_and_truncation_does_not():
    batch = random_batch(make_spec(), 3)._replace(
        reward=torch.tensor([1.0, 2.0, 3.0]),
        # The first terminated; the others, one of them cut by a time limit, did not.
        terminated=torch.tensor([1.0, 0.0, 0.0]),
    )
    target = objectives.bellman_target(batch, torch.tensor([10.0, 10.0, -4.0]), 0.5)
    torch.testing.assert_close(target, torch.tensor([1.0, 7.0, 1.0]))
