"""What a sweep leaves of its plan, and what `status` makes of plan, records and heartbeats."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.__main__ import main
from bench.commands import status
from bench.errors import one_sentence
from bench.progress import printer, standing
from bench.store import heartbeats, manifest
from bench.store.code import code_of
from bench.store.folders import SweepFiles
from bench.store.heartbeats import Heartbeat
from bench.store.manifest import PlannedRun
from bench.store.record import RunRecord
from bench.store.records import RunStore
from tests.support import commands

WORDS = ["algorithm=bc,cql", "coverage=thin", "coverage.severity=0,0.5", "seed=range(3)"]
BRACES = "dataset.behavior=[{epsilon: 0.5, share: 1.0}]"
TINY = ["dataset=lock", "dataset.num_transitions=200", "num_updates=30", "tracking=none"]


@pytest.fixture(scope="module")
def runs() -> list[Any]:
    return commands.plan(*WORDS, *TINY).runs


def record(run: Any, state: str = "completed", error: str | None = None) -> RunRecord:
    return RunRecord(
        run.run_id,
        "sweep",
        state,  # type: ignore[arg-type]
        run.config.algorithm_name,
        run.config.dataset.environment_name,
        run.config.seed,
        run.settings,
        timing={"wall_seconds": 60.0, "cohort_size": 3},
        error=error,
        code=code_of(run.settings),
    )


def train(root: Path, cohort: str, run_ids: list[str], update: int, heard: float, began: float):
    """Leave the heartbeat of a cohort that was heard of `heard` seconds ago."""
    now = time.time()
    folder = SweepFiles(root / "sweep").heartbeats
    folder.mkdir(parents=True, exist_ok=True)
    said = Heartbeat(cohort, run_ids, update, 30, now - began, 0, now - heard, "node-1", 4711)
    (folder / f"{cohort}.json").write_text(json.dumps(asdict(said)))


def show(tmp_path: Path, capsys: pytest.CaptureFixture[str], width: int = 80) -> str:
    """Return what the command prints, and check that it fits."""
    os.environ["COLUMNS"] = str(width)
    assert status.main(["sweep", "--results", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    for line in printed.out.splitlines():
        # Commands are one line each, to be copied.
        assert len(line) <= width or "python -m bench" in line or "remove its file" in line
    return printed.out


@pytest.mark.parametrize(
    "changed",
    [{"heard": "soon"}, {"run_ids": None}, {"run_ids": [1]}, {"update": True}, {"more": 1}],
    ids=str,
)
def test_a_heartbeat_of_another_shape_is_none(tmp_path: Path, changed: dict[str, Any]) -> None:
    """Both `status` and the end of a sweep read what is there."""
    train(tmp_path, "fine", ["a"], 1, heard=0, began=1)
    folder = SweepFiles(tmp_path / "sweep").heartbeats
    said = json.loads((folder / "fine.json").read_text())
    (folder / "odd.json").write_text(json.dumps({**said, **changed}))
    (folder / "list.json").write_text("[]")
    (folder / "nothing.json").write_text("{}")
    assert [cohort.cohort for cohort in heartbeats.read(folder)] == ["fine"]


@pytest.fixture(autouse=True)
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def cells(printed: str) -> list[list[str]]:
    return [line.split() for line in printed.splitlines()]


# Plans


def test_a_plan_is_read_as_it_was_left(tmp_path: Path, runs: list[Any]) -> None:
    path = manifest.leave(tmp_path, ["-m", *WORDS, "a='b c'"], runs)
    (plan,), damaged = manifest.read(tmp_path)
    assert damaged == []
    assert plan.path == path
    assert shlex.split(plan.command)[3:] == ["-m", *WORDS, "a='b c'"]
    assert [run.run_id for run in plan.runs] == [run.run_id for run in runs]
    assert PlannedRun(runs[-1].run_id, "cql", "lock", "thin", 0.5, 2, 30) == plan.runs[-1]


def test_the_same_runs_are_one_plan_and_others_are_another(tmp_path: Path, runs: list[Any]) -> None:
    manifest.leave(tmp_path, ["first"], runs)
    manifest.leave(tmp_path, ["second"], runs[::-1])
    manifest.leave(tmp_path, ["third"], runs[:2])
    plans, _ = manifest.read(tmp_path)
    assert sorted((plan.words, len(plan.runs)) for plan in plans) == [
        (["second"], len(runs)),
        (["third"], 2),
    ]


def test_no_plan_is_taken_for_a_record(tmp_path: Path, runs: list[Any]) -> None:
    manifest.leave(tmp_path / "sweep", [], runs)
    store = RunStore(tmp_path)
    assert (store.experiments(), list(store.read("sweep"))) == ([], [])


@pytest.mark.parametrize("text", ["", "{}", '{"words": [], "columns": [], "runs": [[1]]}', "\xff"])
def test_a_damaged_plan_is_said_and_not_counted(
    tmp_path: Path, runs: list[Any], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    RunStore(root).write(record(runs[0]))
    path = manifest.leave(root / "sweep", [], runs)
    path.write_bytes(text.encode("latin1"))
    printed = show(tmp_path, capsys, 200)
    assert f"{path} is damaged" in printed
    # Nobody knows whether anything is missing.
    assert "\n1 of 1 runs done.\n" in printed
    RunStore(root).path("sweep", runs[0].run_id).unlink()
    assert "\n0 of 0 runs done.\n" in show(tmp_path, capsys, 200)


# The table


def test_every_state_is_counted_where_it_belongs(
    tmp_path: Path, runs: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    manifest.leave(root / "sweep", ["-m", *WORDS], runs)
    store = RunStore(root)
    own = {(r.config.algorithm_name, r.config.coverage.severity, r.config.seed): r for r in runs}
    store.write(record(own["bc", 0.0, 0]))
    store.write(record(own["bc", 0.0, 1], "empty"))
    store.write(record(own["bc", 0.5, 0], "failed", "A parameter was not finite at update 30."))
    store.write(record(own["bc", 0.5, 1], "failed", "A parameter was not finite at update 7."))
    store.write(record(own["bc", 0.5, 2], "failed", "ValueError: no"))
    # It is being tried again.
    train(root, "live", [own["bc", 0.5, 2].run_id, own["cql", 0.5, 0].run_id], 10, 1, 20)
    train(root, "dead", [own["cql", 0.5, 1].run_id], 5, 300, 500)
    printed = show(tmp_path, capsys)
    rows = cells(printed)
    at = rows.index(["algorithm", "0", "0.5", "all"])
    assert rows[at + 2 :][:8] == [
        ["bc", "2/3", "0/3", "2/6"],
        ["running", "1", "1"],
        ["failed", "2", "2"],
        ["empty", "1", "1"],
        ["missing", "1", "1"],
        ["cql", "0/3", "0/3", "0/6"],
        ["running", "1", "1"],
        ["missing", "3", "2", "5"],
    ]
    assert ["all", "2/6", "0/6", "2/12"] in rows
    assert "2 of 12 runs done (1 left without data), 2 running, 2 failed, 6 missing." in printed
    assert re.search(r"node-1 +4711 +bc on lock x2 +10 of 30 +\d s ago", printed)
    assert re.search(r"cql on lock x1 +5 of 30 +not heard of for 5 min", printed)
    assert re.search(r"2  A parameter was not finite at update N\. +[0-9a-f]{16}", printed)
    assert "ValueError" not in printed
    command = f"  python -m bench {shlex.join(['-m', *WORDS])}"
    assert f"This trains what is missing (6 runs):\n{command}\n" in printed
    assert f"{command} launcher.retry_failed=true\n" in printed


def test_what_other_code_made_is_stale_and_to_be_trained_again(
    tmp_path: Path, runs: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    manifest.leave(root / "sweep", ["all"], runs)
    for i, run in enumerate(runs):
        made_by = {0: "other", 1: None}.get(i, code_of(run.settings))
        RunStore(root).write(replace(record(run), code=made_by))
    printed = show(tmp_path, capsys)
    assert "10 of 12 runs done, 2 stale (made by other code); nothing is missing." in printed
    assert ["stale", "2", "2"] in cells(printed)
    assert "This trains what is missing or stale (2 runs):\n  python -m bench all\n" in printed
    # What is being trained again is running.
    train(root, "live", [runs[0].run_id], 10, 1, 20)
    assert "10 of 12 runs done, 1 running, 1 stale" in show(tmp_path, capsys)


def test_status_waits_for_nothing_that_it_does_not_need(tmp_path: Path, runs: list[Any]) -> None:
    manifest.leave(tmp_path / "runs" / "sweep", WORDS, runs)
    RunStore(tmp_path / "runs").write(record(runs[0]))
    program = (
        "import sys, time; from bench.commands import status\n"
        "assert status.main(['sweep', '--results', sys.argv[1]]) == 0\n"
        "heavy = ('torch', 'sklearn', 'hydra', 'pydantic', 'numpy', 'wandb', 'algorithms')\n"
        "assert not [name for name in heavy if name in sys.modules]\n"
        "assert time.process_time() < 1.5, time.process_time()\n"
        # Help is as quick; it lists the settings' files, which pydantic's types come with.
        "from bench.commands import run\n"
        "assert run.main(['--help']) == 0\n"
        "assert not [name for name in ('torch', 'hydra', 'scipy') if name in sys.modules]"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)


def test_all_done_is_said_and_nothing_to_type(
    tmp_path: Path, runs: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    manifest.leave(root / "sweep", WORDS, runs)
    for run in runs:
        RunStore(root).write(record(run))
    printed = show(tmp_path, capsys)
    assert printed.endswith("12 of 12 runs done; nothing is missing.\n")


def test_records_without_a_plan_are_planned_by_themselves(
    tmp_path: Path, runs: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "runs"
    RunStore(root).write(record(runs[0]))
    assert "1 record is in no plan and counted as planned." in show(tmp_path, capsys)
    RunStore(root).write(record(runs[0], "failed", "[Errno 5] no [bold]luck[/bold]"))
    printed = show(tmp_path, capsys)
    assert "[Errno N] no [bold]luck[/bold]" in printed
    assert "`launcher.retry_failed=true` in a command tries failed runs again." in printed
    RunStore(root).write(record(runs[0]))
    RunStore(root).write(record(runs[-1]))
    manifest.leave(root / "sweep", WORDS, runs[:2])
    printed = show(tmp_path, capsys)
    assert "2 of 3 runs done, 1 missing." in printed


def test_of_several_commands_the_fewest_are_named(tmp_path: Path, runs: list[Any]) -> None:
    root = tmp_path / "runs"
    manifest.leave(root / "sweep", ["part"], runs[:4])
    manifest.leave(root / "sweep", ["most"], runs[:9])
    manifest.leave(root / "sweep", ["rest"], runs[8:])
    found = standing.stand(root, "sweep")
    named = [(plan.words, count) for plan, count in standing.commands(found, "missing")]
    assert named == [(["most"], 9), (["rest"], 3)]


def test_many_severities_take_several_tables(
    tmp_path: Path, runs: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(20):
        data = {"degradation": "thin", "severity": i / 20}
        one = replace(record(runs[0]), run_id=f"{i:02d}", dataset=data)
        RunStore(tmp_path / "runs").write(one)
    heads = [row[1:] for row in cells(show(tmp_path, capsys)) if row[:1] == ["algorithm"]]
    assert len(heads) > 1
    assert [name for head in heads for name in head] == [f"{i / 20:g}" for i in range(20)] + ["all"]
    wide = [r for r in cells(show(tmp_path, capsys, 200)) if r[:1] == ["algorithm"]]
    assert len(wide) == 1


# Time left


def left_of(root: Path) -> standing.TimeLeft:
    return standing.time_left(standing.stand(root, "sweep"))


def test_time_left_is_that_of_what_runs_and_else_of_records(tmp_path: Path, runs: list[Any]):
    manifest.leave(tmp_path / "sweep", WORDS, runs)
    bc = [run for run in runs if run.config.algorithm_name == "bc"]
    cql = [run for run in runs if run.config.algorithm_name == "cql"]
    assert left_of(tmp_path) == (None, 12, 1)
    # 60 seconds for three runs of 30 updates: 20 seconds a run.
    RunStore(tmp_path).write(record(bc[0]))
    left = left_of(tmp_path)
    assert (left.untimed, left.processes) == (6, 1)
    assert left.seconds == pytest.approx(5 * 20)
    # 10 seconds for 10 updates of two runs: 15 seconds a run, of which two are a third done.
    train(tmp_path, "now", [run.run_id for run in cql[:2]], 10, 0, 10)
    left = left_of(tmp_path)
    assert left.untimed == 0
    assert left.seconds == pytest.approx(5 * 20 + 4 * 15 + 2 * 10, rel=0.01)
    # A run that failed took its time too, and is not left.
    RunStore(tmp_path).write(record(bc[1], "failed", "no"))
    assert left_of(tmp_path).seconds == pytest.approx(4 * 20 + 4 * 15 + 2 * 10, rel=0.01)
    # One that other code made is.
    RunStore(tmp_path).write(replace(record(bc[0]), code="other"))
    assert left_of(tmp_path).seconds == pytest.approx(5 * 20 + 4 * 15 + 2 * 10, rel=0.01)


def test_a_cohort_that_has_only_begun_says_nothing_of_speed(tmp_path: Path, runs: list[Any]):
    manifest.leave(tmp_path / "sweep", WORDS, runs)
    train(tmp_path, "now", [runs[0].run_id], 1, 0, 1)
    assert left_of(tmp_path).seconds is None


def test_the_time_of_kinds_that_are_not_timed_is_said_to_be_a_guess(
    tmp_path: Path, runs: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    manifest.leave(tmp_path / "runs" / "sweep", WORDS, runs)
    assert "Time left unknown, nothing like it has been timed." in show(tmp_path, capsys, 200)
    RunStore(tmp_path / "runs").write(record(runs[0]))
    said = "About 2 min left with one process, and what 6 runs of kinds not timed yet take."
    assert said in show(tmp_path, capsys, 200)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (5400, "1.5 h"), (10**6, "11.6 days")],
)
def test_durations_are_said_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert printer.duration(seconds) == said


# Causes


@given(st.text(max_size=30), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
def test_messages_that_differ_in_numbers_are_one_cause(text: str, i: int, x: float) -> None:
    one, other = (standing.normalised(f"{text} at {n} of {y}") for n, y in [(i, x), (7, 0.5)])
    assert one == other


def test_names_with_digits_are_kept_and_only_the_last_line_counts() -> None:
    error = "Traceback\n  line 3\nKeyError: 'x86_64 v2' at 0x7ffe12 after 1.5e-3 s\n"
    assert standing.normalised(error) == "KeyError: 'x86_64 v2' at N after N s"
    assert standing.normalised(None) == "no cause was recorded"


# Wrong input


def test_an_unknown_experiment_is_one_sentence_with_the_known_ones(
    tmp_path: Path, runs: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert status.main(["nope", "--results", str(tmp_path)]) == 2
    assert "there is none yet." in capsys.readouterr().err
    RunStore(tmp_path / "runs").write(record(runs[0]))
    manifest.leave(tmp_path / "runs" / "planned", [], runs)
    for name in ("nope", "*", "../runs", ""):
        assert status.main([name, "--results", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert error.endswith("known there: planned, sweep.\n")
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    "content",
    ["garbage", {"config": []}, {"status": "odd"}, {"dataset": {"severity": "x"}}, {"seed": []}],
    ids=str,
)
def test_a_damaged_record_is_one_sentence(
    tmp_path: Path, runs: list[Any], content: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = RunStore(tmp_path / "runs").write(record(runs[0]))
    whole = json.loads(path.read_text())
    path.write_text(content if isinstance(content, str) else json.dumps({**whole, **content}))
    words = ["sweep", "--results", str(tmp_path)]
    if content == {"seed": []}:  # nothing here depends on it
        assert status.main(words) == 0
        return
    with pytest.raises(SystemExit) as stop, one_sentence():
        status.main(words)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert path.name in error
    assert error.count("\n") == 1


# Through the launcher


def test_a_sweep_leaves_its_plan_and_the_command_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def bench(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["bench", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    words = ["-m", *TINY, "experiment_name=sweep", BRACES, "seed=0,1"]
    assert bench(*words, "launcher.dry_run=true") == 0
    assert list(tmp_path.iterdir()) == []
    assert bench(*words) == 0
    next(RunStore(Path("results/runs")).root.glob("sweep/*.json")).unlink()
    capsys.readouterr()
    assert status.main(["sweep"]) == 0
    printed = capsys.readouterr().out
    assert "1 of 2 runs done, 1 missing." in printed
    (line,) = [x for x in printed.splitlines() if x.startswith("  python -m bench ")]
    assert bench(*shlex.split(line)[3:]) == 0
    assert status.main(["sweep"]) == 0
    assert "2 of 2 runs done; nothing is missing." in capsys.readouterr().out
    # A single run is typed without -m.
    assert bench(*TINY, "experiment_name=one") == 0
    (plan,), _ = manifest.read(Path("results/runs/one"))
    assert plan.words == [*TINY, "experiment_name=one"]
