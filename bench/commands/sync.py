"""`python -m bench sync EXPERIMENT`: bring W&B up to date with a store, figures included.

For stores made offline or without W&B; with --offline into files under RESULTS/wandb instead, as
sweeps leave them. Every record becomes, or goes on as, the W&B run ``<experiment>-<run_id>``, so
doing it twice changes nothing. What has been written is remembered beside the records.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import requests
from rich.console import Console
from rich.progress import Progress

from bench.atomic import atomic_write
from bench.errors import Words
from bench.store.folders import named_folder
from bench.store.records import RunStore
from bench.tracking import mirror as tracking
from bench.tracking import surroundings
from bench.tracking.mirror import Tracked, TrackingConfig
from bench.tracking.surroundings import Mode

DESCRIPTION = "Bring Weights & Biases up to date with a store, figures included."
SYNCED = ".sweep/synced.json"
# Seconds that W&B may take for one run, and that its server may take to answer at all.
TIME_LIMIT = 60.0
ANSWER_LIMIT = 10.0
# So many failures one after the other are no accident of a single run.
MOST_FAILURES_IN_A_ROW = 5


class Item(NamedTuple):
    """Something to write: its name, a hash of its content, and how to make a W&B run of it."""

    name: str
    content: str
    make: Callable[[], Tracked]


class Pushed(NamedTuple):
    """How much has arrived, failed and is left, and why it stopped early if it did."""

    arrived: int
    failed: int
    left: int
    why: str | None


class Synced:
    """Which content was written where, in one small file beside the records."""

    def __init__(self, experiment: Path, target: str):
        """Read what was written to `target`; a damaged file counts as none."""
        self.path = experiment / SYNCED
        try:
            self.all = {
                k: dict(names) for k, names in json.loads(self.path.read_text("utf-8")).items()
            }
        except (OSError, ValueError, TypeError, AttributeError):
            self.all = {}
        self.here: dict[str, str] = self.all.setdefault(target, {})

    def save(self) -> None:
        """Write it down for the next time."""
        with atomic_write(self.path) as file:
            file.write(json.dumps(self.all).encode())


def main(words: Sequence[str]) -> int:
    """Write an experiment to W&B; return the exit status: 1 unless all of it has arrived."""
    options = _parser().parse_args(words)
    store = RunStore(options.results / "runs")
    known = store.experiments()
    if options.experiment not in known:
        names = f"there are {', '.join(known)}" if known else "there is none at all"
        sentence = f"There is no record of {options.experiment!r} under {store.root}; {names}."
        print(sentence, file=sys.stderr)
        return 2
    config = TrackingConfig(
        mode="offline" if options.offline else "online",
        project=options.project,
        entity=options.entity,
        time_limit=TIME_LIMIT,
    )
    everything = items(store, options.experiment, options.results / "figures" / options.experiment)
    if options.offline:
        where = target = os.path.relpath(options.results / "wandb")
        left = _left_by_sweeps(options.results / "wandb")
        there = {i.name: i.content for i in everything if f"{options.experiment}-{i.name}" in left}
    else:
        where = f"{config.entity}/{config.project}" if config.entity else config.project
        # The same name on another server is another place.
        target, there = f"{_server()} {config.entity or ''}/{config.project}", {}
    synced = Synced(store.root / options.experiment, target)
    before = {} if options.again else there | synced.here
    pending = [item for item in everything if before.get(item.name) != item.content]
    # W&B keeps files of what it sends; the records are all that is needed later.
    with tempfile.TemporaryDirectory() as folder:
        into = options.results if options.offline else Path(folder)
        return _tell(push(pending, config, into, synced), len(everything) - len(pending), where)


def _parser() -> Words:
    parser = Words(prog="python -m bench sync", description=DESCRIPTION)
    known = ", ".join(RunStore(Path("results/runs")).experiments()) or "none"
    parser.add_argument("experiment", help=f"in results/runs there are: {known}")
    parser.add_argument("--offline", action="store_true", help="into files under DIR/wandb")
    parser.add_argument("--results", type=named_folder, default=Path("results"), metavar="DIR")
    parser.add_argument("--project", default="stackelberg-bench")
    parser.add_argument("--entity", default=None, help="W&B user or team; else the key's own")
    parser.add_argument("--again", action="store_true", help="also what has been written before")
    return parser


def items(store: RunStore, experiment: str, figures: Path) -> list[Item]:
    """Return what there is of an experiment: its records and, if drawn, its figures."""
    found = [
        Item(
            path.stem,
            _hash([(path.name, store.content(path))]),
            partial(_of_record, store, experiment, path),
        )
        for path in store.paths(experiment)
    ]
    kinds = tracking.IMAGES + tracking.FILES
    if drawn := [path for path in sorted(figures.glob("*")) if path.suffix in kinds]:
        make = partial(tracking.of_figures, experiment, figures)
        found.append(Item("figures", _hash((path.name, path.read_bytes()) for path in drawn), make))
    return found


def push(pending: Sequence[Item], config: TrackingConfig, folder: Path, synced: Synced) -> Pushed:
    """Write one item after the other; stop where W&B is out of reach, not for a single failure."""
    arrived, failed, in_a_row, why = 0, 0, 0, None
    progress = Progress(console=Console(stderr=True), transient=True)
    try:
        with progress:
            for item in progress.track(pending, description="writing"):
                # Asked before the first one, and whenever the one before has failed.
                why = why or _switched_off(config.mode)
                if why is None and config.mode == "online" and (in_a_row or not arrived):
                    why = out_of_reach()
                if in_a_row == MOST_FAILURES_IN_A_ROW:
                    why = f"{in_a_row} runs in a row failed"
                if why is not None:
                    break
                try:
                    tracking.write(item.make(), config, folder)
                except Exception as error:
                    failed, in_a_row = failed + 1, in_a_row + 1
                    print(f"{item.name} was not written: {tracking.cause(error)}", file=sys.stderr)
                    tracking.forget()
                else:
                    arrived, in_a_row = arrived + 1, 0
                    synced.here[item.name] = item.content
    finally:
        if arrived:
            synced.save()
    return Pushed(arrived, failed, len(pending) - arrived, why)


def out_of_reach() -> str | None:
    """Return why W&B cannot be written to, as one clause; None where it can."""
    if (why := _switched_off("online")) is not None:
        return why
    with surroundings.without_names():
        return _unanswered()


def _switched_off(mode: Mode) -> str | None:
    """Return which variable of the environment does not allow a mode; None if none does not."""
    if surroundings.mode_here(mode) == mode:
        return None
    name = "WANDB_MODE" if os.environ.get("WANDB_MODE") else "WANDB_DISABLED"
    return f"the environment variable {name} is {os.environ[name]!r}"


def _unanswered() -> str | None:
    wandb = tracking.quiet_wandb()
    address = _server()
    try:
        # Whatever it answers, it is there; W&B itself would wait much longer for one that is not.
        requests.head(address, timeout=ANSWER_LIMIT)
        key = wandb.login(prompt=False, verify=True)
    except requests.RequestException as error:
        return f"{address} cannot be reached ({type(error).__name__})"
    except wandb.errors.Error as error:
        return tracking.cause(error)
    return None if key else "there is no API key, `wandb login` stores one"


def _server() -> str:
    with surroundings.without_names():
        return str(tracking.quiet_wandb().setup().settings.base_url)


def _left_by_sweeps(folder: Path) -> set[str]:
    """Return the ids of records in offline files, which are ``offline-run-<time>-<id>``."""
    found = {path.name.split("-", 3)[-1] for path in folder.glob("offline-run-*")}
    # Figures may have been redrawn since.
    return {name for name in found if not name.endswith("-figures")}


def _of_record(store: RunStore, experiment: str, path: Path) -> Tracked:
    # A folder may have been renamed since; it is what tells experiments apart.
    return tracking.of_record(replace(store.load(path), experiment=experiment))


def _hash(files: Iterable[tuple[str, bytes]]) -> str:
    """Return a hash of the names and contents of files."""
    digest = hashlib.blake2b(digest_size=12)
    for name, content in files:
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


def _tell(pushed: Pushed, earlier: int, where: str) -> int:
    """Say how it ended and return the exit status."""
    if pushed.why is not None:
        print(
            f"W&B does not work here: {pushed.why}; {pushed.arrived} written, {pushed.left} "
            "left, the same command goes on with them.",
            file=sys.stderr,
        )
        return 1
    failed = f", {pushed.failed} failed" if pushed.failed else ""
    skipped = f", {earlier} were there already (--again writes them too)" if earlier else ""
    print(f"{pushed.arrived} written to {where}{failed}{skipped}.")
    return 1 if pushed.failed else 0
