"""D4RL's datasets by id: where their files lie, what is known of them."""

import difflib
import os
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium

from bench.files.claims import simulated, spec_of
from bench.files.download import DownloadError, fetch
from bench.files.flat import Card, MissingFile, accessible, content_hash
from bench.files.gate.claim import Claim
from bench.files.readers.d4rl import READER_VERSION, Boundaries, convert
from bench.files.references import D4RLEntry, d4rl_table
from bench.files.source import FileSource
from bench.worlds.simulators.recorded import RecordedEnvironment, Reference

# Gymnasium's environments that are nearest to those of d4rl, by the first word of a dataset's id.
COUNTERPARTS = {
    "hopper": "Hopper-v4",
    "halfcheetah": "HalfCheetah-v4",
    "walker2d": "Walker2d-v4",
    "ant": "Ant-v4",
}


@dataclass(frozen=True)
class D4RL(FileSource):
    """One of D4RL's datasets by its id, in the folder that d4rl would use or ``D4RL_DATASET_DIR``.

    `boundaries` matters where a file has no column of timeouts; `kept_rows` explains it.
    """

    boundaries: Boundaries

    def __post_init__(self) -> None:
        """Refuse an id that is none of D4RL's."""
        table = d4rl_table()
        if self.id not in table:
            near = difflib.get_close_matches(self.id, table, n=3) or ["hopper-medium-v2"]
            raise ValueError(
                f"id is {self.id!r}, but should be one of D4RL's {len(table)} ids, "
                f"such as {', '.join(near)}"
            )

    @property
    def entry(self) -> D4RLEntry:
        """The dataset's line in the table."""
        return d4rl_table()[self.id]

    def path(self) -> Path:
        """Return where the file lies, fetched if it does not yet.

        Raises:
            MissingFile: If it is not there and cannot be fetched.
        """
        url, size = self.entry.url, self.entry.megabytes
        path = folder() / url.rpartition("/")[2]
        if not _exists(path) and (why := _unfetched(url, path)):
            large = "" if size is None else f" ({size} MB)"
            raise MissingFile(
                self.id,
                f"{path}{large} does not exist and {url} cannot be fetched ({why}): put the file "
                "there, or set D4RL_DATASET_DIR to the folder that has it",
            )
        return path

    def recipe(self) -> dict[str, Any]:
        """Return the hash of the file and the version of the reader."""
        with accessible():
            return {"sha256": content_hash(self.path()), "reader": READER_VERSION}

    def key(self) -> str:
        """Return what the columns depend on; ids that share a file may differ in their limit."""
        sha256, reader = self.recipe().values()
        parts = ("d4rl", sha256, self.entry.max_episode_steps, self.boundaries, reader)
        return "-".join(map(str, parts))

    def convert(self, folder: Path) -> Card:
        """Write the file's transitions as columns into a folder."""
        return convert(self.path(), self.entry.max_episode_steps, self.boundaries, folder)

    def published_reference(self, card: Card) -> Reference:
        """Return d4rl's reference returns."""
        return self.entry.reference

    def claim(self, name: str, card: Card, discount: float) -> Claim:
        """Return gymnasium's counterpart if there is one; d4rl's own simulators are not to be had.

        With a counterpart, here or not, actions have its bounds: what is learned must not depend on
        that.
        """
        spec = spec_of(name, card, discount, self.entry.max_episode_steps)
        data_alone = RecordedEnvironment(spec, self.reference(card))
        counterpart = COUNTERPARTS.get(self.id.partition("-")[0])
        if counterpart is None:
            return Claim(data_alone, data_alone)
        if spec.action_bounds is not None:
            bounds = ((-1.0,) * spec.action_size, (1.0,) * spec.action_size)
            data_alone = replace(data_alone, spec=replace(spec, action_bounds=bounds))
        made = gymnasium.spec(counterpart)
        return Claim(simulated(data_alone, made), data_alone, made, stands_in=True)


def folder() -> Path:
    """Return the folder of D4RL's files, as d4rl itself finds it."""
    return Path(os.environ.get("D4RL_DATASET_DIR") or Path.home() / ".d4rl" / "datasets")


@cache
def _unfetched(url: str, path: Path) -> str | None:
    """Fetch a file; return why it cannot be had. A command asks for many runs and waits once."""
    try:
        fetch(url, path)
    except DownloadError as error:
        return str(error)
    return None


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True
