"""Published scores with their protocols, carried as data of this project (``*.csv``).

A number holds for one version of one dataset, which its id names: v0, v2 and Minari's sets are
different data. They are normalized by d4rl's returns.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import isfinite, sqrt
from pathlib import Path
from typing import Literal, get_args

FOLDER = Path(__file__).parent
Rule = Literal["last", "best", "last10"]
RULES: tuple[Rule, ...] = get_args(Rule)


class DamagedTable(ValueError):
    """A table of published scores that contradicts itself; the message names the line."""


@dataclass(frozen=True)
class Source:
    """Where numbers were published: name, place, the day it was read, what is particular."""

    source: str
    title: str
    url: str
    as_of: str
    note: str


@dataclass(frozen=True)
class Reported:
    """One published number.

    Attributes:
        dataset_id: D4RL's id, the version of the data at its end.
        learner: The method as its source writes it.
        algorithm: What it is called here, whether this project has it or not.
        settings: What of ours must be so for it to be the same method, by setting.
        score: Mean normalized score over seeds.
        std: Standard deviation over seeds as it was published, None where it was not.
        std_ddof: 0 of the population, 1 of a sample; None where the source does not say.
        rule: Which evaluations of a run count; None where the source does not say.
        seeds: Their number, None where the source does not say.
        episodes: Per evaluation, likewise.
        source: Where it was published.
    """

    dataset_id: str
    learner: str
    algorithm: str
    settings: dict[str, str]
    score: float
    std: float | None
    std_ddof: int | None
    rule: Rule | None
    seeds: int | None
    episodes: int | None
    source: Source

    @property
    def data_version(self) -> str:
        """The version of the dataset, as in ``v2``."""
        return self.dataset_id.rpartition("-")[2]

    @property
    def sample_std(self) -> float | None:
        """The standard deviation with ddof 1, like ours; as published where its kind is unknown."""
        if self.std is None or self.std_ddof != 0 or self.seeds is None:
            return self.std
        return self.std * sqrt(self.seeds / (self.seeds - 1))

    @property
    def protocol(self) -> str:
        """How the number was made, in words."""
        rules = {
            "last": "last evaluation",
            "best": "best evaluation",
            "last10": "mean of the last ten evaluations",
            None: "evaluations not stated",
        }
        parts = [rules[self.rule]]
        parts += [f"{self.seeds} seeds"] if self.seeds else ["seeds not stated"]
        parts += [f"{self.episodes} episodes"] if self.episodes else []
        return ", ".join(parts)


@cache
def reported_scores() -> tuple[Reported, ...]:
    """Return all published numbers, in the order of the file.

    Raises:
        DamagedTable: If a line has a number that cannot be, or says again what another one says.
    """
    sources = {row["source"]: Source(**row) for row in _rows("sources.csv")}
    return checked(_rows("reported_scores.csv"), sources)


def checked(rows: Iterable[dict[str, str]], sources: dict[str, Source]) -> tuple[Reported, ...]:
    """Return the lines of the table as numbers.

    Raises:
        DamagedTable: If a line has a number that cannot be, or says again what another one says.
    """
    found: dict[tuple[str, ...], Reported] = {}
    for number, row in enumerate(rows, 2):
        try:
            reported = _reported(row, sources)
        except (ValueError, KeyError) as error:
            raise DamagedTable(f"Line {number} of the published scores: {error}") from None
        key = tuple(row[name] for name in ("dataset_id", "learner", "rule", "source"))
        if key in found:
            raise DamagedTable(f"Line {number} of the published scores repeats {', '.join(key)}")
        found[key] = reported
    return tuple(found.values())


def _reported(row: dict[str, str], sources: dict[str, Source]) -> Reported:
    score, std = float(row["score"]), _number(row["std"])
    ddof, seeds, episodes = (_whole(row[name]) for name in ("std_ddof", "seeds", "episodes"))
    rule = next((rule for rule in RULES if rule == row["rule"]), None)
    if row["rule"] and rule is None:
        raise ValueError(f"its rule is {row['rule']!r}, not one of {', '.join(RULES)}")
    if not (isfinite(score) and -50 < score < 200):
        raise ValueError(f"its score is {score}")
    if std is not None and not 0 <= std < 100:
        raise ValueError(f"its std is {std}")
    if ddof not in (None, 0, 1) or (ddof is not None and (std is None or seeds is None)):
        raise ValueError(f"its std is {std} of {seeds} seeds with ddof {ddof}")
    if (seeds is not None and seeds < 2) or (episodes is not None and episodes < 1):
        raise ValueError(f"it has {seeds} seeds and {episodes} episodes")
    settings = dict(part.split("=", 1) for part in row["settings"].split() if part)
    names = (row["dataset_id"], row["learner"], row["algorithm"])
    return Reported(
        *names, settings, score, std, ddof, rule, seeds, episodes, sources[row["source"]]
    )


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(text: str) -> float | None:
    return float(text) if text else None


def _whole(text: str) -> int | None:
    return int(text) if text else None
