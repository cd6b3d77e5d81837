"""How far a sweep is while it lasts, by what workers say of themselves, whatever the engine.

A bar on a terminal; elsewhere, as in a file or a cluster's log, a line every half a minute.
"""

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from bench.engines.orders import Order
from bench.progress import printer
from bench.progress.standing import Standing, State
from bench.settings.spec import RunSpec
from bench.store import heartbeats
from bench.store.heads import Head
from bench.store.manifest import planned_run

LOOK_EVERY = 0.5
SAY_EVERY = 30.0


class Bar:
    """Keeps what is shown up to date by a thread of its own."""

    def __init__(self, pending: Mapping[str, RunSpec], trained: Mapping[str, Head], folder: Path):
        """Take what is to be trained, what has been, and where workers say how far they are."""
        self.runs = {run_id: planned_run(run) for run_id, run in pending.items()}
        self.trained, self.folder = trained, folder
        self.begun = time.time()
        self.ended: set[str] = set()
        console = Console(stderr=True)
        self.on_terminal = console.is_terminal
        columns = (BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
                   TextColumn("{task.description}"))  # fmt: skip
        self.bar = Progress(
            *columns, console=console, refresh_per_second=4, disable=not self.on_terminal
        )
        self.task = self.bar.add_task("", total=sum(r.num_updates for r in self.runs.values()))
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._keep_looking, daemon=True)

    def __enter__(self) -> Self:
        """Begin to show."""
        self.bar.start()
        self.thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        """Leave the bar as it is at the end."""
        self.over.set()
        self.thread.join()
        if self.on_terminal:
            self._show()
        self.bar.stop()

    def end(self, order: Order) -> None:
        """Count an order's runs, also those that another sweep has in hand, as done."""
        self.ended |= order.wanted

    def standing(self) -> Standing:
        """Return where the runs stand now."""
        trained, heard = dict(self.trained), heartbeats.read(self.folder)
        recorded: dict[str, State] = dict.fromkeys(self.ended, "completed")
        recorded |= {run_id: head.status for run_id, head in trained.items()}
        # What killed processes left behind is older than this sweep.
        live = [said for said in heard if said.heard >= self.begun and said.run_ids]
        return Standing(self.runs, recorded, trained, live)

    def _keep_looking(self) -> None:
        while not self.over.wait(LOOK_EVERY if self.on_terminal else SAY_EVERY):
            self._show()

    def _show(self) -> None:
        found = self.standing()
        counted = found.recorded.keys() & self.runs.keys()
        # Runs that failed or were empty made fewer updates, or none, but are done too.
        done = sum(self.runs[run_id].num_updates for run_id in counted)
        made = sum(
            self.runs[i].num_updates for i, h in found.heads.items() if h.status == "completed"
        )
        for said in found.live:
            running = sum(found.states.get(run_id) == "running" for run_id in said.run_ids)
            done += said.update * running
            made += (said.update - said.started_at_update) * running
        rate = made / max(time.time() - self.begun, 1e-9)
        text = (
            f"{len(counted):,} of {len(self.runs):,} runs done, {rate:,.0f} updates/s, "
            f"{printer.remaining(found)}"
        )
        if self.on_terminal:
            self.bar.update(self.task, completed=done, description=text)
        else:
            print(f"{text}.", file=sys.stderr, flush=True)
