"""Imports point one way: a room uses rooms below it, and no files import each other in a circle."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each room with what it may use beside itself. A file is in the room of its folder.
ROOMS: dict[str, tuple[str, ...]] = {
    "bench": (),
    "bench.worlds": ("bench",),
    "bench.worlds.simulators": ("bench.worlds",),
    "bench.worlds.clinical": ("bench.worlds",),
    "bench.data": ("bench.worlds.simulators",),
    "bench.measures": ("bench.data", "algorithms.base", "algorithms.distributions"),
    "bench.measures.statistics": (),
    "bench.settings": ("bench.measures", "algorithms.base"),
    "bench.files": ("bench.settings",),
    "bench.behaviors": ("bench.files",),
    "bench.engines": ("bench.settings",),
    "bench.store": ("bench.settings",),
    "bench.programs": (),
    "bench.cohorts": ("bench.programs", "bench.settings"),
    "bench.training": ("bench.cohorts", "bench.store", "bench.engines", "bench.files"),
    "bench.peers": ("bench.cohorts",),
    "bench.peers.continuous": ("bench.peers",),
    "bench.peers.discrete": ("bench.peers",),
    "bench.progress": ("bench.store", "bench.engines"),
    "bench.tracking": ("bench.store",),
    "bench.sweeps": ("bench.training", "bench.progress", "bench.tracking",
                     "bench.measures.statistics"),
    "bench.commands": ("bench.sweeps", "bench.behaviors", "bench.peers", "plots"),
    "algorithms": ("bench.types",),
    "algorithms.continuous": ("algorithms", "algorithms.pieces"),
    "algorithms.pieces": ("algorithms",),
    "algorithms.stackelberg": ("algorithms",),
    "algorithms.tables": ("algorithms",),
    "plots": ("plots.answers", "plots.sections", "plots.page", "plots.papertables"),
    "plots.data": ("bench.store", "bench.measures.statistics"),
    "plots.look": ("plots.data",),
    "plots.answers": ("plots.look",),
    "plots.sections": ("plots.look",),
    "plots.papertables": ("plots.sections",),
    "plots.page": ("plots.sections",),
}  # fmt: skip
SHARED = ("base", "critics", "distributions", "empirical", "entropy", "networks", "objectives",
          "optimizers", "pieces")  # fmt: skip
"""What of algorithms/ every algorithm may use; all others are algorithms themselves."""


@cache
def allowed(room: str) -> set[str]:
    """Return the rooms and files that a room may use, those below the ones it names included."""
    found: set[str] = set()
    for below in ROOMS.get(room, ()):
        found |= {below} | allowed(below)
    return found


def room_of(module: str) -> str:
    """Return the room that a module is in: the longest one that its name begins with."""
    return max((r for r in ROOMS if f"{module}.".startswith(f"{r}.")), key=len)


@cache
def imported(path: Path) -> set[str]:
    """Return the modules of this project that a file imports, wherever in it."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inside = {n for n in names if (ROOT / (n.replace(".", "/") + ".py")).exists()}
            modules |= inside or {node.module}
    return {m for m in modules if m.split(".")[0] in ("algorithms", "bench", "plots", "conf")}


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for folder in ("bench", "algorithms", "plots")
    for path in sorted((ROOT / folder).rglob("*.py"))
}


@pytest.mark.parametrize("module", MODULES)
def test_a_file_uses_nothing_above_its_room(module: str) -> None:
    if module == "bench.__main__":
        return  # the door: it opens whichever command is asked for
    room = room_of(module)
    below = allowed(room)
    for used in imported(MODULES[module]):
        assert room_of(used) in {room, *below} or used in below, used


@pytest.mark.parametrize("module", [m for m in MODULES if room_of(m).startswith("algorithms")])
def test_an_algorithm_uses_shared_pieces_and_no_sibling(module: str) -> None:
    # One algorithm is a file, of continuous actions or of tables alone a file in their folder, or a
    # whole package.
    place = 2 if module.startswith(("algorithms.continuous.", "algorithms.tables.")) else 1
    own = module.split(".")[: place + 1]
    for used in imported(MODULES[module]) - {"bench.types", "algorithms"}:
        parts = used.split(".")
        assert parts[1] in SHARED or parts[: place + 1] == own, used


def test_no_files_import_each_other_in_a_circle() -> None:
    left = {name: imported(path) & MODULES.keys() - {name} for name, path in MODULES.items()}
    while free := [name for name, used in left.items() if not used & left.keys()]:
        for name in free:
            del left[name]
    assert not left


def test_types_import_nothing_of_the_project() -> None:
    assert imported(ROOT / "bench" / "types.py") == set()


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "bench"])
def test_a_room_says_its_purpose(room: str) -> None:
    source = (ROOT / room.replace(".", "/") / "__init__.py").read_text()
    assert (ast.get_docstring(ast.parse(source)) or "").endswith(".")
