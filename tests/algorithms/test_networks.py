"""Networks as nested tuples of tensors, against `torch.nn`."""

import math

import pytest
import torch
from scipy import stats

from algorithms import networks
from tests.support.builders import as_module, assert_close, make_spec, random_network, same

VECTORS = make_spec("vector", size=6, num_actions=3, v_min=-7.0, v_max=5.0)
STATES = make_spec("discrete", size=6, num_actions=3, v_min=-7.0, v_max=5.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sizes", [(4, 3), (4, 8, 3), (4, 8, 5, 2)])
def test_the_output_is_that_of_a_torch_module_with_the_same_weights(sizes):
    network = random_network(sizes)
    x = torch.randn(10, 4, generator=generator(), dtype=torch.float64)
    torch.testing.assert_close(networks.apply(network, x), as_module(network)(x).detach())


def test_the_last_layer_can_be_negative():
    x = torch.randn(50, 4, generator=generator(), dtype=torch.float64)
    assert (networks.apply(random_network((4, 8, 3)), x) < 0).any()


def test_inputs_may_have_any_leading_axes():
    network = random_network((4, 8, 3))
    x = torch.randn(2, 5, 4, generator=generator(), dtype=torch.float64)
    output = networks.apply(network, x)
    assert output.shape == (2, 5, 3)
    torch.testing.assert_close(output[1, 2], networks.apply(network, x[1, 2]))


@pytest.mark.parametrize("sizes", [(4, 3), (4, 8, 3)])
@pytest.mark.parametrize("shape", [(), (10,), (2, 5)])
def test_a_numbered_state_is_as_good_as_its_unit_vector(sizes, shape):
    network = random_network(sizes)
    states = torch.randint(4, shape, generator=generator())
    vectors = torch.eye(4, dtype=torch.float64)[states]

    def outputs(network, x):
        return networks.apply(network, x)

    torch.testing.assert_close(outputs(network, states), outputs(network, vectors))
    slopes = [
        torch.func.grad(lambda n, x: (outputs(n, x) ** 2).sum())(network, x)
        for x in (states, vectors)
    ]
    assert_close(*slopes)


@pytest.mark.parametrize("size_in", [1, 4, 100])
def test_weights_start_uniform_at_the_scale_of_torch_linear(size_in):
    weights = networks.linear(size_in, 4000 // size_in, generator())["weight"].flatten()
    torch.manual_seed(0)
    expected = torch.nn.Linear(size_in, 4000 // size_in).weight.detach().flatten()
    bound = 1 / math.sqrt(size_in)
    assert weights.abs().max() <= bound
    assert weights.abs().max() > 0.99 * bound
    assert stats.ks_2samp(weights, expected).pvalue > 1e-4


def test_biases_start_uniform_at_the_scale_of_torch_linear():
    biases = networks.linear(16, 4000, generator())["bias"]
    torch.manual_seed(0)
    expected = torch.nn.Linear(16, 4000).bias.detach()
    assert biases.abs().max() <= 0.25
    assert stats.ks_2samp(biases, expected).pvalue > 1e-4


@pytest.mark.parametrize("spec", [STATES, VECTORS], ids=["states", "vectors"])
def test_hidden_layers_have_the_sizes_asked_for(spec):
    network = networks.action_network(spec, (8, 5), generator())
    shapes = [(tuple(layer["weight"].shape), tuple(layer["bias"].shape)) for layer in network]
    assert shapes == [((6, 8), (8,)), ((8, 5), (5,)), ((5, 3), (3,))]


def test_vectors_without_hidden_layers_give_a_linear_function():
    (layer,) = networks.action_network(VECTORS, (), generator())
    assert layer["weight"].shape == (6, 3)
    assert layer["weight"].std() > 0
    assert layer["bias"].shape == (3,)


@pytest.mark.parametrize("value", [0.0, -7.0, 5.0])
def test_a_table_starts_exactly_at_the_initial_value(value):
    table = networks.action_network(STATES, (), generator(), value)
    assert torch.equal(networks.apply(table, torch.arange(6)), torch.full((6, 3), value))


def test_a_table_has_no_bias():
    (layer,) = networks.action_network(STATES, (), generator(), 5.0)
    assert set(layer) == {"weight"}


def test_an_update_in_one_state_of_a_table_moves_no_other():
    table = networks.action_network(STATES, (), generator(), 5.0)

    def error(table):
        return ((networks.apply(table, torch.tensor(2))[1] - 1) ** 2).sum()

    (gradient,) = torch.func.grad(error)(table)
    moved = gradient["weight"] != 0
    assert moved[2, 1]
    assert moved.sum() == 1


def test_the_initial_value_shifts_every_output_of_a_network():
    plain = networks.action_network(VECTORS, (8,), generator())
    shifted = networks.action_network(VECTORS, (8,), generator(), -7.0)
    x = torch.randn(5, 6, generator=generator())
    torch.testing.assert_close(networks.apply(shifted, x), networks.apply(plain, x) - 7.0)


@pytest.mark.parametrize(("name", "value"), [("zero", 0.0), ("v_min", -7.0), ("v_max", 5.0)])
def test_initial_values_by_name(name, value):
    assert networks.initial_value(STATES, name) == value


def test_the_generator_decides_the_network_and_no_global_one_is_touched():
    before = torch.random.get_rng_state()
    first = networks.action_network(VECTORS, (8,), generator(1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(first, networks.action_network(VECTORS, (8,), generator(1)))
    assert not same(first, networks.action_network(VECTORS, (8,), generator(2)))


def test_the_slow_copy_moves_by_the_polyak_share_of_the_distance():
    slow, fast = random_network((4, 8, 3), seed=0), random_network((4, 8, 3), seed=1)
    moved = networks.polyak_average(slow, fast, 0.3)
    for new, old, goal in zip(moved, slow, fast, strict=True):
        for name in ("weight", "bias"):
            torch.testing.assert_close(new[name], 0.7 * old[name] + 0.3 * goal[name])


def test_a_slow_copy_with_rate_one_is_a_copy():
    slow, fast = random_network((4, 8, 3), seed=0), random_network((4, 8, 3), seed=1)
    for new, goal in zip(networks.polyak_average(slow, fast, 1.0), fast, strict=True):
        torch.testing.assert_close(new["weight"], goal["weight"])
