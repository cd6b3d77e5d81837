"""What a sweep means to train, left beside its records when it is launched.

One file per set of runs, ``<root>/<experiment>/.sweep/plans/<hash of run ids>.json``: "missing" is
what these files name and the store does not hold. Several commands may fill one experiment; each
leaves its own file and their union counts. Removing a file takes back its plan.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.atomic import atomic_write

if TYPE_CHECKING:
    # Whoever only reads manifests need not wait for torch.
    from bench.settings.spec import RunSpec

FOLDER = ".sweep/plans"


class PlannedRun(NamedTuple):
    """What tells one run of a sweep from another at a glance."""

    run_id: str
    algorithm: str
    environment: str
    degradation: str
    severity: float
    seed: int
    num_updates: int


@dataclass(frozen=True)
class Manifest:
    """A command and the runs it asked for.

    Attributes:
        words: The command's words behind ``python -m bench``.
        runs: Every run of the command, stored or not when it was given.
        absent: Why data that it asked for was not there, by environment.
        path: The file.
    """

    words: list[str]
    runs: list[PlannedRun]
    absent: dict[str, str]
    path: Path

    @property
    def command(self) -> str:
        """The command as one types it."""
        return f"python -m bench {shlex.join(self.words)}"


def leave(
    experiment: Path,
    words: Iterable[str],
    runs: Sequence["RunSpec"],
    absent: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write the manifest of a command under an experiment's folder and return its path."""
    ids = " ".join(sorted(run.run_id for run in runs))
    path = experiment / FOLDER / f"{hashlib.sha256(ids.encode()).hexdigest()[:16]}.json"
    content = {"words": list(words), "columns": PlannedRun._fields, "absent": {**absent}}
    # A line per run, for people and for `grep`.
    rows = ",\n".join(json.dumps(planned_run(run)) for run in runs)
    with atomic_write(path) as file:
        file.write(f'{json.dumps(content)[:-1]}, "runs": [\n{rows}\n]}}\n'.encode())
    return path


def read(experiment: Path) -> tuple[list[Manifest], list[Path]]:
    """Return the manifests of an experiment's folder, latest first, and files that are none."""
    manifests, damaged = [], []
    for path in experiment.glob(f"{FOLDER}/[!.]*.json"):
        try:
            content = json.loads(path.read_text("utf-8"))
            runs = [_typed(dict(zip(content["columns"], r, strict=True))) for r in content["runs"]]
            absent = {str(name): str(why) for name, why in dict(content.get("absent", {})).items()}
            words = [str(word) for word in content["words"]]
            manifests.append(Manifest(words, runs, absent, path))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, TypeError, KeyError):
            damaged.append(path)
    return sorted(manifests, key=lambda m: (-_written(m.path), m.path)), damaged


def planned_run(spec: "RunSpec") -> PlannedRun:
    """Return what a plan says of a run."""
    config = spec.config
    return PlannedRun(
        spec.run_id,
        config.algorithm_name,
        config.dataset.environment_name,
        config.coverage.name,
        config.coverage.severity,
        config.seed,
        config.num_updates,
    )


def _typed(row: dict[str, Any]) -> PlannedRun:
    names = {name: str(row[name]) for name in PlannedRun._fields[:4]}
    numbers = {name: int(row[name]) for name in ("seed", "num_updates")}
    return PlannedRun(**names, severity=float(row["severity"]), **numbers)  # type: ignore[arg-type]


def _written(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
