"""How far a sweep is, as it says itself: a line every half a minute where there is no terminal."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from bench.engines.orders import Order
from bench.progress import bar
from bench.progress.bar import Bar
from bench.store import heartbeats
from bench.store.heads import Head, head_of
from bench.store.heartbeats import Heartbeat
from bench.store.record import RunRecord
from tests.support import commands


@pytest.fixture
def runs() -> dict[str, Any]:
    """Return six runs of 100 updates each, three of each of two learners."""
    words = ("dataset=lock", "num_updates=100", "algorithm=bc,cql", "seed=range(3)")
    return {run.run_id: run for run in commands.plan(*words).runs}


def head(run: Any, status: str = "completed", seconds: float | None = 20.0) -> Head:
    timing = {"wall_seconds": seconds, "cohort_size": 1} if seconds else {}
    names = run.config.algorithm_name, run.config.dataset.environment_name
    made = RunRecord(
        run.run_id,
        "default",
        status,
        *names,
        0,
        run.settings,
        timing=timing,  # type: ignore[arg-type]
    )
    return head_of(vars(made))


def beat(folder: Path, run_ids: list[str], update: int, seconds: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    now = time.time()
    said = Heartbeat("cohort", run_ids, update, 100, now - seconds, 0, now, "here", 1)
    (folder / "cohort.json").write_text(json.dumps(asdict(said)))


def said(shown: Bar, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the next line says."""
    shown._show()
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_line_says_runs_rate_and_time_left_as_soon_as_a_kind_is_timed(
    runs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: dict[str, Head] = {}
    shown, ids = Bar(runs, trained, tmp_path), list(runs)
    shown.begun -= 20
    assert said(shown, capsys) == (
        "0 of 6 runs done, 0 updates/s, time left unknown, nothing like it has been timed."
    )
    # Two runs of bc: 50 updates in 10 seconds, a cohort's second half and three times as much of
    # cql, of which nothing is known yet.
    beat(tmp_path, ids[:2], 50, 10)
    assert said(shown, capsys) == (
        "0 of 6 runs done, 5 updates/s, about 20 s left with one process, "
        "and what 3 runs of kinds not timed yet take."
    )
    # A run that failed or was empty made no updates, but is done all the same.
    (tmp_path / "cohort.json").unlink()
    trained |= {ids[0]: head(runs[ids[0]]), ids[1]: head(runs[ids[1]], "failed", None)}
    trained |= {ids[2]: head(runs[ids[2]], "empty", None)}
    unknown = "time left unknown, nothing like it has been timed."
    assert said(shown, capsys) == f"3 of 6 runs done, 5 updates/s, {unknown}"
    # What another sweep has in hand is nothing to wait for.
    shown.end(Order(tuple(runs.values()), frozenset(ids[3:])))
    assert said(shown, capsys).startswith("6 of 6 runs done, 5 updates/s, about 0 s left")


def test_the_first_update_which_is_traced_says_nothing_of_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(heartbeats.time, "time", lambda: clock[0])
    with heartbeats.beating(tmp_path, "cohort", ["a"], 7, 100) as heart:
        for update, at in ((8, 1060.0), (9, 1062.0), (18, 1080.0)):
            clock[0] = at
            heart.beat(update)
        (last,) = heartbeats.read(tmp_path)
    assert (last.update, last.heard) == (18, 1080.0)
    assert (last.started_at_update, last.started) == (8, 1060.0)
    assert heartbeats.read(tmp_path) == []


def test_without_a_terminal_lines_come_by_themselves_and_no_bar(
    runs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert bar.SAY_EVERY <= 30
    monkeypatch.setattr(bar, "SAY_EVERY", 0.05)
    with Bar(runs, {}, tmp_path):
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("0 of 6 runs done, ") for line in lines)


def test_on_a_terminal_the_bar_says_the_same(
    runs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    first = next(iter(runs.values()))
    with Bar(runs, {first.run_id: head(first)}, tmp_path):
        pass
    shown = capsys.readouterr().err
    assert "17%" in shown
    assert "1 of 6 runs done, " in shown
