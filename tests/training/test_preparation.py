"""What a worker keeps of earlier cohorts' data, and that it is no more however many there are."""

import gc
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from bench.engines.local import Local
from bench.training import preparation
from bench.training.held import held
from bench.training.preparation import Preparer
from tests.support import commands, sweeps


@dataclass
class Thing:
    """As one of this project's, which are looked into."""

    whole: np.ndarray
    part: np.ndarray
    others: dict
    itself: "Thing | None" = None


Thing.__module__ = "bench.somewhere"


def test_arrays_are_counted_once_however_they_are_reached():
    whole, tensor = np.zeros(100), torch.zeros(10)
    shared = torch.from_numpy(whole)
    thing = Thing(whole, whole[3:7], {"a": [tensor, tensor[2:], shared], "b": (np.zeros(5), 3)})
    thing.itself = thing
    seen = set()
    assert held(thing, seen) == 800 + 40 + 40
    assert held([thing, whole, np.zeros(2)], seen) == 16


def test_what_others_made_is_not_looked_into():
    class Foreign:
        data = np.zeros(10)

        def __init__(self):
            self.own = np.zeros(10)

    assert held(Foreign(), set()) == 0


def runs(*words):
    return commands.plan(*sweeps.TINY, "algorithm=bc", *words).runs


def test_data_that_was_not_asked_for_longest_is_dropped_first(monkeypatch):
    preparer = Preparer(None)
    first, second, third = (preparer.prepare(run).dataset for run in runs("seed=0,1,2"))
    one = held(next(iter(preparer.prepared.values())), set())
    assert preparer.prepare(runs("seed=0")[0]).dataset is first
    monkeypatch.setattr(preparation, "BYTES_KEPT", 2.5 * one)
    preparer.forget()
    kept = [prepared.dataset for prepared in preparer.prepared.values()]
    assert [any(x is y for y in kept) for x in (first, second, third)] == [True, False, True]


def test_a_task_lives_as_long_as_what_was_made_of_it(monkeypatch):
    preparer = Preparer(None)
    thin, thinner = runs("seed=0", "coverage=thin", "coverage.severity=0.1,0.2")
    assert preparer.prepare(thin).task is preparer.prepare(thinner).task
    assert len(preparer.tasks) == 1
    monkeypatch.setattr(preparation, "BYTES_KEPT", 0)
    other = preparer.prepare(runs("seed=1")[0])
    preparer.forget()
    gc.collect()
    # What was asked for last stays, however large it is.
    assert [prepared.task for prepared in preparer.prepared.values()] == [other.task]
    assert list(preparer.tasks.values()) == [other.task]


def test_what_is_mapped_from_a_file_takes_no_memory_to_speak_of(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(1000))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    assert held({"whole": mapped, "part": mapped[3:], "own": np.zeros(2)}, set()) == 16


def test_nothing_is_forgotten_of_nothing():
    Preparer(None).forget()


@pytest.mark.usefixtures("quick_values")
def test_memory_does_not_grow_with_the_number_of_cohorts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preparation, "BYTES_KEPT", 2**19)
    taken, collect = [], Local.collect

    def collect_and_look(self):
        finished = collect(self)
        gc.collect()
        if not taken:
            tracemalloc.start()  # only now: what is traced once is nobody's question, and slow
        taken.append(tracemalloc.get_traced_memory()[0])
        return finished

    monkeypatch.setattr(Local, "collect", collect_and_look)
    words = ("dataset=garnet", "algorithm=bc", "seed=range(16)", "launcher=local", "num_updates=2")
    try:
        assert sweeps.run_here(monkeypatch, *sweeps.TINY, *words, "launcher.cohort_size=2") == 0
    finally:
        tracemalloc.stop()
    assert len(taken) == 8
    # A run's data takes more than 100 kB, what the plan notes of it a few.
    assert taken[7] - taken[4] < 6 * 20_000
