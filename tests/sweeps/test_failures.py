"""A mistake in somebody's own code is named by file and line, wherever one looks."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import algorithms
from bench.commands import status
from bench.data import degradations
from bench.store.records import RunStore
from bench.training import failure
from tests.support import sweeps
from tests.support.sweeps import TINY, run_here

ROOT = Path(__file__).parents[2]
LEARNER = '''"""A learner with a mistake."""

from algorithms.bc import BehaviorCloning
from algorithms import networks


class Mistaken(BehaviorCloning):
    """Clones until it stumbles."""

    def {method}(self, *arguments):
        """Stumble."""
        {mistake}
        return super().{method}(*arguments)
'''
LINE = 1 + LEARNER[: LEARNER.index("{mistake}")].count("\n")
WORDS = ("algorithm=bc", "algorithm.target=algorithms.mistaken.Mistaken", *TINY)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that puts the learner, with a mistake, beside those that are here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(failure, "ROOT", tmp_path)
    monkeypatch.setattr(
        algorithms, "__path__", [*algorithms.__path__, str(tmp_path / "algorithms")]
    )
    monkeypatch.delitem(sys.modules, "algorithms.mistaken", raising=False)

    def put(method: str, mistake: str) -> None:
        (tmp_path / "algorithms").mkdir()
        text = LEARNER.format(method=method, mistake=mistake)
        (tmp_path / "algorithms" / "mistaken.py").write_text(text)

    yield put
    sys.modules.pop("algorithms.mistaken", None)


@pytest.mark.parametrize(
    ("method", "mistake", "said"),
    [
        ("update", "1 / 0", "ZeroDivisionError: division by zero"),  # traced, under vmap
        ("init", "{}['no such']", "KeyError: 'no such'"),
        ("policy", "raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("update", "arguments[2].reward @ arguments[2].reward[:3]", "RuntimeError: "),  # of torch
        ("update", "assert False", "AssertionError"),
    ],
)
def test_the_place_is_in_the_record_on_the_terminal_and_in_the_status(
    write, method: str, mistake: str, said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    write(method, mistake)
    assert run_here(monkeypatch, *WORDS) == 1
    (record,) = RunStore(Path("results/runs")).read("default")
    assert record.status == "failed"
    assert record.error.startswith(f"algorithms/mistaken.py:{LINE} in {method}: {said}")
    assert "\n" not in record.error
    lines = capfd.readouterr().err.splitlines()
    assert lines[-1] == f"1 failed: {record.error}"
    # One run was asked for: the whole traceback, down to the mistake.
    assert "Traceback (most recent call last):" in lines
    assert any(f'mistaken.py", line {LINE}, in {method}' in line for line in lines)
    monkeypatch.setenv("COLUMNS", "300")
    assert status.main(["default"]) == 0
    # Stale where the code cannot be told, as that of a learner outside of the project's folder.
    assert "1 stale" in capfd.readouterr().out


def test_of_several_runs_only_the_place_is_printed(
    write, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write("update", "1 / 0")
    assert run_here(monkeypatch, *WORDS, "seed=0,1") == 1
    said = capfd.readouterr().err
    assert said == (
        f"2 failed: algorithms/mistaken.py:{LINE} in update: ZeroDivisionError: division by zero\n"
    )


def test_a_mistake_in_the_data_is_named_in_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(degradations, "share_of", lambda *_: 1 / 0)
    words = ("coverage=thin", "coverage.severity=0.5")
    assert run_here(monkeypatch, *TINY, "algorithm=bc", *words) == 1
    (record,) = RunStore(Path("results/runs")).read("default")
    assert record.error.startswith("bench/data/degradations.py:")
    assert record.error.endswith(" in thin: ZeroDivisionError: division by zero")


def test_a_place_is_that_of_the_cause_too() -> None:
    try:
        try:
            degradations.thin(None, 0.5, None)  # type: ignore[arg-type]
        except AttributeError as cause:
            raise RuntimeError("wrapped") from cause
    except RuntimeError as error:
        said = failure.describe(error)
    assert said.startswith("bench/data/degradations.py:")
    assert said.endswith(" in thin: RuntimeError: wrapped")
    assert failure.describe(RuntimeError("nowhere")) == "RuntimeError: nowhere"


def test_a_worker_process_says_it_too_and_status_names_it(tmp_path: Path) -> None:
    """In a copy of the project, with the mistake in a learner that is there."""
    for name in ("bench", "algorithms", "conf"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    path = tmp_path / "algorithms" / "mistaken.py"
    path.write_text(LEARNER.format(method="update", mistake="1 / 0"))

    def bench(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "bench", *words]
        environment = {"PATH": "/usr/bin:/bin", "COLUMNS": "200"}
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
        )

    done = bench(*sweeps.said_once(*WORDS, "launcher=processes", "launcher.workers=1"))
    said = f"algorithms/mistaken.py:{LINE} in update: ZeroDivisionError: division by zero"
    assert done.stderr.splitlines()[-1] == f"1 failed: {said}"
    assert f'mistaken.py", line {LINE}, in update' in done.stderr
    assert said in bench("status", "default").stdout
