"""`python -m bench.sync EXPERIMENT`: bring W&B up to date with a store, figures included.

For stores made offline or without W&B. Every record becomes, or goes on as, the W&B run
``<experiment>-<run_id>``, so doing it twice changes nothing. What has been pushed is remembered
beside the records and left out the next time.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import requests
from rich.console import Console
from rich.progress import Progress

from bench.atomic import atomic_write
from bench.store.records import RunStore
from bench.sweeps import mirror
from bench.sweeps.mirror import FigureRun, RecordRun, TrackedRun, TrackingConfig

SYNCED = ".sweep/synced.json"
# Seconds that W&B may take for one run, and that its server may take to answer at all.
TIME_LIMIT = 60.0
ANSWER_LIMIT = 10.0
# What was pushed is written down this often; at worst so many are pushed twice.
REMEMBER_EVERY = 20
# So many failures one after the other are no accident of a single run.
MOST_FAILURES_IN_A_ROW = 5


class NotConnected(Exception):
    """W&B cannot be written to; the message is one clause for the user."""


class Item(NamedTuple):
    """Something to push: its name, a hash of its content, and how to make a W&B run of it."""

    name: str
    content: str
    run: Callable[[], TrackedRun]


@dataclass
class Outcome:
    """What became of a push: counts, and why it stopped early if it did."""

    pushed: int = 0
    failed: int = 0
    stopped: str | None = None


class Synced:
    """Which content was pushed where, in one small file beside the records."""

    def __init__(self, experiment: Path, target: str):
        """Read what was pushed to `target`; a damaged file counts as none."""
        self.path, self.target = experiment / SYNCED, target
        try:
            found = json.loads(self.path.read_text())
            self.all = {key: dict(names) for key, names in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self.all = {}
        self.here: dict[str, str] = self.all.setdefault(target, {})

    def save(self) -> None:
        """Write it down for the next time."""
        with atomic_write(self.path) as file:
            file.write(json.dumps(self.all).encode())


def main(words: Sequence[str]) -> int:
    """Push an experiment and return the exit status: 1 unless all of it has arrived."""
    parser = argparse.ArgumentParser(prog="python -m bench.sync", description=__doc__)
    parser.add_argument("experiment", help="folder of records under RESULTS/runs")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--project", default="stackelberg-bench")
    parser.add_argument("--entity", default=None, help="W&B user or team; else the key's own")
    parser.add_argument("--figures", type=Path, default=Path("results/figures"))
    parser.add_argument("--again", action="store_true", help="also what has been pushed before")
    options = parser.parse_args(words)
    store = RunStore(options.results / "runs")
    known = store.experiments()
    if options.experiment not in known:
        names = f"there are {', '.join(known)}" if known else "there is none at all"
        sentence = f"There is no record of {options.experiment!r} under {store.root}; {names}."
        print(sentence, file=sys.stderr)
        return 2
    config = TrackingConfig(
        mode="online", project=options.project, entity=options.entity, time_limit=TIME_LIMIT
    )
    synced = Synced(store.root / options.experiment, _target(config))
    everything = items(store, options.experiment, options.figures / options.experiment)
    before = {} if options.again else synced.here
    pending = [item for item in everything if before.get(item.name) != item.content]
    earlier = len(everything) - len(pending)
    outcome = push(pending, config, synced) if pending else Outcome()
    return _report(outcome, len(pending), earlier, config)


def items(store: RunStore, experiment: str, figures: Path) -> list[Item]:
    """Return what there is to push of an experiment: its records and, if drawn, its figures."""
    paths = store.paths(experiment)
    found = [
        Item(path.stem, _hash([path]), partial(_record_run, store, experiment, path))
        for path in paths
    ]
    drawn = [p for p in sorted(figures.glob("*")) if p.suffix in mirror.FIGURES + mirror.TABLES]
    if drawn:
        found.append(Item("figures", _hash(drawn), partial(FigureRun, experiment, figures)))
    return found


def push(pending: Sequence[Item], config: TrackingConfig, synced: Synced) -> Outcome:
    """Push one item after the other; stop where W&B is out of reach, not for a single failure."""
    outcome, in_a_row = Outcome(), 0
    # W&B keeps files of what it sends; the records are all that is needed later.
    with tempfile.TemporaryDirectory() as folder, _progress() as progress:
        try:
            connect()
            for item in progress.track(pending, description="pushing"):
                try:
                    mirror.write(item.run(), config, "online", Path(folder))
                except Exception as error:
                    outcome.failed += 1
                    in_a_row += 1
                    print(f"{item.name} was not pushed: {_cause(error)}", file=sys.stderr)
                    mirror.forget()
                    connect()
                    if in_a_row == MOST_FAILURES_IN_A_ROW:
                        raise NotConnected(f"{in_a_row} runs in a row failed") from error
                else:
                    outcome.pushed += 1
                    in_a_row = 0
                    synced.here[item.name] = item.content
                    if outcome.pushed % REMEMBER_EVERY == 0:
                        synced.save()
        except NotConnected as error:
            outcome.stopped = str(error)
        finally:
            if outcome.pushed:
                synced.save()
    return outcome


def connect() -> None:
    """Return if W&B can be written to.

    Raises:
        NotConnected: If there is no network, no key, or one that the server refuses.
    """
    wandb = mirror.quiet_wandb()
    mode = os.environ.get("WANDB_MODE", "online")
    if mode not in ("online", "shared"):
        raise NotConnected(f"the environment variable WANDB_MODE is {mode!r}")
    address = _server()
    try:
        # Whatever it answers, it is there; W&B itself would wait much longer for one that is not.
        requests.head(address, timeout=ANSWER_LIMIT)
        if not wandb.login(prompt=False, verify=True):
            raise NotConnected("there is no API key, `wandb login` stores one")
    except requests.RequestException as error:
        raise NotConnected(f"{address} cannot be reached ({type(error).__name__})") from error
    except wandb.errors.Error as error:
        raise NotConnected(_cause(error)) from error


def _server() -> str:
    return str(mirror.quiet_wandb().setup().settings.base_url)


def _target(config: TrackingConfig) -> str:
    """Return where runs go: the same name on another server is another place."""
    return f"{_server()} {config.entity or ''}/{config.project}"


def _record_run(store: RunStore, experiment: str, path: Path) -> RecordRun:
    # A folder may have been renamed since; it is what tells experiments apart.
    return RecordRun(replace(store.load(path), experiment=experiment))


def _hash(paths: Iterable[Path]) -> str:
    """Return a hash of the names and contents of files."""
    content = hashlib.blake2b(digest_size=12)
    for path in paths:
        content.update(path.name.encode() + b"\0" + path.read_bytes())
    return content.hexdigest()


def _cause(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _progress() -> Progress:
    return Progress(console=Console(stderr=True), transient=True)


def _report(outcome: Outcome, pending: int, earlier: int, config: TrackingConfig) -> int:
    where = f"{config.entity}/{config.project}" if config.entity else config.project
    if outcome.stopped is not None:
        left = pending - outcome.pushed
        print(
            f"W&B does not work here: {outcome.stopped}; {outcome.pushed} pushed, {left} left, "
            "the same command goes on with them.",
            file=sys.stderr,
        )
        return 1
    failed = f", {outcome.failed} failed" if outcome.failed else ""
    skipped = f", {earlier} were there already (--again pushes them too)" if earlier else ""
    print(f"{outcome.pushed} pushed to {where}{failed}{skipped}.")
    return 1 if outcome.failed else 0
