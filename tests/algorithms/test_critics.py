"""Twin critics: two networks of equal shape that know nothing of each other."""

import torch

from algorithms import critics, networks
from tests.support.builders import make_spec

SPEC = make_spec("continuous", size=4)


def drawn(hidden_sizes=(8, 8)):
    return critics.twin_critics(SPEC, hidden_sizes, torch.Generator().manual_seed(0))


def inputs(n=6):
    draw = torch.Generator().manual_seed(1)
    return torch.randn(n, 4, generator=draw), torch.randn(n, 2, generator=draw)


def test_they_are_two_networks_drawn_after_each_other():
    generator = torch.Generator().manual_seed(0)
    alone = [networks.feed_forward((6, 8, 8, 1), generator) for _ in range(2)]
    expected = torch.stack([networks.apply(one, torch.cat(inputs(), -1))[:, 0] for one in alone])
    torch.testing.assert_close(critics.values(drawn(), *inputs()), expected)
    assert not torch.equal(expected[0], expected[1])


def test_the_first_alone_is_the_first_of_both():
    both = critics.values(drawn(), *inputs())
    first = critics.values(critics.first(drawn()), *inputs())
    assert first.shape == (6,)
    torch.testing.assert_close(first, both[0])


def test_either_has_the_initial_scale_of_a_linear_layer():
    for size_in, layer in zip((6, 400), drawn((400,)), strict=True):
        for twin in range(2):
            for part in ("weight", "bias"):
                largest = layer[part][twin].abs().max() * size_in**0.5
                assert largest <= 1
            assert layer["weight"][twin].abs().max() * size_in**0.5 > 0.9


def test_neither_gets_a_gradient_from_the_other():
    gradient = torch.func.grad(lambda c: critics.values(c, *inputs())[0].sum())(drawn())
    for layer in gradient:
        assert layer["weight"][0].abs().sum() > 0
        assert layer["weight"][1].abs().sum() == 0
