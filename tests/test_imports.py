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


def test_types_import_nothing_of_the_project() -> None:
    assert imported(ROOT / "bench" / "types.py") == set()
