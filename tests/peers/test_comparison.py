"""Sides are timed in turn, on one core, and what cannot be compared is refused."""

import os
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch

from bench.peers import comparison
from bench.peers.one_core import XLA_FLAGS, one_core
from tests.support.sweeps import run_here


class Clock:
    """A processor that nobody else uses."""

    def __init__(self):
        """Begin."""
        self.now, self.calls = 0.0, []

    def side(self, name, cost):
        """Return what makes updates at a cost each."""

        def advance(number):
            self.calls.append(name)
            self.now += number * cost

        return advance


class Runs(NamedTuple):
    """A cohort that nobody trains."""

    num_runs: int


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(comparison, "time", SimpleNamespace(process_time=lambda: found.now))
    return found


def test_sides_take_turns(clock):
    ours, others = clock.side("ours", 2**-6), clock.side("others", 2**-7)
    pairs = comparison.alternating(ours, others, seconds=0.1)
    assert pairs == [pytest.approx((64.0, 128.0))] * comparison.BLOCKS
    # The first calls compile and are not timed; a block is as many as fill it.
    assert clock.calls == ["ours", "others"] + ["ours", "others", "others"] * comparison.BLOCKS


def test_a_row_for_each_learner_with_a_peer_width_number_of_runs_and_peer(
    monkeypatch, capsys, clock, quick_values
):
    def peers(name, kind, algorithm, cohort, data):
        assert algorithm.hidden_sizes == (8, 8)
        assert len(data.reward) > 0
        return [("a", clock.side("a", 0.02 * cohort.num_runs)), ("b", clock.side("b", 0.01))]

    def finish(cohort, number):
        clock.now += number * 0.01 * cohort.num_runs

    for name, value in {"WIDTHS": (8,), "COHORTS": (1, 2), "BATCH_SIZE": 8}.items():
        monkeypatch.setattr(comparison, name, value)
    monkeypatch.setattr(comparison, "check", lambda chosen, device: None)
    monkeypatch.setattr(comparison, "_peers", peers)
    monkeypatch.setattr(comparison, "finish", finish)
    monkeypatch.setattr(comparison, "ready", lambda algorithm, task, runs, *_: Runs(runs))
    assert run_here(monkeypatch, "speed", "--peers", "--algorithm", "bcq", "--seconds", "0") == 0
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if "bcq" in line]
    cells = [[cell.strip() for cell in line[1:-1]] for line in lines]
    # That of continuous actions has no peer.
    assert cells == [
        ["bcq", "cartpole", "8", "1", "a", "100", "50", "2.00 [2.00 to 2.00]"],
        ["bcq", "cartpole", "8", "1", "b", "100", "100", "1.00 [1.00 to 1.00]"],
        ["bcq", "cartpole", "8", "2", "a", "100", "50", "2.00 [2.00 to 2.00]"],
        ["bcq", "cartpole", "8", "2", "b", "100", "200", "0.50 [0.50 to 0.50]"],
    ]


def installed(monkeypatch, *names):
    """Let only some libraries be found."""
    monkeypatch.setattr(
        comparison.importlib.util, "find_spec", lambda name: object() if name in names else None
    )


def test_a_missing_library_is_told_with_how_to_install_it(monkeypatch, capsys):
    installed(monkeypatch, "jax")
    assert run_here(monkeypatch, "speed", "--peers") == 2
    assert capsys.readouterr().err == '--peers needs optax: `pip install -e ".[peers]"`.\n'


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--algorithm", "cql,bc"], "bc has no peer; those with one are: bcq, cql"),
        (["--device", "cuda"], "on one core of the CPU"),
    ],
)
def test_what_cannot_be_compared_is_refused(monkeypatch, capsys, words, told):
    installed(monkeypatch, "jax", "optax")
    assert run_here(monkeypatch, "speed", "--peers", *words) == 2
    assert told in capsys.readouterr().err


def test_one_core_is_taken_and_given_back(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--other")
    torch.set_num_threads(2)
    cores = os.sched_getaffinity(0)
    with one_core():
        assert torch.get_num_threads() == len(os.sched_getaffinity(0)) == 1
        assert os.environ["XLA_FLAGS"] == f"--other {XLA_FLAGS}"
    assert torch.get_num_threads() == 2
    assert (os.sched_getaffinity(0), os.environ["XLA_FLAGS"]) == (cores, "--other")
    torch.set_num_threads(1)
