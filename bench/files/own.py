"""Data of one's own: a table of transitions in a file, with or without a world."""

import difflib
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import gymnasium
import numpy as np

from bench.files.claims import gymnasium_claim, no_claim
from bench.files.flat import Card, UnusableFile, accessible, content_hash
from bench.files.gate.claim import Claim
from bench.files.readers.own import READER_VERSION, Names, convert
from bench.files.source import FileSource
from bench.files.tables import READERS
from bench.worlds.simulators.live import spaces_of, without_limit
from bench.worlds.simulators.recorded import Reference
from bench.worlds.spaces import FlatSpace


@dataclass(frozen=True)
class File(FileSource):
    """Transitions in an npz, HDF5, CSV or Parquet file, with D4RL's or Gymnasium's names.

    Attributes:
        id: The file's name without its ending; names the environment in records and figures.
        path: Where the file lies.
        environment: The environment of gymnasium that the data is from, by its id; null is none.
        columns: What the file calls its columns where they have other names.
    """

    id: str = field(init=False, default="")
    path: str | None
    environment: str | None
    columns: Names

    def __post_init__(self) -> None:
        """Refuse what names no file, or an environment that gymnasium does not know."""
        if self.path is None or not Path(self.path).name:
            raise ValueError(
                f"path is {self.path!r}, but should name a file that ends in one of "
                f"{', '.join(READERS)}"
            )
        object.__setattr__(self, "id", Path(self.path).stem)
        if self.environment is not None and self.environment not in gymnasium.registry:
            near = difflib.get_close_matches(self.environment, gymnasium.registry, n=3)
            raise ValueError(
                f"environment is {self.environment!r}, but should be null or registered in "
                f"gymnasium, such as {', '.join(near or ['CartPole-v1'])}"
            )

    @property
    def file(self) -> Path:
        """The file."""
        assert self.path is not None
        return Path(self.path).expanduser()

    def other(self, dataset_id: str) -> Self:
        """Return another file that is read alike."""
        return replace(self, path=dataset_id)

    def recipe(self) -> dict[str, Any]:
        """Return the hash of the file and the version of the reader."""
        with accessible():
            try:
                return {"sha256": content_hash(self.file), "reader": READER_VERSION}
            except FileNotFoundError:
                raise UnusableFile(f"{self.file} does not exist") from None

    def key(self) -> str:
        """Return what the columns depend on."""
        made_of = self.recipe()
        names = hashlib.sha256(repr(self.columns).encode()).hexdigest()[:8]
        return f"own-{made_of['sha256']}-{names}-{made_of['reader']}"

    def convert(self, folder: Path) -> Card:
        """Write the file's transitions as columns into a folder."""
        return convert(self.file, self.columns, folder)

    def published_reference(self, card: Card) -> Reference:
        """Return that nobody has published any."""
        return Reference(None, None, "none known")

    def claim(self, name: str, card: Card, discount: float) -> Claim:
        """Return the world that the settings name, if they do."""
        reference = self.reference(card)
        if self.environment is None:
            return no_claim(name, card, discount, reference, "dataset.environment names no world")
        spec = gymnasium.spec(self.environment)
        try:
            observed, chosen = spaces_of(without_limit(spec))
        except ValueError as error:
            return no_claim(name, card, discount, reference, str(error))
        card = card.model_copy(update=_of_world(card, observed, chosen))
        return gymnasium_claim(name, card, discount, reference, spec)


def _of_world(card: Card, observed: FlatSpace, chosen: FlatSpace) -> dict[str, Any]:
    """Return what a world tells beyond the data: states and actions that nobody met, and bounds."""
    told: dict[str, Any] = {}
    if card.discrete_observations and card.observation_size <= observed.num_values:
        told["observation_size"] = observed.num_values
    if 0 < card.num_actions <= chosen.num_values:
        told["num_actions"] = chosen.num_values
    if card.action_bounds is not None and chosen.size == len(card.action_bounds[0]):
        bounds = chosen.bounds
        if bounds is not None and np.isfinite(bounds).all():
            told["action_bounds"] = bounds
    return told
