"""Records that look like those of a real sweep, and the command that draws them."""

import csv
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.store.record import RunRecord
from bench.store.records import RunStore
from plots.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
LEARNERS = (
    ("bc", {}),
    ("bcq", {"threshold": 0.3}),
    ("cql", {"conservatism": 1.0}),
    ("fqi", {"initial_value": "v_max"}),
    ("fqi", {"initial_value": "zero"}),
    ("fqi_exact", {}),
    ("stackelberg", {"conservatism": 0.5}),
)
ENVIRONMENTS = {
    "garnet": {"optimum": 8.0, "uniform": 4.5, "floor": 0.0, "discount": 0.95},
    "lock": {"optimum": 0.7, "uniform": -0.95, "floor": -1.0, "discount": 0.95},
    "cliff": {"optimum": 0.8, "uniform": -0.6, "floor": -1.0, "discount": 0.95},
    "cartpole": {"optimum": 500.0, "uniform": 22.0, "floor": None, "discount": 0.99},
}
DEGRADATIONS = {"region": 1.0, "actions": 0.8, "thin": 0.35}
SEVERITIES = (0.0, 0.25, 0.5, 0.75, 0.9)
HARM = {"bc": 0.5, "bcq": 0.55, "cql": 0.6, "fqi": 1.1, "fqi_exact": 0.8, "stackelberg": 0.45}
BC, CQL, FQI = LEARNERS[0], LEARNERS[2], LEARNERS[4]
SMALL = {
    "environments": ("lock",),
    "degradations": ("thin",),
    "severities": (0.0, 0.9),
    "learners": (BC, CQL),
}


def make_record(
    environment: str,
    degradation: str,
    severity: float,
    learner: tuple[str, dict],
    seed: int,
    **changes: object,
) -> RunRecord:
    """Return a completed record whose regret grows with severity, the same one for a seed."""
    name, settings = learner
    degradation = "none" if severity == 0 else degradation
    variant = "-".join(map(str, settings.values()))
    run_id = f"{environment}-{degradation}-{severity}-{name}-{variant}-{seed}"
    loss = DEGRADATIONS.get(degradation, 0.0) * severity
    config = {
        "algorithm": {
            "name": name,
            "target": f"algorithms.{name}.Learner",
            "discount": ENVIRONMENTS[environment]["discount"],
            **settings,
        },
        "dataset": {"name": environment, "seed": seed, "num_transitions": 2000},
        "coverage": {"name": degradation, "severity": severity},
        "seed": seed,
        "num_updates": 2000,
    }
    record = {
        "run_id": run_id,
        "experiment": "coverage_ablation",
        "status": "completed",
        "algorithm": name,
        "environment": environment,
        "seed": seed,
        "config": config,
        "dataset": {"degradation": degradation, "severity": severity, "num_transitions": 2000},
        **_results(run_id, environment, learner, loss),
    }
    return RunRecord(**{**record, **changes})


def _results(run_id: str, environment: str, learner: tuple[str, dict], loss: float) -> dict:
    """Return what a run's data lost and what that cost it, with noise drawn by its id."""
    name, settings = learner
    anchors = ENVIRONMENTS[environment]
    optimum, uniform, floor = anchors["optimum"], anchors["uniform"], anchors["floor"]
    scale, tabular = optimum - uniform, floor is not None
    behavior = uniform + 0.3 * scale
    rng = np.random.default_rng(zlib.crc32(run_id.encode()))
    explodes = settings.get("initial_value") == "v_max" and environment == "cliff"
    factor = 6.0 if explodes else 1.0
    regret = scale * np.clip(
        (0.03 + HARM[name] * loss**1.5) * factor + 0.08 * rng.standard_normal() * (0.3 + loss),
        0,
        1.1 * factor,
    )
    achieved = optimum - regret
    support = float(np.clip(0.98 - 0.9 * loss + 0.02 * rng.standard_normal(), 0, 1))
    covered = max(optimum - 1.2 * loss**2 * (optimum - floor), floor) if tabular else None
    exact = achieved if tabular else None
    return {
        "coverage": {
            "support_fraction": support if tabular else None,
            "nearest_neighbor_support": None if tabular else support,
        },
        "values": {
            "optimum": optimum,
            "uniform": uniform,
            "behavior": behavior,
            "best_covered": covered,
        },
        "evaluations": [{"update": 2000, "returns": [achieved] * 20, "exact_value": exact}],
        "final": {
            "return_mean": achieved,
            "regret": regret,
            "normalized_regret": regret / scale,
            "regret_to_covered": covered - achieved if tabular else None,
            "improvement": achieved - behavior,
        },
    }


def sweep(
    environments=tuple(ENVIRONMENTS),
    degradations=tuple(DEGRADATIONS),
    severities=SEVERITIES,
    learners=LEARNERS,
    seeds=range(5),
) -> list[RunRecord]:
    """Return the records of a full grid, severity 0 once."""
    return [
        make_record(environment, degradation, severity, learner, seed)
        for environment in environments
        for degradation in degradations
        for severity in severities
        for learner in learners
        for seed in seeds
        if (severity > 0 or degradation == degradations[0])
        and not (learner[0] == "fqi_exact" and environment == "cartpole")
    ]


def with_final(record: RunRecord, **numbers: float | None) -> RunRecord:
    return replace(record, final={**record.final, **numbers})


def uninformative_records() -> list[RunRecord]:
    """Return two severities, in the higher of which the best covered policy is nearly uniform."""
    records = []
    for record in sweep(**SMALL):
        share = 0.5 if record.dataset["severity"] == 0 else 0.09
        values = {"optimum": 3.0, "uniform": 1.0, "behavior": 1.0, "best_covered": 1 + 2 * share}
        records.append(replace(record, values=values))
    return records


def store(records: list[RunRecord], root: Path) -> Path:
    """Write the records into a store under `root` and return the store's root."""
    for record in records:
        RunStore(root / "runs").write(record)
    return root / "runs"


def plot(root: Path, experiment: str = "coverage_ablation", *options: str) -> int:
    """Run the command on the results under `root`."""
    return main([experiment, "--results", str(root), *options])


def figures(root: Path, experiment: str = "coverage_ablation") -> Path:
    """Return the folder that the command writes."""
    return root / "figures" / experiment


def bare(text: str) -> str:
    """Return Markdown or HTML without the links that lead to runs."""
    text = re.sub(r"\[([^\]]+)\]\(#runs-[0-9-]+\)", r"\1", text)
    return re.sub(r'<a href="#runs-[0-9-]+">(.*?)</a>', r"\1", text)


def table(path: Path) -> list[dict[str, str]]:
    """Return the lines of a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))


def cells(folder: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the lines of the long table by their place."""
    with (folder / "cells.csv").open() as file:
        lines = list(csv.DictReader(file))
    place = ("environment", "degradation", "severity", "learner")
    return {tuple(line[name] for name in place): line for line in lines}
