"""Sweeps that are stopped in the middle and go on: their records are those of an unbroken one."""

import fcntl
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from bench.store.claims import Claims
from bench.store.heartbeats import Heart
from bench.store.record import RunRecord
from bench.store.records import RunStore
from tests.support import sweeps
from tests.support.sweeps import TINY

# Three cohorts: learners with and without minibatches, the follower linear, and a run that turns
# NaN beside healthy ones.
GRIDS = {
    "tables": ("-m", *TINY, "seed=0,1", "algorithm=bc,fqi_exact"),
    "lost": ("-m", *TINY, "algorithm=fqi", "algorithm.learning_rate=0.01,1e38,0.02"),
    "linear": ("-m", "dataset=cartpole", "dataset.num_transitions=300", *TINY[2:], "seed=0,1",
               "algorithm=stackelberg", "chosen=linear_follower", "dataset.max_steps=20"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def interrupt(monkeypatch: pytest.MonkeyPatch, *updates: int, passed: int = 0) -> None:
    """Let Ctrl-C arrive in the named updates, once each, after `passed` others of that number."""
    to_come, beat = [updates[0]] * passed + list(updates), Heart.beat
    harmless = passed

    def beat_and_interrupt(self: Heart, update: int) -> None:
        nonlocal harmless
        beat(self, update)
        if to_come and update == to_come[0]:
            to_come.pop(0)
            if harmless > 0:
                harmless -= 1
                return
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Heart, "beat", beat_and_interrupt)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the records of every grid when nothing happens."""
    found = {}
    for name, words in GRIDS.items():
        place = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            sweeps.run_here(patch, *words)
        found[name] = sweeps.records(place)
    return found


@pytest.mark.parametrize(
    ("grid", "update"),
    # The first, at an evaluation, between two, and the last but one.
    [("tables", 1), ("tables", 10), ("tables", 14), ("lost", 10), ("lost", 29), ("linear", 14)],
)
def test_the_same_command_ends_bit_for_bit_as_if_uninterrupted(
    grid: str,
    update: int,
    folder: Path,
    unbroken: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, update)
        assert sweeps.run_here(monkeypatch, *GRIDS[grid]) == 130
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith("Stopped; 0 of ")
    assert "with a checkpoint; the same command goes on with them." in said
    assert sweeps.checkpoints(folder)[-1].stem == f"{update:012d}"
    assert sweeps.run_here(monkeypatch, *GRIDS[grid]) == (1 if grid == "lost" else 0)
    assert sweeps.records(folder) == unbroken[grid]
    assert sweeps.litter(folder) == []


def test_one_stopped_again_and_again_ends_the_same_and_adds_up_its_time(
    folder: Path, unbroken: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(monkeypatch, 3, 9, 20, 21)
    statuses = [sweeps.run_here(monkeypatch, *GRIDS["tables"]) for _ in range(5)]
    assert statuses == [130, 130, 130, 130, 0]
    assert sweeps.records(folder) == unbroken["tables"]


def test_an_interrupt_in_the_last_update_loses_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    interrupt(monkeypatch, 30)
    assert sweeps.run_here(monkeypatch, *TINY) == 0
    assert len(sweeps.records(folder)) == 1
    assert "Stopped" not in capfd.readouterr().err


def test_a_cohort_goes_on_in_its_composition_though_a_member_is_recorded_by_then(
    folder: Path, unbroken: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process is killed between the records of one cohort."""
    words = GRIDS["lost"]
    with monkeypatch.context() as patch:
        interrupt(patch, 17)
        sweeps.run_here(patch, *words)
    done, *_ = sorted(unbroken["lost"])
    path = folder / "results" / "runs" / "default" / f"{done}.json"
    # Its content is kept as it is, so nobody has written it again.
    path.write_text(sweeps.as_record(unbroken["lost"][done], error="kept as it is"))
    sweeps.run_here(monkeypatch, *words)
    after = sweeps.records(folder)
    assert after.pop(done)["error"] == "kept as it is"
    assert after == {k: v for k, v in unbroken["lost"].items() if k != done}
    assert sweeps.litter(folder) == []


@pytest.mark.parametrize("grid", ["tables", "lost"])
def test_a_cohort_killed_between_two_records_ends_in_its_composition_without_a_due_checkpoint(
    grid: str, folder: Path, unbroken: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    intact = RunStore.write

    def write_and_die(self: RunStore, record: RunRecord) -> Path:
        intact(self, record)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "write", write_and_die)
        assert sweeps.run_here(patch, *GRIDS[grid]) == 130
    assert len(sweeps.records(folder)) == 1
    (last,) = sweeps.checkpoints(folder)
    assert last.stem == f"{30:012d}"
    assert sweeps.run_here(monkeypatch, *GRIDS[grid]) == (1 if grid == "lost" else 0)
    assert sweeps.records(folder) == unbroken[grid]
    assert all(sweeps.timing(folder, run)["cohort_size"] > 1 for run in unbroken[grid])
    assert sweeps.litter(folder) == []


def test_a_command_that_wants_a_part_of_a_checkpoint_leaves_it_for_the_whole(
    folder: Path, unbroken: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("-m", *TINY, "seed=0,1", "algorithm=bc")
    with monkeypatch.context() as patch:
        interrupt(patch, 12)
        sweeps.run_here(patch, *words)
    (snapshot,) = sweeps.checkpoints(folder)
    assert sweeps.run_here(monkeypatch, *TINY, "seed=0", "algorithm=bc") == 0
    ((alone, before),) = sweeps.records(folder).items()
    assert sweeps.checkpoints(folder) == [snapshot]
    assert sweeps.run_here(monkeypatch, *words) == 0
    after = sweeps.records(folder)
    assert after.pop(alone) == before
    ((other, record),) = after.items()
    assert record == unbroken["tables"][other]
    assert sweeps.litter(folder) == []


def test_a_dry_run_says_what_would_go_on_be_skipped_and_be_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sweeps.run_here(monkeypatch, *TINY, "seed=7", "algorithm=cql", "experiment_name=other")
    with monkeypatch.context() as patch:
        interrupt(patch, 12)
        sweeps.run_here(patch, "-m", *TINY, "seed=0,1", "algorithm=bc")
    capfd.readouterr()
    words = ("-m", *TINY, "seed=0,1,7", "algorithm=bc,cql", "launcher.dry_run=true")
    assert sweeps.run_here(monkeypatch, *words) == 0
    printed = capfd.readouterr().out.splitlines()
    assert printed[:4] == [
        "6 runs planned (algorithm x dataset x coverage x severity x seed: 2 x 1 x 1 x 1 x 3), "
        "1 stored, 5 to train in 3 cohorts.",
        "  algorithm: bc, cql",
        "  seed: 0, 1, 7",
        "stored: 1 in other",
    ]
    rows = [line.split() for line in printed]
    assert ["lock", "bc", "30", "2", "+", "1"] in rows
    assert ["bc", "0/3"] in rows
    assert ["cql", "1/3"] in rows
    assert printed[-1] == "2 runs of bc on lock go on at update 12 of 30."


def test_a_cohort_too_large_for_memory_is_trained_in_equal_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("-m", *TINY, "seed=range(5)", "algorithm=bc")
    with monkeypatch.context() as patch:
        patch.setattr("bench.training.trainer.memory.bytes_per_run", lambda _: 10**9)
        interrupt(patch, 8, passed=1)  # the first part ends, the second is stopped
        assert sweeps.run_here(patch, *words, "launcher.memory_gb=3") == 130
        (snapshot,) = sweeps.checkpoints(folder)
        assert snapshot.stem == f"{8:012d}"
        assert len(sweeps.records(folder)) == 2
        assert sweeps.run_here(patch, *words, "launcher.memory_gb=3") == 0
    sizes = sorted(sweeps.timing(folder, run)["cohort_size"] for run in sweeps.records(folder))
    assert sizes == [2, 2, 3, 3, 3]


def test_runs_that_another_process_holds_are_left_out_and_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # The experiment can be shared, its runs cannot.
    monkeypatch.setattr(Claims, "hold", lambda self, name, kind: kind == fcntl.LOCK_SH)
    assert sweeps.run_here(monkeypatch, *TINY) == 1
    message = capfd.readouterr().err.splitlines()[-1]
    assert message == (
        "1 runs were left out, 1 of them in training by another sweep; "
        "the same command collects them."
    )
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert sweeps.run_here(monkeypatch, *TINY) == 0


def test_where_files_cannot_be_locked_training_goes_on_with_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("bench.store.claims.fcntl.lockf", refuse)
    assert sweeps.run_here(monkeypatch, *TINY) == 0
    assert "Files cannot be locked here" in capfd.readouterr().err
