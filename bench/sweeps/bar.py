"""The one progress bar: it reads what workers say of themselves, whichever engine runs them."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bench.engines.orders import Order
from bench.settings.spec import RunSpec
from bench.store import progress

LOOK_EVERY = 0.5


class Watch:
    """A bar over the updates of all runs, kept up to date by a thread of its own."""

    def __init__(self, pending: Mapping[str, RunSpec], orders: list[Order], folder: Path):
        """Take what is to be trained and where workers say how far they are."""
        self.pending, self.folder, self.num_orders = pending, folder, len(orders)
        self.begun, self.num_ended, self.done = time.time(), 0, 0
        self.open = set(pending)
        columns = (
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
            MofNCompleteColumn(), TextColumn("updates"), TimeRemainingColumn(),
        )  # fmt: skip
        self.bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
        self.task = self.bar.add_task("", total=self._updates(set(pending)))
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._keep_looking, daemon=True)

    def __enter__(self) -> Self:
        """Show the bar."""
        self.bar.start()
        self.thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        """Leave the bar as it is at the end."""
        self.over.set()
        self.thread.join()
        self._look()
        self.bar.stop()

    def ended(self, order: Order) -> None:
        """Count an order; runs that failed or were empty made no updates, but are done too."""
        self.num_ended += 1
        self.done += self._updates(self.open & order.wanted)
        self.open -= order.wanted

    def _updates(self, run_ids: set[str]) -> int:
        return sum(self.pending[run_id].config.num_updates for run_id in run_ids)

    def _keep_looking(self) -> None:
        while not self.over.wait(LOOK_EVERY):
            self._look()

    def _look(self) -> None:
        made, names = self.done, []
        for said in progress.read(self.folder):
            here = self.open.intersection(said.run_ids)
            # What killed processes left behind is older than this sweep.
            if here and said.heard >= self.begun:
                made += said.update * len(here)
                config = self.pending[next(iter(here))].config
                names.append(f"{config.dataset.name} {config.algorithm_name} x{len(said.run_ids)}")
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        shown = f"{self.num_ended}/{self.num_orders} {names[0] if names else ''}{more}"
        self.bar.update(self.task, completed=made, description=shown)
