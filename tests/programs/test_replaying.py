"""Captured functions: what goes in and comes out has its place, whatever function it is."""

import pytest
import torch

from bench.programs.agreement import identical
from bench.programs.replaying import Replayed, cuda_graphs
from tests.support.graphs import replay_here

CAPTURES = [
    pytest.param("cpu", replay_here, id="cpu"),
    pytest.param("cuda", cuda_graphs(), id="cuda", marks=pytest.mark.gpu),
]
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


def test_part_of_it_on_another_device_is_refused():
    with pytest.raises(RuntimeError, match="another device"):
        Replayed(lambda x: [x + 1, torch.zeros(2, device="meta")], [torch.ones(2)], replay_here)


class Invalidated:
    """What torch does where an operation cannot be captured: ending the capture fails, too."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        raise RuntimeError("capture was invalidated")


def test_what_cannot_be_captured_is_named_and_not_what_follows_from_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "graph", Invalidated)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)

    def waits():
        raise RuntimeError("operation not permitted")

    with pytest.raises(RuntimeError, match="operation not permitted"):
        cuda_graphs()(waits)
    with pytest.raises(RuntimeError, match="invalidated"):
        cuda_graphs()(lambda: None)


def test_tensors_are_identical_bit_by_bit():
    x = torch.tensor([[1.0, torch.nan], [0.0, torch.inf]])
    assert identical([x, x.isnan(), x.sum()], [x.clone(), x.isnan(), x.sum()])
    for other in (-x, x[:1], x.flatten(), x.double(), x + 1e-7):
        assert not identical([x], [other])
    with pytest.raises(ValueError, match="shorter"):
        identical([x, x], [x])
