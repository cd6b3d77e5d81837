"""Checkpoints: a cohort that goes on from one ends with the same bits, and damage costs little."""

import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.store import code
from bench.training import checkpoints as module
from bench.training.checkpoints import Checkpoints, Conditions, interrupted
from tests.support import commands
from tests.support.builders import (
    ALGORITHMS,
    build_algorithm,
    kinds_of,
    make_cohort,
    random_dataset,
    same,
    tensors,
    train,
)


def cohort_of(name, kind="discrete", device="cpu", mode="plain", **settings):
    """Return a fresh cohort of three runs that differ in seed, data and learning rate."""
    rates = (0.01, 0.02, 0.03)
    algorithms = [build_algorithm(name, kind, learning_rate=rate, **settings) for rate in rates]
    datasets = [random_dataset(kind, n, seed) for seed, n in enumerate((30, 70, 12))]
    return make_cohort(algorithms, datasets, [4, 0, 9], device=device, mode=mode)


def through_a_file(snapshot):
    """Return the snapshot as another process would read it."""
    file = io.BytesIO()
    torch.save(snapshot, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def goes_on(make, steps, total):
    """Assert that a fresh cohort ends alike from a snapshot made at any of the steps."""
    steady, snapshots = make(), {}
    for step in range(total):
        if step in steps:
            snapshots[step] = through_a_file(steady.snapshot())
        train(steady, 1)
    for step, snapshot in snapshots.items():
        second = make()
        second.restore(snapshot)
        assert second.step == step
        train(second, total - step)
        for left, right in zip(tensors(steady.state), tensors(second.state), strict=True):
            np.testing.assert_array_equal(left.cpu(), right.cpu())
        assert same(steady.metrics, second.metrics)


# What learns in tables and what in functions differ in the follower alone.
KINDS = [(name, kinds_of(name)[-1]) for name in ALGORITHMS]


@pytest.mark.parametrize(("name", "kind"), [*KINDS, ("bc", "vector"), ("stackelberg", "discrete")])
def test_a_cohort_goes_on_from_a_snapshot_as_if_uninterrupted(name, kind, device):
    goes_on(lambda: cohort_of(name, kind, device), [5], 8)


def test_so_it_does_from_before_the_first_update_and_from_any_place_in_the_draws_made_ahead():
    goes_on(lambda: cohort_of("bc", "vector"), [0, 1, 63, 64, 65], 70)


def test_so_does_a_cohort_whose_updates_have_phases_and_are_traced_again():
    settings = {"follower": "neural", "ridge": 0.1, "kernel": "laplacian"}
    goes_on(lambda: cohort_of("fqi", target_interval=3, mode="traced"), [2], 5)
    goes_on(lambda: cohort_of("stackelberg", "vector", **settings), [2], 6)


@pytest.mark.slow
def test_so_does_a_compiled_cohort():
    goes_on(lambda: cohort_of("bc", "vector", mode="compiled"), [3], 6)


def test_so_does_a_run_that_is_lost_and_the_runs_beside_it():
    def broken():
        algorithms = [build_algorithm("fqi", learning_rate=x) for x in (0.01, 1e30, 0.03)]
        return make_cohort(algorithms, [random_dataset("vector", 30, seed) for seed in range(3)])

    steady, first, second = train(broken(), 20), train(broken(), 9), broken()
    assert steady.finite().tolist() == [True, False, True]
    second.restore(through_a_file(first.snapshot()))
    train(second, 11)
    for left, right in zip(tensors(steady.state), tensors(second.state), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_snapshot_of_other_members_is_refused():
    with pytest.raises(ValueError, match="other members"):
        cohort_of("cql").restore(cohort_of("bc").snapshot())


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    """Return the checkpoints of two runs, written at three updates."""
    kept = of_two_runs(tmp_path)
    for update in (10, 20, 30):
        kept.write(update, {"update": update, "numbers": torch.arange(1000)})
    return kept


def of_two_runs(folder: Path, **changed: object) -> Checkpoints:
    runs = commands.plan("dataset=lock", "seed=0,1").runs
    conditions = Conditions(**{**vars(Conditions.here(runs[0], "cpu", "plain")), **changed})
    return Checkpoints(folder, runs, conditions, 60)


def test_the_newest_two_are_kept(kept: Checkpoints):
    assert sorted(p.name for p in kept.folder.glob("*.pt")) == ["000000000020.pt",
                                                                "000000000030.pt"]  # fmt: skip
    assert kept.newest()["update"] == kept.update == 30
    kept.remove()
    assert not kept.folder.exists()


@pytest.mark.parametrize("harm", ["cut", "emptied", "one bit"])
def test_a_damaged_one_is_left_out_for_the_one_before(kept: Checkpoints, harm: str):
    newest = kept.folder / "000000000030.pt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"cut": content[:-50], "emptied": b"", "one bit": content}[harm])
    assert kept.newest()["update"] == 20
    (note,) = kept.notes
    assert "000000000030.pt is damaged" in note
    (kept.folder / "000000000020.pt").write_bytes(b"nothing")
    assert kept.newest() is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"threads": 77}, "threads 1 instead of 77"),
        ({"device": "cuda H100"}, "instead of cuda H100"),
        ({"versions": "torch 99"}, "instead of torch 99"),
        ({"code": "0-0"}, "instead of 0-0"),
        ({"updates": "compiled"}, "updates plain instead of compiled"),
    ],
)
def test_one_made_under_other_conditions_is_left_alone_and_named(
    kept: Checkpoints, changed: dict[str, object], said: str
):
    other = of_two_runs(kept.all, **changed)
    assert other.newest() is None
    (note,) = other.notes
    assert said in note
    assert "2 runs at update 30" in note
    assert kept.newest() is not None


def test_an_interrupted_cohort_names_its_runs_in_order(kept: Checkpoints):
    (found,) = interrupted(kept.all)
    assert found.run_ids == [run.run_id for run in kept.runs]
    assert found.runs is not None
    assert [run.settings for run in found.runs] == [run.settings for run in kept.runs]
    assert found.update == 30


@pytest.mark.parametrize("runs", [[["a", []]], [["a", None]], [1], None])
def test_a_cohort_whose_header_is_damaged_is_none(kept: Checkpoints, runs: object):
    (kept.folder / module.HEADER).write_text(json.dumps({"runs": runs}))
    assert [found.runs for found in interrupted(kept.all)] in ([], [None])
    (kept.folder / module.HEADER).write_text("[1, 2]")
    assert list(interrupted(kept.all)) == []


def test_a_full_disk_costs_a_note_and_leaves_nothing_half_written(
    kept: Checkpoints, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    kept.write(40, {"update": 40})
    kept.write(50, {"update": 50})
    assert kept.notes == [
        "A checkpoint could not be written (No space left on device); training went on."
    ]
    assert kept.newest()["update"] == 30
    assert not list(kept.folder.glob(".*"))


def test_a_checkpoint_is_due_only_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    kept = of_two_runs(tmp_path)
    assert not kept.due()
    now += 60
    assert kept.due()
    kept.write(1, {})
    assert not kept.due()


def test_the_conditions_name_the_code_of_the_learner_alone():
    words = ("dataset=lock", "algorithm=bc,cql")
    bc, cql = (Conditions.here(run, "cpu", "plain") for run in commands.plan(*words).runs)
    assert bc.code.endswith(code.fingerprint("algorithms.bc.BehaviorCloning"))
    assert bc.code != cql.code
