"""Minari's datasets by id, local or fetched, and those that this project has exported."""

import hashlib
import importlib.util
import json
import math
import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minari
import numpy as np
from minari.dataset.minari_dataset import parse_dataset_id

from bench.data.storage import Storage
from bench.files.flat import Card, MissingFile, UnusableFile, accessible, content_hash
from bench.files.gate.claim import Claim
from bench.files.origin import KEY, claim_of, origin_of
from bench.files.readers.minari import READER_VERSION, convert
from bench.files.references import minari_reference
from bench.files.source import FileSource
from bench.worlds.base import Environment
from bench.worlds.simulators.recorded import Reference

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
            MissingFile: If it is not there and cannot be fetched.
        """
        path = dataset_path(self.id)
        if not (path / "data").exists():
            _fetch(self.id, path)
        return path / "data"

    def recipe(self) -> dict[str, Any]:
        """Return the hash of the files and the version of the reader."""
        with _one_sentence(self.id):
            digest = hashlib.sha256()
            for path in sorted(path for path in self.folder().iterdir() if path.is_file()):
                digest.update(f"{path.name} {content_hash(path)}\n".encode())
        return {"sha256": digest.hexdigest(), "reader": READER_VERSION}

    def key(self) -> str:
        """Return what the columns depend on."""
        made_of = self.recipe()
        return f"minari-{made_of['sha256']}-{made_of['reader']}"

    def convert(self, folder: Path) -> Card:
        """Write the dataset's transitions as columns into a folder."""
        with _one_sentence(self.id):
            return convert(self.id, self.folder(), folder)

    def published_reference(self, card: Card) -> Reference:
        """Return this project's reference returns, else those of the dataset's own metadata."""
        low, high = (_number(card.metadata.get(f"ref_{end}_score")) for end in ("min", "max"))
        said = _said(card).get("reference")
        if isinstance(said, str) and low is not None and high is not None:
            return Reference(low, high, said)
        return minari_reference(self.id, low, high)

    def claim(self, name: str, card: Card, discount: float) -> Claim:
        """Return the world that the metadata names, if it does."""
        return claim_of(name, card, discount, self.reference(card))

    def behavior(
        self, card: Card, environment: Environment, storage: Storage
    ) -> tuple[float, np.ndarray | None]:
        """Return the behavior policy's value; exactly, where this project collected the data."""
        origin = origin_of(card)
        if origin is not None and environment.can_evaluate:
            return origin.source.behavior_of(environment)
        # What an export knows of the whole data; it may hold no more than a part.
        said = _said(card).get("behavior")
        known = said if isinstance(said, Mapping) else {}
        value = _number(known.get("value"))
        if value is not None and known.get("discount") in (None, environment.spec.discount):
            return value, None
        return super().behavior(card, environment, storage)


def dataset_path(dataset_id: str = "") -> Path:
    """Return the folder of a dataset, or of all, as Minari finds it; nothing is made."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    return (Path.home() / ".minari" / "datasets" if root is None else Path(root)) / dataset_id


def _said(card: Card) -> Mapping[str, Any]:
    """Return what an export of this project says of itself, nothing if it is none."""
    said = card.metadata.get(KEY)
    return said if isinstance(said, Mapping) else {}


def _number(said: object) -> float | None:
    known = isinstance(said, int | float) and math.isfinite(said)
    return float(said) if known else None  # type: ignore[arg-type]


def _fetch(dataset_id: str, path: Path) -> None:
    """Download a dataset from where Minari keeps them."""
    place = (
        f"put the dataset there, or set MINARI_DATASETS_PATH to the folder that has {dataset_id}"
    )
    if importlib.util.find_spec("huggingface_hub") is None:
        raise MissingFile(
            dataset_id,
            f'{path} does not exist: {place}; `pip install -e ".[download]"` lets it be fetched',
        )
    # Asked first, since the download would retry for half a minute.
    try:
        socket.create_connection((HOST, 443), REACHABLE_WITHIN).close()
    except OSError:
        raise MissingFile(
            dataset_id, f"{path} does not exist and {HOST} cannot be reached: {place}"
        ) from None
    try:
        minari.download_dataset(dataset_id)
    except Exception as error:
        cause = " ".join(str(error).split())[:300].rstrip(".")
        raise MissingFile(dataset_id, f"{path} cannot be fetched ({cause}): {place}") from None


@contextmanager
def _one_sentence(dataset_id: str) -> Iterator[None]:
    """Turn what can be wrong with a dataset's files into one sentence."""
    try:
        with accessible(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except json.JSONDecodeError as error:
        raise UnusableFile(f"The metadata of {dataset_id} is no JSON ({error})") from None
