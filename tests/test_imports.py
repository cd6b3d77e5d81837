"""Imports point down: plots -> records and statistics; bench -> the contract; never a sibling."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = {
    "algorithms.base",
    "algorithms.exact_play",
    "algorithms.game",
    "algorithms.implicit",
    "algorithms.kernels",
    "algorithms.linear_follower",
    "algorithms.moments",
    "algorithms.networks",
    "algorithms.neural_follower",
    "algorithms.neural_memory",
    "algorithms.neural_play",
    "algorithms.objectives",
    "algorithms.optimizers",
    "algorithms.solvers",
    "algorithms.squared_table",
    "algorithms.table_follower",
    "algorithms.terms",
    "bench.types",
}


def imported(path: Path) -> set[str]:
    """Return the modules of this project that a file imports, wherever in it."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= {
                name for name in names if (ROOT / (name.replace(".", "/") + ".py")).exists()
            }
            modules.add(node.module)
    project = {"algorithms", "bench", "plots", "conf", "tests"}
    return {m for m in modules if m.split(".")[0] in project and m not in project}


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files("plots"), ids=str)
def test_plots_read_records_only(path: Path) -> None:
    assert {m for m in imported(path) if not m.startswith("plots.")} <= {
        "bench.results",
        "bench.statistics",
    }


@pytest.mark.parametrize("path", files("bench"), ids=str)
def test_the_harness_knows_no_concrete_algorithm_and_no_plot(path: Path) -> None:
    outside = {m for m in imported(path) if not m.startswith("bench.")}
    assert outside <= {"algorithms.base"}


@pytest.mark.parametrize("path", files("algorithms"), ids=str)
def test_an_algorithm_uses_shared_pieces_and_no_sibling(path: Path) -> None:
    assert imported(path) <= SHARED


# What a room of the harness may use, beside itself: the way of the data is one-directional,
# launcher -> plan -> sweeps -> training, with the engines as what sweeps and workers share.
ROOMS = {
    "engines": {"bench.spec", "bench.typed", "bench.types"},
    "files": {
        "bench.atomic", "bench.behavior", "bench.cartpole", "bench.datasets", "bench.environments",
        "bench.mdps", "bench.seeding", "bench.storage", "bench.tabular", "bench.typed",
        "bench.types",
    },
    "training": {
        "bench.atomic", "bench.cohort", "bench.compilation", "bench.config", "bench.coverage",
        "bench.datasets", "bench.engines", "bench.engines.orders", "bench.engines.stopping",
        "bench.evaluation", "bench.plan", "bench.regret", "bench.replay", "bench.results",
        "bench.spec", "bench.tabular", "bench.typed",
    },
    "sweeps": {
        "bench.atomic", "bench.config", "bench.engines", "bench.engines.base",
        "bench.engines.orders", "bench.engines.stopping", "bench.plan", "bench.results",
        "bench.spec", "bench.tracking", "bench.training", "bench.training.checkpoints",
        "bench.training.claims", "bench.training.progress", "bench.training.recording",
        "bench.training.sweep_files", "bench.training.worker",
    },
}  # fmt: skip
# Who outside these rooms opens their doors, and which.
DOORS = {
    "engines": {
        "bench/harness.py": {"base"},
        "bench/launcher.py": {"stopping"},
    },
    "training": {
        "bench/launcher.py": {"checkpoints", "sweep_files"},
        "bench/status.py": {"progress"},
    },
    "sweeps": {
        "bench/launcher.py": {"dry_run", "manifest", "report", "sweep"},
        "bench/status.py": {"standing"},
    },
}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_uses_nothing_above_itself(room: str) -> None:
    for path in files(f"bench/{room}"):
        outside = {m for m in imported(path) if not f"{m}.".startswith(f"bench.{room}.")}
        assert outside <= ROOMS[room], path


@pytest.mark.parametrize("room", DOORS)
def test_few_outside_a_room_reach_into_it(room: str) -> None:
    used = {}
    for path in (ROOT / "bench").glob("*.py"):
        inside = {m.split(".")[2] for m in imported(path) if m.startswith(f"bench.{room}.")}
        if inside:
            used[str(path.relative_to(ROOT))] = inside
    assert used == DOORS[room]


def test_no_files_import_each_other_in_a_circle() -> None:
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for folder in ("bench", "algorithms", "plots")
        for path in files(folder)
    }
    left = {name: imported(path) & names.keys() - {name} for name, path in names.items()}
    while free := [name for name, used in left.items() if not used & left.keys()]:
        for name in free:
            del left[name]
    assert not left


def test_types_import_nothing_of_the_project() -> None:
    assert imported(ROOT / "bench" / "types.py") == set()
