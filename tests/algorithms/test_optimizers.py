"""Adam as a pure function, against `torch.optim.Adam`."""

import pytest
import torch
from torch.utils._pytree import tree_leaves, tree_map

from algorithms.optimizers import adam, adam_init
from tests.support.builders import same, tensors


def nested_parameters(dtype=torch.float32):
    draw = torch.Generator().manual_seed(0)

    def tensor(*shape):
        return torch.randn(shape, generator=draw, dtype=dtype)

    return {"a": tensor(3), "b": ({"weight": tensor(2, 3), "bias": tensor()}, tensor(4))}


def gradients(parameters, steps, scale, seed=1):
    """Return one tree of noise per step; every third step's is zero in part."""
    draw = torch.Generator().manual_seed(seed)

    def noise(leaf):
        return scale * torch.randn(leaf.shape, generator=draw, dtype=leaf.dtype)

    trees = [tree_map(noise, parameters) for _ in range(steps)]
    for tree in trees[::3]:
        tree["a"] = torch.zeros_like(tree["a"])
    return trees


# Gradients as small as epsilon tell where in the formula epsilon stands.
@pytest.mark.parametrize("scale", [1.0, 1e3, 1e-8])
def test_fifty_steps_are_those_of_torch(scale):
    parameters = nested_parameters()
    leaves = [leaf.clone().requires_grad_() for leaf in tree_leaves(parameters)]
    reference = torch.optim.Adam(leaves, lr=0.01)
    state = adam_init(parameters)
    for gradient in gradients(parameters, 50, scale):
        for leaf, grad in zip(leaves, tree_leaves(gradient), strict=True):
            leaf.grad = grad.clone()
        reference.step()
        parameters, state = adam(gradient, state, parameters, 0.01)
    expected = [leaf.detach() for leaf in leaves]
    torch.testing.assert_close(tree_leaves(parameters), expected, rtol=1e-5, atol=2e-6)


def test_the_first_step_is_as_long_as_the_learning_rate():
    parameters = {"a": torch.tensor([1.0, 1.0, 1.0])}
    gradient = {"a": torch.tensor([5.0, -0.01, 0.0])}
    updated, _ = adam(gradient, adam_init(parameters), parameters, 0.1)
    torch.testing.assert_close(updated["a"], torch.tensor([0.9, 1.1, 1.0]))


def test_the_moments_are_those_of_torch():
    parameter = torch.ones(3)
    leaf = parameter.clone().requires_grad_()
    reference = torch.optim.Adam([leaf])
    state = adam_init({"a": parameter})
    for step in range(4):
        leaf.grad = torch.tensor([1.0, -2.0, 0.5]) * (step + 1)
        reference.step()
        _, state = adam({"a": leaf.grad}, state, {"a": parameter}, 0.001)
    kept = reference.state[leaf]
    torch.testing.assert_close(state.first, kept["exp_avg"])
    torch.testing.assert_close(state.second, kept["exp_avg_sq"])
    assert state.num_updates == kept["step"] == 4


def test_it_starts_without_memory():
    state = adam_init(nested_parameters())
    count = sum(leaf.numel() for leaf in tensors(nested_parameters()))
    assert state.first.shape == state.second.shape == (count,)
    assert all((leaf == 0).all() for leaf in tensors(state))


def test_nothing_it_was_given_changes():
    parameters = nested_parameters()
    gradient = gradients(parameters, 1, 1.0, seed=2)[0]
    state = adam(gradient, adam_init(parameters), parameters, 0.1)[1]
    given = (gradient, state, parameters)
    before = tree_map(torch.clone, given)
    adam(*given, 0.1)
    assert same(given, before)


def test_every_run_has_its_own_learning_rate():
    rates = [0.1, 0.001, 0.03]
    draw = torch.Generator().manual_seed(0)
    start = torch.randn(3, 5, generator=draw)
    noise = [torch.randn(3, 5, generator=draw) for _ in range(10)]
    stacked = ({"w": start}, torch.func.vmap(adam_init)({"w": start}))
    for gradient in noise:
        stacked = torch.func.vmap(adam)(
            {"w": gradient}, stacked[1], stacked[0], torch.tensor(rates)
        )
    for run, rate in enumerate(rates):
        alone = ({"w": start[run]}, adam_init({"w": start[run]}))
        for gradient in noise:
            alone = adam({"w": gradient[run]}, alone[1], alone[0], rate)
        torch.testing.assert_close(stacked[0]["w"][run], alone[0]["w"])
