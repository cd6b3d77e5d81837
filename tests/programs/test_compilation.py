"""When an update is compiled, and that compiling changes nothing but speed."""

import os
import shutil

import pytest
import torch

from bench.programs import compilation
from bench.programs.compilation import WORTHWHILE_UPDATES, wanted
from tests.support.builders import assert_close, build_algorithm, make_cohort, random_dataset, train

LONG, SHORT = WORTHWHILE_UPDATES, WORTHWHILE_UPDATES - 1


def at_hand(monkeypatch, *, compilers=(), gpu=False):
    """Pretend that exactly these tools are on this machine."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    found = {name: f"/usr/bin/{name}" for name in compilers}
    monkeypatch.setattr(shutil, "which", found.get)


@pytest.mark.parametrize("compilers", [(), ("g++",)])
@pytest.mark.parametrize("num_updates", [1, LONG])
def test_on_and_off_are_obeyed_whatever_is_at_hand(monkeypatch, compilers, num_updates):
    at_hand(monkeypatch, compilers=compilers)
    assert wanted("on", num_updates)
    assert not wanted("off", num_updates)


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_a_long_training_is_compiled_where_a_compiler_is_at_hand(monkeypatch, compiler):
    at_hand(monkeypatch, compilers=(compiler,))
    assert wanted("auto", LONG)


def test_a_long_training_on_a_gpu_needs_no_compiler_of_the_machine(monkeypatch):
    at_hand(monkeypatch, gpu=True)
    assert wanted("auto", LONG, device="cuda")
    assert not wanted("auto", LONG, device="cpu")


def test_a_short_training_does_not_pay_for_compiling(monkeypatch):
    at_hand(monkeypatch, compilers=("g++",), gpu=True)
    assert not wanted("auto", SHORT)


def test_without_a_compiler_a_long_training_stays_as_it_is(monkeypatch):
    at_hand(monkeypatch)
    assert not wanted("auto", LONG)


def small_cohort(**settings):
    algorithms = [
        build_algorithm("cql", hidden_sizes=[8], learning_rate=rate, polyak=0.1)
        for rate in (0.01, 0.001)
    ]
    datasets = [random_dataset("vector", n, seed) for seed, n in enumerate((30, 50))]
    return make_cohort(algorithms, datasets, **settings)


def test_nothing_is_compiled_unless_asked_for(monkeypatch):
    def refuse(graph):
        raise AssertionError("This was not to be compiled.")

    monkeypatch.setattr(compilation, "compile_graph", refuse)
    train(small_cohort(), 1)
    with pytest.raises(AssertionError, match="not to be compiled"):
        train(small_cohort(compiled=True), 1)


@pytest.mark.skipif(
    not any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++"))),
    reason="compiling needs a C++ compiler",
)
def test_a_compiled_training_equals_an_eager_one():
    eager, compiled = train(small_cohort(), 30), train(small_cohort(compiled=True), 30)
    assert_close(compiled.state, eager.state, rtol=1e-4, atol=1e-5)
    assert_close(compiled.metrics, eager.metrics, rtol=1e-4, atol=1e-5)
