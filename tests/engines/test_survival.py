"""What can happen to a sweep from outside: kills, a second sweep, a full disk, no permission."""

import contextlib
import errno
import itertools
import os
import random
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from bench.cohorts import cohort
from bench.store import records
from bench.store.claims import Claims
from bench.store.records import RunStore
from bench.sweeps.sweep import Sweep
from tests.support import sweeps
from tests.support.sweeps import TINY, Command

# Four cohorts, checkpoints after every update: a kill finds the sweep wherever it is.
WORDS = ("-m", *TINY, "algorithm=bc,fqi", "algorithm.learning_rate=0.01,1e38", "seed=0,1",
         "num_updates=12", "eval_every=6", "launcher.cohort_size=2",
         "launcher.checkpoint_seconds=0")  # fmt: skip
IN_PROCESSES = ("launcher=processes", "launcher.workers=2")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the records of the sweep when nothing happens."""
    folder = tmp_path_factory.mktemp("expected")
    assert Command(folder, *WORDS).end() == 1
    return sweeps.records(folder)


def finish(folder: Path, expected: dict[str, Any]) -> None:
    """Let the same command end and compare its records; others may still hold some runs."""
    for _ in range(20):
        command = Command(folder, *WORDS)
        status = command.end()
        if set(sweeps.records(folder)) == set(expected):
            break
    assert status == 1  # a run turns NaN
    assert sweeps.records(folder) == expected
    assert not sweeps.checkpoints(folder)


def written_since(folder: Path, begun: float) -> bool:
    """Return whether the sweep has written a checkpoint or a record after the time."""
    for path in (*sweeps.checkpoints(folder), *(folder / "results/runs/default").glob("*.json")):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime > begun:
                return True
    return False


@pytest.mark.parametrize(
    ("words", "num_kills", "longest"),
    [
        pytest.param((), 4, 0.5, id="local"),
        pytest.param((), 40, 0.5, id="many", marks=pytest.mark.slow),
        pytest.param(IN_PROCESSES, 20, 4.0, id="many in processes", marks=pytest.mark.slow),
    ],
)
def test_kills_at_random_moments_lose_no_run_and_record_none_twice(
    words: tuple[str, ...],
    num_kills: int,
    longest: float,
    tmp_path: Path,
    expected: dict[str, Any],
) -> None:
    """Every second kill takes the launching process alone, its workers notice by themselves.

    When all runs are recorded the store is emptied, until there have been enough kills.
    """
    draw = random.Random(0)
    seen: dict[str, int] = {}
    groups = []
    for kill in range(num_kills):
        begun = time.time()
        command = Command(tmp_path, *WORDS, *words)
        groups.append(command.pid)
        if kill % 4 < 2:  # else it may not even have begun to train
            sweeps.wait_for(lambda: not command.alive or written_since(tmp_path, begun))  # noqa: B023
        time.sleep(longest * draw.random())
        command.kill(group=kill % 2 == 0)
        for path in (tmp_path / "results/runs/default").glob("[!.]*.json"):
            RunStore(tmp_path / "results/runs").load(path)  # whole, whenever it is looked at
            written = path.stat().st_mtime_ns
            assert seen.setdefault(path.stem, written) == written  # never written again
        if len(sweeps.records(tmp_path)) == len(expected):
            assert sweeps.records(tmp_path) == expected
            shutil.rmtree(tmp_path / "results")
            seen.clear()
    finish(tmp_path, expected)
    sweeps.wait_for(lambda: not any(map(sweeps.group_is_alive, groups)))


def test_workers_leave_once_the_launching_process_has_gone(tmp_path: Path) -> None:
    """The one in training after a checkpoint, and the one without an order too."""
    words = (*TINY, "num_updates=1,10000000", "eval_every=1000000", "compile=off", "algorithm=bc",
             "launcher.checkpoint_seconds=1000")  # fmt: skip
    command = Command(tmp_path, *words, *IN_PROCESSES)
    heartbeats = tmp_path / "results/runs/default/.sweep/heartbeats"
    sweeps.wait_for(lambda: sweeps.records(tmp_path) and list(heartbeats.glob("[!.]*.json")))
    command.kill(group=False)
    sweeps.wait_for(lambda: not sweeps.group_is_alive(command.pid), 30)
    assert len(sweeps.checkpoints(tmp_path)) == 1


def test_two_sweeps_at_once_record_every_run_once(tmp_path: Path, expected: dict[str, Any]) -> None:
    """Every record is written by one of them, and both together write all."""
    commands = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        words = (*WORDS, f"results_dir={tmp_path / 'results'}")
        commands.append(Command(tmp_path / name, *words, "launcher.checkpoint_seconds=60"))
    assert [command.end() for command in commands] == [1, 1]
    trained = [int(command.out().split(" runs completed")[0].split()[-1]) for command in commands]
    failed = [int(command.out().split(" failed, ")[0].split()[-1]) for command in commands]
    assert sum(trained) + sum(failed) == len(expected)
    assert sweeps.records(tmp_path) == expected
    assert sweeps.litter(tmp_path) == []


def test_a_run_that_failed_in_another_sweep_meanwhile_is_said(
    tmp_path: Path,
    expected: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    intact = Sweep.run

    def run_late(self: Sweep) -> None:
        for run_id, record in expected.items():
            path = tmp_path / "results/runs/default" / f"{run_id}.json"
            path.write_text(sweeps.as_record(record))
        intact(self)

    monkeypatch.setattr(Sweep, "run", run_late)
    assert sweeps.run_here(monkeypatch, *WORDS) == 1
    failed = sum(record["status"] == "failed" for record in expected.values())
    said = capfd.readouterr().err.splitlines()
    assert said[-1] == f"{failed} failed in another sweep at the same time."


def _hold(root: Path, run_ids: list[str], ready: Any) -> None:
    claims = Claims(root / ".claims")
    assert claims.take(run_ids) == set(run_ids)
    ready.set()
    time.sleep(60)


def test_a_claim_is_one_process_alone_and_ends_with_it(tmp_path: Path) -> None:
    ids = [f"{number:016x}" for number in (0, 1, 2**64 - 1)]
    ready = sweeps.SERVER.Event()
    other = sweeps.SERVER.Process(target=_hold, args=(tmp_path, ids[:2], ready))
    other.start()
    assert ready.wait(30)
    claims = Claims(tmp_path / ".claims")
    assert claims.take(ids) == {ids[2]}
    other.kill()
    other.join()
    assert claims.take(ids) == set(ids)
    claims.release(ids)
    assert (tmp_path / ".claims").stat().st_size == 0


def test_a_record_that_finds_the_disk_full_ends_the_sweep_in_one_sentence(
    tmp_path: Path,
    expected: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    written = itertools.count()
    intact = records.atomic_write

    def full_after_three(path: Path) -> Any:
        if next(written) >= 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return intact(path)

    with monkeypatch.context() as patch:
        patch.setattr(records, "atomic_write", full_after_three)
        assert sweeps.run_here(patch, *WORDS) == 2
    message = capfd.readouterr().err.splitlines()[-1]
    assert ".json: No space left on device; 3 of 8 runs are recorded and 5 left" in message
    assert message.endswith("with a checkpoint; the same command goes on with them.")
    finish(tmp_path, expected)


def test_a_disk_too_full_for_checkpoints_costs_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Files may not grow beyond what a record needs; snapshots need more."""
    monkeypatch.chdir(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    words = (*TINY, "launcher.checkpoint_seconds=0", "algorithm.hidden_sizes=[64,64]")
    others = ("num_updates=1", "eval_every=1", "launcher.checkpoint_seconds=60")
    assert sweeps.run_here(monkeypatch, *words, *others) == 0
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
        assert sweeps.run_here(monkeypatch, *words) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "A checkpoint could not be written (File too large)" in capfd.readouterr().err
    assert len(sweeps.records(tmp_path)) == 2
    assert sweeps.litter(tmp_path) == []


def no_space(file: Any, column: Any) -> None:
    """Write as numpy does to a disk that fills up: the error has no number."""
    raise OSError(f"{column.size} requested and 0 written")


def no_room(*given: Any, **named: Any) -> Any:
    """Ask for memory that there is not."""
    raise MemoryError("Unable to allocate 1.49 GiB for an array")


FAILING = {
    "the data's cache": ("bench.data.storage.np.save", no_space, "the disk may be full"),
    "the data": ("bench.data.collected.collect", no_room, "Memory ran out (Unable to allocate"),
    "training": ("bench.cohorts.cohort.summarize", no_room, "Memory ran out (Unable to allocate"),
}


@pytest.mark.parametrize("place", FAILING)
def test_what_the_machine_lacks_leaves_no_record_and_is_tried_again(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name, failing, said = FAILING[place]
    words = ("-m", *TINY, "algorithm=bc", "seed=0,1", "num_updates=2")
    with monkeypatch.context() as patch:
        patch.setattr(name, failing)
        assert sweeps.run_here(patch, *words) == 2
    message = capfd.readouterr().err.splitlines()[-1]
    assert said in message
    assert "; 0 of 2 runs are recorded and 2 left; the same command goes on with them." in message
    assert sweeps.records(tmp_path) == {}
    assert sweeps.run_here(monkeypatch, *words) == 0
    assert {record["status"] for record in sweeps.records(tmp_path).values()} == {"completed"}


def test_a_cohort_too_large_for_memory_is_trained_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    intact = cohort.Cohort.__init__

    def only_alone(self: Any, members: Any, *given: Any, **named: Any) -> None:
        if len(members) > 1:
            no_room()
        intact(self, members, *given, **named)

    monkeypatch.setattr(cohort.Cohort, "__init__", only_alone)
    words = ("-m", *TINY, "algorithm=bc", "seed=0,1", "num_updates=2")
    assert sweeps.run_here(monkeypatch, *words) == 0
    assert {record["status"] for record in sweeps.records(tmp_path).values()} == {"completed"}


@pytest.mark.parametrize("kind", ["no permission", "a file in its place"])
def test_results_that_cannot_be_written_are_found_before_training(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "a file in its place":
        Path("results").write_text("")
        said = "Not a directory"
    else:
        (tmp_path / "results/runs/default").mkdir(parents=True)
        said = "Read-only file system"

        def refuse(**settings: Any) -> Any:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(settings["dir"]))

        monkeypatch.setattr("bench.sweeps.launch.tempfile.NamedTemporaryFile", refuse)
    assert sweeps.run_here(monkeypatch, *TINY) == 2
    (message,) = capfd.readouterr().err.splitlines()
    assert said in message
    assert "results" in message
