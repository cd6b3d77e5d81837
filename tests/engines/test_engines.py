"""Engines: the same sweep by each of them, and workers that die."""

import importlib.util
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from bench.engines.orders import Died, Order, Outcome
from bench.engines.processes import Processes
from tests.support import sweeps
from tests.support.sweeps import TINY, Command

# Two cohorts that end well, and one of which a run turns NaN.
WORDS = ("-m", *TINY, "algorithm=bc,fqi", "algorithm.learning_rate=0.01,1e38", "seed=0,1")
RAY = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install -e .[ray]"
)
ENGINES = [
    pytest.param((), id="local"),
    pytest.param(("launcher=processes", "launcher.workers=2"), id="processes"),
    pytest.param(("launcher=slurm", "launcher.cluster=local", "launcher.cpus=1"), id="slurm"),
    pytest.param(("launcher=ray",), id="ray", marks=RAY),
]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Return the command that has run the sweep in one process."""
    command = Command(tmp_path_factory.mktemp("expected"), *WORDS)
    assert command.end() == 1
    return command


@pytest.fixture(scope="module")
def expected(local: Command) -> dict[str, Any]:
    """Return the records of the sweep in one process."""
    return sweeps.records(local.folder)


# One cohort of the two, whose job or task starts one process less.
HALF = ("algorithm=bc",)


@pytest.mark.parametrize(
    "words",
    [
        *ENGINES[:2],
        *(pytest.param(engine.values[0] + HALF, id=engine.id, marks=engine.marks)
          for engine in ENGINES[2:]),
        *(pytest.param(engine.values[0], id=f"{engine.id}, both cohorts",
                       marks=[*engine.marks, pytest.mark.slow])
          for engine in ENGINES[2:]),
    ],
)  # fmt: skip
def test_every_engine_leaves_the_same_records_and_nothing_else(
    words: tuple[str, ...], tmp_path: Path, local: Command, expected: dict[str, Any]
) -> None:
    half = HALF[0] in words
    asked = {k: r for k, r in expected.items() if not half or r["algorithm"] == "bc"}
    counts = {s: [r["status"] for r in asked.values()].count(s) for s in ("completed", "failed")}
    command = Command(tmp_path, *WORDS, *words) if words else local
    assert command.end() == (1 if counts["failed"] else 0)
    assert sweeps.records(command.folder) == asked
    assert sweeps.litter(command.folder) == []
    said = "{completed} runs completed, 0 empty, {failed} failed, 0 stored before".format(**counts)
    assert said in command.out()
    if counts["failed"]:
        assert "not finite at update" in command.err()[-1]


def _die_once(order: Order) -> Outcome:
    """End the mortal order's process the first time; let the other last beyond that."""
    (name,), (path,) = order.runs, map(Path, order.wanted)
    if name == "mortal" and path.exists():
        path.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    sweeps.wait_for(lambda: not path.exists())
    time.sleep(0.5)
    return Outcome(recorded=[f"{name} {os.getpid()}"])


def test_a_worker_that_dies_is_told_and_replaced_and_the_one_beside_it_goes_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "alive").touch()
    wanted = frozenset([str(tmp_path / "alive")])
    engine, ends = Processes(workers=2, threads=1), []
    engine.open(_die_once, "cpu", "")
    try:
        for name in ("mortal", "other"):
            engine.submit(Order((name,), wanted))  # type: ignore[arg-type]
        while engine.busy:
            for order, how in engine.collect():
                ends.append(how)
                if isinstance(how, Died):
                    engine.submit(order)
    finally:
        engine.close()
    assert [how.cause for how in ends if isinstance(how, Died)] == ["SIGKILL(-9)"]
    recorded = [how.recorded[0].split() for how in ends if isinstance(how, Outcome)]
    assert sorted(name for name, _ in recorded) == ["mortal", "other"]
    assert len({pid for _, pid in recorded}) == 2


def heartbeats_of(folder: Path) -> list[dict[str, Any]]:
    """Return what workers say that they are training."""
    found = []
    for path in (folder / "results/runs/default/.sweep/heartbeats").glob("[!.]*.json"):
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue
    return found


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_given_up_after_three_times(tmp_path: Path) -> None:
    """The order beside it ends as if nothing had happened.

    The quick halves of it: what the engine says of a death, above, and what a sweep does with that,
    in tests/sweeps/test_dying_workers.py.
    """
    long = 10**7
    words = ("-m", *TINY, "algorithm=bc", f"num_updates=31,{long}", "eval_every=31",
             "compile=off")  # fmt: skip
    command = Command(tmp_path, *words, "launcher=processes", "launcher.workers=2")
    killed: list[int] = []

    def next_victim() -> int | None:
        for said in heartbeats_of(tmp_path):
            if said["num_updates"] == long and said["pid"] not in killed:
                return int(said["pid"])
        return None

    for _ in range(3):
        killed.append(sweeps.wait_for(next_victim))
        os.kill(killed[-1], signal.SIGKILL)
    assert command.end() == 1
    statuses = {r["config"]["num_updates"]: r for r in sweeps.records(tmp_path).values()}
    assert statuses[31]["status"] == "completed"
    assert statuses[long]["status"] == "failed"
    assert statuses[long]["error"] == ("worker died 3 times (SIGKILL(-9))")
    assert command.err()[-1] == "1 failed: " + statuses[long]["error"]
    assert sweeps.litter(tmp_path) == []


# Under Slurm and Ray what was started is asked to stop in the same way by both.
SIGNALS = {
    "local": (signal.SIGINT, signal.SIGTERM),
    "processes": (signal.SIGINT, signal.SIGTERM),
    "slurm": (signal.SIGINT,),
    "ray": (signal.SIGTERM,),
}

QUICK = (("local", signal.SIGINT), ("processes", signal.SIGTERM))


@pytest.mark.parametrize(
    ("words", "number"),
    [
        pytest.param(
            *engine.values,
            number,
            id=f"{engine.id} {number.name}",
            # One that the shell sends and one that a cluster does; the others take half a minute.
            marks=[*engine.marks, *([] if (engine.id, number) in QUICK else [pytest.mark.slow])],
        )
        for engine in ENGINES
        for number in SIGNALS[str(engine.id)]
    ],
)
def test_a_signal_says_what_is_left_and_the_same_command_ends_as_if_uninterrupted(
    words: tuple[str, ...], number: signal.Signals, tmp_path: Path, expected: dict[str, Any]
) -> None:
    """With checkpoints after every update, which makes training slow enough to be interrupted."""
    command = Command(tmp_path, *WORDS, *words, "launcher.checkpoint_seconds=0")
    sweeps.wait_for(lambda: sweeps.checkpoints(tmp_path))
    # A terminal's Ctrl-C reaches everything that was started, what a cluster sends one process.
    (os.killpg if number == signal.SIGINT else os.kill)(command.pid, number)
    assert command.end() == 128 + number
    said = command.err()[-1]
    assert said.startswith("Stopped; ")
    assert said.endswith("with a checkpoint; the same command goes on with them.")
    assert "Traceback" not in "".join(command.err())
    assert "100%" not in "".join(command.err())  # of the bar
    sweeps.wait_for(lambda: not sweeps.group_is_alive(command.pid))
    assert sweeps.checkpoints(tmp_path)
    assert Command(tmp_path, *WORDS).end() == 1
    assert sweeps.records(tmp_path) == expected
    assert sweeps.litter(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("launcher=processes", "launcher.workers=0"), "launcher.workers is 0"),
        (("launcher=processes", "launcher.threads=many"), "launcher.threads is 'many'"),
        (("launcher=processes", "+launcher.partition=x"), "cohort_size"),
        (("launcher=slurm",), "launcher.cluster=local runs the same jobs here"),
        (("launcher=slurm", "launcher.cluster=cloud"), "'auto' or 'local'"),
        (("launcher=slurm", "launcher.time=0"), "greater than or equal to 1"),
        (("launcher=ray", "launcher.cpus=0"), "greater than 0"),
        (("launcher.memory_gb=0",), "greater than 0"),
        (("launcher.checkpoint_seconds=-1",), "greater than or equal to 0"),
        (("launcher.target=bench.engines.cloud.Cloud",), "full name of a class"),
        (("launcher.target=algorithms.bc.BehaviorCloning",), "subclass of Engine"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_an_engine_that_cannot_work_is_one_sentence(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sweeps.run_here(monkeypatch, *TINY, *words) == 2
    (message,) = capfd.readouterr().err.splitlines()
    assert said in message
    assert list(tmp_path.iterdir()) == []


def test_without_ray_the_sentence_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert sweeps.run_here(monkeypatch, *TINY, "launcher=ray") == 2
    (message,) = capfd.readouterr().err.splitlines()
    assert 'pip install "stackelberg-bench[ray]"' in message
