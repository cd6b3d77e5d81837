"""What a worker keeps between commands."""

import os
import shutil

import pytest
import torch

from bench.training.worker import Worker, Workplace


def worker(folder):
    """Return a worker of an experiment in a folder."""
    return Worker(
        Workplace(
            launch="", root=folder, experiment="mine", cache=folder, device="cpu",
            compile="on", updates_per_graph="auto", checkpoint_seconds=60, memory_gb=None,
            sharers=1, threads=None,
        )
    )  # fmt: skip


@pytest.mark.skipif(
    not any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++"))),
    reason="compiling needs a C++ compiler",
)
def test_what_is_compiled_is_kept_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STACKELBERG_BENCH_CACHE", str(tmp_path / "cache"))
    # Set and deleted, so that it is as before once the test has ended.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "elsewhere")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    worker(tmp_path)
    torch.compile(lambda x: torch.sin(x) + 1)(torch.ones(3))
    assert list((tmp_path / "cache" / "compiled").rglob("*.so"))


def test_a_folder_for_what_is_compiled_that_somebody_named_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    worker(tmp_path)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "mine")
