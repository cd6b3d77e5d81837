"""Settings of every test.

What takes seconds to import is imported by those who use it: the process that hands tests out has
no use for it, and the others wait for that one.
"""

import gc
import itertools
import os

import pytest
from hypothesis import settings

# Before torch is imported: the tests run in a process per core, and more threads than cores get in
# each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import bench  # noqa: F401  (sets how threads wait, before anything imports torch)

# The same examples every time and no limit on a single one: a slow machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Of tests, whose folders are made when something is put there: most use none.
NUMBERS = itertools.count()


def pytest_collection_finish():
    """Keep what is freed, as workers do; let the garbage collector pass over what stays.

    That is modules and thousands of tests.
    """
    from bench.cohorts import memory

    memory.keep_what_is_freed()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory, monkeypatch):
    """Keep every test from the files and caches of whoever runs it."""
    from bench.settings.run import typed_group
    from tests.support import files

    root = tmp_path_factory.getbasetemp() / f"home_{next(NUMBERS)}"
    for variable in ("STACKELBERG_BENCH_CACHE", "D4RL_DATASET_DIR", "MINARI_DATASETS_PATH"):
        monkeypatch.setenv(variable, str(root / variable.lower()))
    files.forget()
    # Tests replace what settings name.
    typed_group.cache_clear()


@pytest.fixture
def quick_values(monkeypatch):
    """Measure values that are not known exactly on few episodes, where any number will do."""
    from bench.worlds.base import Environment

    monkeypatch.setattr(Environment, "value_episodes", 50)


def pytest_runtest_setup(item):
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device here")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Return the name of each device that tests run on: the processor, and a GPU if present."""
    return request.param
