"""Captured functions: what goes in and comes out has its place, whatever function it is."""

import pytest
import torch

from bench.programs.replaying import Replayed, cuda_graph
from tests.support.graphs import replay_here

CAPTURES = [
    pytest.param("cpu", replay_here, id="cpu"),
    pytest.param(
        "cuda", cuda_graph, id="cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
        ],
    ),
]  # fmt: skip
everywhere = pytest.mark.parametrize(("device", "capture"), CAPTURES)


@everywhere
def test_it_gives_what_the_function_gives_of_any_inputs(device, capture):
    def function(x, y, whole):
        return [x * y.exp(), (x - y)[:, 1], whole + 1]

    def inputs(seed):
        drawn = torch.Generator().manual_seed(seed)
        x, y = (torch.randn(3, 4, generator=drawn).to(device) for _ in "ab")
        return x, y, torch.randint(9, (3,), generator=drawn).to(device)

    replayed = Replayed(function, inputs(0), capture)
    for seed in (0, 1, 2):
        for found, expected in zip(replayed(*inputs(seed)), function(*inputs(seed)), strict=True):
            assert torch.equal(found, expected)


@everywhere
def test_outputs_that_go_in_again_may_have_changed_places(device, capture):
    """A slow copy that becomes what it follows, say, is returned as one of the inputs."""

    def function(x, y):
        return [y, x, x.view(2, 1)[:, 0], x + y]

    x, y = (torch.tensor(values, device=device) for values in ([1.0, 2.0], [10.0, 20.0]))
    replayed = Replayed(function, (x, y), capture)
    once = replayed(x, y)
    assert [out.tolist() for out in once] == [[10, 20], [1, 2], [1, 2], [11, 22]]
    assert [out.tolist() for out in replayed(*once[:2])] == [[1, 2], [10, 20], [10, 20], [11, 22]]
    assert (x.tolist(), y.tolist()) == ([1, 2], [10, 20])


@everywhere
def test_what_python_does_is_done_once(device, capture):
    calls = []

    def function(x):
        calls.append(x)
        return [x + len(calls)]

    replayed = Replayed(function, [torch.zeros(2, device=device)], capture)
    assert replayed(torch.ones(2, device=device))[0].tolist() == [2, 2]
    assert len(calls) == 1
