"""OhioT1DM: records of people with type 1 diabetes, which nobody may pass on."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.files.claims import no_claim
from bench.files.flat import Card, UnusableFile, accessible, content_hash
from bench.files.gate.claim import Claim
from bench.files.gate.verdict import Trust
from bench.files.readers.ohio import NAMES, READER_VERSION, convert
from bench.files.source import FileSource
from bench.types import Count
from bench.worlds.simulators.recorded import Reference

NO_WORLD = "records of people have no world to act in"


@dataclass(frozen=True)
class OhioT1DM(FileSource):
    """Hours of insulin doses from a folder of the dataset's XML files.

    Attributes:
        path: The folder.
        exponent: Of the reward above 140 mg/dL; 1.1 in some code.
        least_readings: Glucose readings that an hour must have; one with fewer cuts the segment.
    """

    id: str = field(init=False, default="ohio_t1dm")
    random_return: float | None = field(init=False, default=None)
    expert_return: float | None = field(init=False, default=None)
    trust: Trust = field(init=False, default="check")
    path: str | None
    exponent: float
    least_readings: Count

    def __post_init__(self) -> None:
        """Refuse what names no folder, or a reward that does not fall."""
        if not self.path:
            raise ValueError(f"path is {self.path!r}, but should name the folder of the XML files")
        if not 0 < self.exponent <= 3:
            raise ValueError(f"exponent is {self.exponent}, but should be above 0 and at most 3")

    @property
    def files(self) -> list[Path]:
        """The XML files in the folder.

        Raises:
            UnusableFile: If there is no such folder, or no such file in it.
        """
        folder = Path(str(self.path)).expanduser()
        if not folder.is_dir():
            raise UnusableFile(f"{folder} is no folder, it should hold OhioT1DM's XML files")
        found = sorted(folder.rglob("*.xml"))
        if not found:
            raise UnusableFile(f"{folder} holds no file that ends in .xml")
        return found

    def recipe(self) -> dict[str, Any]:
        """Return the hash of all files and the version of the reader."""
        with accessible():
            every = "".join(content_hash(path) for path in self.files)
        return {"sha256": hashlib.sha256(every.encode()).hexdigest(), "reader": READER_VERSION}

    def key(self) -> str:
        """Return what the columns depend on."""
        made = self.recipe()
        return f"ohio-{made['sha256']}-{self.exponent}-{self.least_readings}-{made['reader']}"

    def convert(self, folder: Path) -> Card:
        """Write the files' transitions as columns into a folder."""
        return convert(self.files, self.least_readings, self.exponent, folder)

    def published_reference(self, card: Card) -> Reference:
        """Return that there is none."""
        return Reference(None, None, "none known")

    def claim(self, name: str, card: Card, discount: float) -> Claim:
        """Return that there is no world, with the names of what is observed."""
        alone = no_claim(name, card, discount, self.reference(card), NO_WORLD).data_alone
        named = replace(alone, spec=replace(alone.spec, observation_names=NAMES))
        return Claim(named, named)

    def check_worse(self, epsilon: float, dataset_id: str | None) -> None:
        """Refuse: nobody recorded worse doctors."""
        raise ValueError("coverage=quality needs worse episodes, and ohio_t1dm has none")
