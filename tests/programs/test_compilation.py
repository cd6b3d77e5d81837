"""When an update is traced or compiled, and that it changes nothing but speed."""

import logging
import os
import shutil

import pytest
import torch

from bench.programs import compilation
from bench.programs.compilation import WORTH_COMPILING, WORTH_TRACING, chosen
from tests.support.builders import assert_close, build_algorithm, make_cohort, random_dataset, train

LONG, MIDDLE, SHORT = WORTH_COMPILING, WORTH_COMPILING - 1, WORTH_TRACING - 1


def at_hand(monkeypatch, *, compilers=(), gpu=False, triton=True):
    """Pretend that exactly these tools are on this machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(compilation, "find_spec", lambda name: name if triton else None)
    found = {name: f"/usr/bin/{name}" for name in compilers}
    monkeypatch.setattr(shutil, "which", found.get)


@pytest.mark.parametrize("compilers", [(), ("g++",)])
@pytest.mark.parametrize("num_updates", [1, LONG])
def test_on_and_off_are_obeyed_whatever_is_at_hand(monkeypatch, compilers, num_updates):
    at_hand(monkeypatch, compilers=compilers)
    assert chosen("on", num_updates) == "compiled"
    assert chosen("off", num_updates) == ("plain" if num_updates == 1 else "traced")


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_a_long_training_is_compiled_where_a_compiler_is_at_hand(monkeypatch, compiler):
    at_hand(monkeypatch, compilers=(compiler,))
    assert chosen("auto", LONG) == "compiled"


def test_a_long_training_on_a_gpu_needs_no_compiler_of_the_machine(monkeypatch):
    at_hand(monkeypatch, gpu=True)
    assert chosen("auto", LONG, device="cuda") == "compiled"
    assert chosen("auto", LONG, device="cpu") == "traced"


def test_without_triton_a_gpu_compiles_nothing_unless_told_to(monkeypatch):
    at_hand(monkeypatch, compilers=("g++",), gpu=True, triton=False)
    assert chosen("auto", LONG, device="cuda") == "traced"
    assert chosen("on", LONG, device="cuda") == "compiled"


def test_a_shorter_training_does_not_pay_for_compiling_nor_a_short_one_for_tracing(monkeypatch):
    at_hand(monkeypatch, compilers=("g++",), gpu=True)
    assert chosen("auto", MIDDLE) == "traced"
    assert chosen("auto", WORTH_TRACING) == "traced"
    assert chosen("auto", SHORT) == "plain"


def test_without_a_compiler_a_long_training_stays_as_it_is(monkeypatch):
    at_hand(monkeypatch)
    assert chosen("auto", LONG) == "traced"


def small_cohort(name="cql", **settings):
    algorithms = [
        build_algorithm(name, hidden_sizes=[8], learning_rate=rate, polyak=0.1)
        for rate in (0.01, 0.001)
    ]
    datasets = [random_dataset("vector", n, seed) for seed, n in enumerate((30, 50))]
    return make_cohort(algorithms, datasets, **settings)


def test_nothing_is_compiled_unless_asked_for(monkeypatch):
    def refuse(graph, examples):
        raise AssertionError("This was not to be compiled.")

    monkeypatch.setattr(compilation, "compile_graph", refuse)
    train(small_cohort("bc", mode="traced"), 1)
    with pytest.raises(AssertionError, match="not to be compiled"):
        train(small_cohort("bc", mode="compiled"), 1)


@pytest.mark.skipif(
    not any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++"))),
    reason="compiling needs a C++ compiler",
)
def test_a_compiled_training_equals_a_plain_one(monkeypatch):
    plain = train(small_cohort(), 30)
    compiled = train(small_cohort(mode="compiled"), 1)
    # What an update of one phase leaves is laid out as the next one wants it: no copies.
    monkeypatch.delattr(compilation, "_laid_out")
    train(compiled, 29)
    monkeypatch.undo()
    assert_close(compiled.state, plain.state, rtol=1e-4, atol=1e-5)
    assert_close(compiled.metrics, plain.metrics, rtol=1e-4, atol=1e-5)


def test_what_all_runs_share_in_memory_is_laid_out_apart(monkeypatch):
    """As a state that does not hang on the run comes out of vmap."""
    from torch import _inductor

    monkeypatch.setattr(_inductor, "compile", lambda graph, tensors, options: graph)
    graph = torch.fx.symbolic_trace(lambda x: x + 1)
    run = compilation.compile_graph(graph, [torch.zeros(1, 3).expand(2, 3)])
    assert torch.equal(run(torch.arange(6.0).view(2, 3)), torch.arange(1.0, 7).view(2, 3))


def test_along_an_axis_of_one_nothing_is_laid_out_anew():
    x = torch.zeros(1, 6, 4)[:, :3]
    assert compilation._laid_out(x, (12, 4, 1)) is x
    found = compilation._laid_out(x, (12, 1, 3))
    assert found.stride() == (12, 1, 3)
    assert torch.equal(found, x)


def test_states_of_one_run_that_lie_apart_are_compared_once(monkeypatch):
    from torch import _inductor

    monkeypatch.setattr(_inductor, "compile", lambda graph, tensors, options: graph)
    graph = torch.fx.symbolic_trace(lambda x: x + 1)
    run, apart = compilation.compile_graph(graph, [torch.zeros(1, 3)]), torch.zeros(1, 6)[:, :3]
    assert torch.equal(run(apart), torch.ones(1, 3))
    monkeypatch.delattr(compilation, "_laid_out")
    assert torch.equal(run(apart), torch.ones(1, 3))


def test_how_a_solve_is_called_is_no_news(monkeypatch):
    from torch import _inductor

    told, logger, handler = [], logging.getLogger("torch._inductor.ir"), logging.Handler()
    monkeypatch.setattr(handler, "emit", told.append)
    monkeypatch.setattr(logger, "handlers", [handler])

    def talkative(graph, tensors, options):
        assert options == {"cpp_wrapper": True}
        logger.warning("a solve is called by Python")
        return graph

    monkeypatch.setattr(_inductor, "compile", talkative)
    graph = torch.fx.symbolic_trace(lambda x: x + 1)
    compilation.compile_graph(graph, [torch.zeros(2)])(torch.zeros(2))
    assert not told
    logger.warning("and something else")
    assert len(told) == 1


def test_what_cannot_be_compiled_runs_as_it_is(monkeypatch):
    from torch import _inductor

    def missing(graph, tensors, options):
        raise RuntimeError("no compiler\nand more")

    monkeypatch.setattr(_inductor, "compile", missing)
    with pytest.warns(UserWarning, match="since compiling failed: no compiler$"):
        found = train(small_cohort(mode="compiled"), 5)
    assert_close(found.state, train(small_cohort(mode="traced"), 5).state)
