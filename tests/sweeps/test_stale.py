"""Records that other code has made: trained again, counted, kept where one says so, never lost."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench.store import code
from bench.store.heartbeats import Heart
from bench.store.records import RunStore
from bench.sweeps.sweep import Sweep
from tests.support import sweeps
from tests.support.sweeps import TINY, run_here

ROOT = Path(__file__).parents[2]
WORDS = ("-m", *TINY, "algorithm=bc,stackelberg", "seed=0,1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a working folder beside a copy of algorithms/ that fingerprints are taken of."""
    shutil.copytree(ROOT / "algorithms", tmp_path / "algorithms")
    monkeypatch.setattr(code, "_root", lambda _: tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    forget()


def forget() -> None:
    """Be a new process as far as code is concerned."""
    code.fingerprint.cache_clear()
    code._read.cache_clear()


def add(file: str, line: str) -> None:
    """Add a line to a file of the copy, as between two commands."""
    (path,) = Path().glob(file)
    path.write_text(f"{path.read_text()}\n{line}\n")
    forget()


def written(experiment: str = "default") -> dict[str, dict[str, int]]:
    """Return when the records of each learner were written."""
    found: dict[str, dict[str, int]] = {}
    for record in RunStore(Path("results/runs")).read(experiment):
        path = Path("results/runs", experiment, f"{record.run_id}.json")
        found.setdefault(record.algorithm, {})[record.run_id] = path.stat().st_mtime_ns
    return found


def trained_again(before: dict[str, dict[str, int]]) -> set[str]:
    """Return the learners whose records are all new, where the others' are all old."""
    after, new = written(), set()
    for name, times in after.items():
        if times != before[name]:
            assert not set(times.values()) & set(before[name].values())
            new.add(name)
    return new


def test_a_comment_trains_nothing_and_a_constant_what_it_is_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_here(monkeypatch, *WORDS) == 0
    before = written()
    add("algorithms/bc.py", "# A comment.")
    add("algorithms/networks.py", "\n\n'''Text that does nothing.'''")
    add("algorithms/**/kernels.py", "\n")
    capfd.readouterr()
    assert run_here(monkeypatch, *WORDS) == 0
    assert "0 runs completed, 0 empty, 0 failed, 4 stored before" in capfd.readouterr().out
    assert written() == before

    for file, learners in {
        "algorithms/bc.py": {"bc"},
        "algorithms/**/kernels.py": {"stackelberg"},
        "algorithms/**/followers/table.py": {"stackelberg"},
        "algorithms/networks.py": {"bc", "stackelberg"},
    }.items():
        add(file, "ADDED = 1")
        before = written()
        assert run_here(monkeypatch, *WORDS) == 0
        printed = capfd.readouterr().out
        assert trained_again(before) == learners
        runs = 2 * len(learners)
        assert (
            f"{runs} stored runs made by other code of {', '.join(sorted(learners))}: {runs} "
            "trained again (launcher.stale=keep keeps them)." in printed
        )
        assert f"{runs} runs completed, 0 empty, 0 failed, {4 - runs} stored before" in printed


def test_what_one_keeps_is_kept_and_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_here(monkeypatch, *WORDS)
    before = written()
    add("algorithms/bc.py", "ADDED = 1")
    capfd.readouterr()
    assert run_here(monkeypatch, *WORDS, "launcher.stale=keep") == 0
    printed = capfd.readouterr().out
    assert "2 stored runs made by other code of bc: 2 kept (launcher.stale=retrain" in printed
    assert written() == before
    assert run_here(monkeypatch, *WORDS, "launcher.stale=throw") == 2
    assert "'retrain' or 'keep'" in capfd.readouterr().err


def test_what_other_code_made_elsewhere_is_not_adopted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run_here(monkeypatch, *TINY, "algorithm=bc", "experiment_name=first")
    add("algorithms/bc.py", "ADDED = 1")
    capfd.readouterr()
    words = (*TINY, "algorithm=bc", "experiment_name=second", "launcher.stale=keep")
    assert run_here(monkeypatch, *words) == 0
    assert "1 runs completed" in capfd.readouterr().out
    # The first experiment's record gives way to the second's, which is of today's code.
    assert run_here(monkeypatch, *TINY, "algorithm=bc", "experiment_name=first") == 0
    assert "0 runs completed, 0 empty, 0 failed, 1 stored before" in capfd.readouterr().out
    (first,), (second,) = (RunStore(Path("results/runs")).read(x) for x in ("first", "second"))
    assert first.code == second.code == code.fingerprint("algorithms.bc.BehaviorCloning")


def test_the_old_record_stays_until_the_new_one_is_written_and_a_checkpoint_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("-m", *TINY, "algorithm=bc", "seed=0,1")
    run_here(monkeypatch, *words)
    old = written()
    add("algorithms/bc.py", "ADDED = 1")
    intact = Heart.beat

    def beat_and_interrupt(self: Heart, update: int) -> None:
        intact(self, update)
        if update == 12:
            os.kill(os.getpid(), 2)

    with monkeypatch.context() as patch:
        patch.setattr(Heart, "beat", beat_and_interrupt)
        assert run_here(patch, *words) == 130
    assert written() == old
    assert len(sweeps.checkpoints(folder)) == 1
    # A sweep of something else does not take them for recorded, and leaves their checkpoint.
    assert run_here(monkeypatch, *TINY, "algorithm=bc", "seed=2") == 0
    assert len(sweeps.checkpoints(folder)) == 1
    capfd.readouterr()
    assert run_here(monkeypatch, *words, "launcher.dry_run=true") == 0
    assert "2 runs of bc on lock go on at update 12 of 30." in capfd.readouterr().out
    assert run_here(monkeypatch, *words) == 0
    new = written()["bc"]
    assert all(new[run_id] > old["bc"][run_id] for run_id in old["bc"])
    assert sweeps.litter(folder) == []


def test_what_another_sweep_has_made_anew_meanwhile_is_not_made_once_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = (*TINY, "algorithm=bc")
    run_here(monkeypatch, *words)
    add("algorithms/bc.py", "ADDED = 1")
    store = RunStore(Path("results/runs"))
    (old,) = store.read("default")
    new = replace(old, code=code.fingerprint("algorithms.bc.BehaviorCloning"), experiment="other")
    intact = Sweep.run

    def run_late(self: Sweep) -> None:
        store.write(new)
        intact(self)

    monkeypatch.setattr(Sweep, "run", run_late)
    assert run_here(monkeypatch, *words) == 0
    assert "0 runs completed" in capfd.readouterr().out.splitlines()[-1]
    # It is filed here too, in place of the old one.
    assert list(store.read("default")) == [replace(new, experiment="default")]


def test_a_record_of_todays_code_that_failed_is_kept_as_a_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = (*TINY, "algorithm=bc", "algorithm.learning_rate=1e38")
    assert run_here(monkeypatch, *words) == 1
    add("algorithms/bc.py", "ADDED = 1")
    capfd.readouterr()
    # Other code may have mended it, so it is tried again; the same code is not.
    assert run_here(monkeypatch, *words) == 1
    assert "1 failed: A parameter was not finite" in capfd.readouterr().err
    assert run_here(monkeypatch, *words) == 1
    assert "1 runs failed before and were not tried again" in capfd.readouterr().err
