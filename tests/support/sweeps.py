"""Sweeps so small that they take a second, run here or in processes that can be killed."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.__main__ import main

# Small data and few updates, in the launching process.
TINY = (
    "dataset=lock",
    "dataset.num_transitions=200",
    "num_updates=30",
    "eval_every=10",
    "eval_episodes=3",
    "tracking=none",
    "launcher=local",
)
# Processes are forked from one that has imported all this: importing takes four times as long as
# such a sweep, and a kill at a random moment rarely hits an import.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "bench.__main__",
        "bench.sweeps.launch",
        "algorithms.bc",
        "algorithms.fqi",
        "torch._dynamo",  # by the first gradient
        __name__,
    ]
)


def run_here(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run a command in this process and return its exit status."""
    monkeypatch.setattr(sys, "argv", ["bench", *said_once(*words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def said_once(*words: str) -> tuple[str, ...]:
    """Return the words without those that a later one replaces."""
    keys = [word.split("=")[0] for word in words]
    return tuple(word for i, word in enumerate(words) if keys[i] not in keys[i + 1 :])


class Command:
    """A command in a process group of its own, its output in files beside the results."""

    def __init__(self, folder: Path, *words: str):
        """Start it."""
        # One thread everywhere, so that every engine rounds alike.
        os.environ["OMP_NUM_THREADS"] = "1"
        self.folder = folder
        self.process = SERVER.Process(target=_run, args=(folder, said_once(*words)))
        self.process.start()

    @property
    def pid(self) -> int:
        """The launching process."""
        assert self.process.pid is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.is_alive()

    def end(self, seconds: float = 120) -> int:
        """Wait for its end and return its exit status."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, "The command does not end."
        return self.process.exitcode

    def kill(self, group: bool) -> None:
        """Kill it at once, with or without the processes that it has started."""
        if group:
            with contextlib.suppress(ProcessLookupError):  # it has just begun
                os.killpg(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()

    def out(self) -> str:
        """Return what it has printed so far."""
        return (self.folder / "out").read_text()

    def err(self) -> list[str]:
        """Return the lines that it has printed as errors, the progress bar's among them."""
        return (self.folder / "err").read_text().splitlines()


def _run(folder: Path, words: tuple[str, ...]) -> None:
    os.setsid()
    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.argv = ["bench", *words]
    main()


def group_is_alive(group: int) -> bool:
    """Return whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(found: Any, seconds: float = 60) -> Any:
    """Return what `found` returns as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "It does not happen."
        time.sleep(0.02)
    return value


def records(folder: Path, experiment: str = "default") -> dict[str, dict[str, Any]]:
    """Return all records of an experiment by id, without what time and machine put into them."""
    found = {}
    for path in (folder / "results" / "runs" / experiment).glob("[!.]*.json"):
        record = json.loads(path.read_text())
        del record["timing"]
        found[path.stem] = record
    return found


def timing(folder: Path, run_id: str, experiment: str = "default") -> dict[str, float]:
    """Return what a record says of its time and memory."""
    path = folder / "results" / "runs" / experiment / f"{run_id}.json"
    found: dict[str, float] = json.loads(path.read_text())["timing"]
    return found


def as_record(record: dict[str, Any], **changed: Any) -> str:
    """Return the text of a record that `records` read, with some fields changed."""
    return json.dumps({**record, "timing": {}, **changed})


def checkpoints(folder: Path, experiment: str = "default") -> list[Path]:
    """Return the snapshots that are there."""
    return sorted((folder / "results" / "runs" / experiment / ".sweep").rglob("*.pt"))


def litter(folder: Path) -> list[Path]:
    """Return what a finished sweep should not have left in its store.

    Records, the file of claims, the plan of each sweep and the store's index are there to stay.
    """
    root = folder / "results" / "runs"
    files = [path for path in root.rglob("*") if path.is_file() and path.parent.parent != root]
    kept = (".claims", "index")
    return [path for path in files if path.name not in kept and path.parent.name != "plans"]
