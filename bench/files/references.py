"""Reference returns of datasets: what 0 and 100 of a normalised score mean, and who says so."""

import csv
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bench.worlds.simulators.recorded import Reference

FOLDER = Path(__file__).parent


class D4RLEntry(NamedTuple):
    """A line of the table of D4RL's datasets, from d4rl 1.1; sizes from TensorFlow Datasets."""

    random_return: float | None
    expert_return: float | None
    max_episode_steps: int
    url: str
    bytes: int | None

    @property
    def megabytes(self) -> int | None:
        """The size of the file, None where it is not known."""
        return None if self.bytes is None else round(self.bytes / 1e6)

    @property
    def reference(self) -> Reference:
        """The returns that d4rl scales scores by."""
        return Reference(self.random_return, self.expert_return, "d4rl 1.1")


@cache
def d4rl_table() -> dict[str, D4RLEntry]:
    """Return D4RL's datasets by id."""
    return {
        row["dataset_id"]: D4RLEntry(
            _number(row["random_return"]),
            _number(row["expert_return"]),
            int(row["max_episode_steps"]),
            row["url"],
            int(row["bytes"]) if row["bytes"] else None,
        )
        for row in _rows("d4rl_datasets.csv")
    }


def minari_reference(dataset_id: str, random: float | None, expert: float | None) -> Reference:
    """Return the reference of a Minari dataset: this project's where it has one, else the file's.

    `random` and `expert` are what the dataset says of itself. A line of the table is for all
    datasets whose id begins with its prefix.
    """
    for row in _rows("minari_references.csv"):
        if dataset_id.startswith(row["prefix"]):
            return Reference(
                _number(row["random_return"]), _number(row["expert_return"]), row["source"]
            )
    if random is None or expert is None:
        return Reference(None, None, "none known")
    return Reference(random, expert, "the dataset's own metadata")


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(text: str) -> float | None:
    return float(text) if text else None
