"""Minari's datasets by id, local or fetched, and those that this project has exported."""

import importlib.util
import json
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minari
import numpy as np
from minari.dataset.minari_dataset import parse_dataset_id
from minari.storage.datasets_root_dir import get_dataset_path

from bench.environments import Environment
from bench.files.flat import Card, Flat, UnusableFile, content_hash, flattened
from bench.files.minari_reader import READER_VERSION, convert
from bench.files.origin import environment_of, origin_of
from bench.files.references import Reference, minari_reference
from bench.files.source import FileSource
from bench.storage import Storage

HOST = "huggingface.co"
REACHABLE_WITHIN = 3.0


@dataclass(frozen=True)
class Minari(FileSource):
    """One of Minari's datasets, in the folder that Minari would use or ``MINARI_DATASETS_PATH``."""

    def __post_init__(self) -> None:
        """Refuse what Minari would not accept as an id."""
        try:
            parse_dataset_id(self.id)
        except (ValueError, TypeError):
            raise ValueError(
                f"id is {self.id!r}, but should be a Minari id such as D4RL/pen/human-v2"
            ) from None

    def folder(self) -> Path:
        """Return the folder with the dataset's files, fetched if it is not there yet.

        Raises:
            UnusableFile: If it is not there and cannot be fetched.
        """
        path = get_dataset_path(self.id)
        if not (path / "data").exists():
            _fetch(self.id, path)
        return path / "data"

    def recipe(self) -> dict[str, Any]:
        """Return the hash of the files and the version of the reader."""
        return {"sha256": self._hash(), "reader": READER_VERSION}

    def flat(self) -> Flat:
        """Return the dataset's transitions, converted when they are first asked for.

        Raises:
            UnusableFile: If the dataset cannot serve; nothing is cached then.
        """
        with _one_sentence(self.id):
            return flattened(
                f"minari-{self._hash()}-{READER_VERSION}",
                lambda new_column: convert(self.id, self.folder(), new_column),
            )

    def published_reference(self, card: Card) -> Reference:
        """Return this project's reference returns, else those of the dataset's own metadata."""
        own = (card.metadata.get("ref_min_score"), card.metadata.get("ref_max_score"))
        low, high = (float(v) if isinstance(v, int | float) else None for v in own)
        return minari_reference(self.id, low, high)

    def environment(self, name: str, card: Card, discount: float) -> Environment:
        """Return the world that the metadata names, else what the data tells of it."""
        return environment_of(name, card, discount, self.reference(card))

    def behavior(
        self, card: Card, environment: Environment, storage: Storage
    ) -> tuple[float, np.ndarray | None]:
        """Return the behavior policy's value; exactly, where this project collected the data."""
        origin = origin_of(card)
        if origin is None:
            return super().behavior(card, environment, storage)
        return origin.source.behavior_of(environment)

    def _hash(self) -> str:
        with _one_sentence(self.id):
            paths = sorted(path for path in self.folder().iterdir() if path.is_file())
            return "-".join(content_hash(path)[:16] for path in paths)


def _fetch(dataset_id: str, path: Path) -> None:
    """Download a dataset from where Minari keeps them."""
    place = (
        f"put the dataset there, or set MINARI_DATASETS_PATH to the folder that has {dataset_id}"
    )
    if importlib.util.find_spec("huggingface_hub") is None:
        raise UnusableFile(
            f'{path} does not exist: {place}; `pip install -e ".[download]"` lets it be fetched'
        )
    # Asked first, since the download would retry for half a minute.
    try:
        socket.create_connection((HOST, 443), REACHABLE_WITHIN).close()
    except OSError:
        raise UnusableFile(f"{path} does not exist and {HOST} cannot be reached: {place}") from None
    try:
        minari.download_dataset(dataset_id)
    except Exception as error:
        cause = " ".join(str(error).split())[:300].rstrip(".")
        raise UnusableFile(f"{path} cannot be fetched ({cause}): {place}") from None


@contextmanager
def _one_sentence(dataset_id: str) -> Iterator[None]:
    """Turn what can be wrong with a dataset's files into one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UnusableFile:
        raise
    except PermissionError as error:
        raise UnusableFile(f"{error.filename} may not be read or written here") from None
    except json.JSONDecodeError as error:
        raise UnusableFile(f"The metadata of {dataset_id} is no JSON ({error})") from None
