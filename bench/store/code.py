"""The fingerprint of the code that an algorithm's results come from.

It is a hash of the syntax trees of the file that a learner's target names and of everything that
this file imports inside its own package, ``algorithms/``. Comments, docstrings and formatting are
not in it. Nothing is imported for it, so that whoever only reads a store can ask.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# What a tree says of places and spelling, and not of what is computed.
UNSAID = ("type_comment", "type_ignores", "kind")


@cache
def fingerprint(target: str) -> str | None:
    """Return the hash of a target's code, None where it cannot be found or read.

    `target` is the full name of a class, as in ``algorithms.cql.ConservativeQLearning``. What was
    read of a file stays for the process, which goes on with the code that it has imported.
    """
    module = target.rpartition(".")[0]
    try:
        root = _root(module.partition(".")[0])
        if root is None or _path(root, module) is None:
            return None
        names = sorted(_closure(root, module))
        text = "\n".join(f"{name} {_read(root, name)[0]}" for name in names)
    except (OSError, SyntaxError, ValueError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def code_of(settings: Mapping[str, Any]) -> str | None:
    """Return the fingerprint of today's code for a run's settings, whatever those lack."""
    algorithm = settings.get("algorithm") if isinstance(settings, Mapping) else None
    target = algorithm.get("target") if isinstance(algorithm, Mapping) else None
    return fingerprint(target) if isinstance(target, str) else None


@cache
def _root(package: str) -> Path | None:
    """Return the folder that holds a package, which is not imported."""
    spec = find_spec(package) if package else None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).parent
    return None if spec.origin is None else Path(spec.origin).parent


def _closure(root: Path, module: str) -> set[str]:
    """Return a module and all that importing it reads of its own top package."""
    found: set[str] = set()
    left = [module]
    while left:
        name = left.pop()
        if name in found or _path(root, name) is None:
            continue
        found.add(name)
        # A module's packages are imported before it.
        left += [name.rpartition(".")[0], *_read(root, name)[1]]
    return found


@cache
def _read(root: Path, module: str) -> tuple[str, tuple[str, ...]]:
    """Return the hash of a module's syntax tree and the names that it imports of its package."""
    path = _path(root, module)
    assert path is not None
    tree = ast.parse(path.read_bytes())
    digest = hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    top = module.partition(".")[0]
    return digest, tuple(n for n in _imported(tree, package) if n.partition(".")[0] == top)


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Yield what may be a module among the names that are imported, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _path(root: Path, module: str) -> Path | None:
    """Return the file of a module, None for a name that is none."""
    place = root.joinpath(*module.split("."))
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if module and path.is_file():
            return path
    return None


def _plain(node: Any) -> Any:
    """Return a syntax tree as nested tuples that every version of Python makes alike."""
    if isinstance(node, list):
        return tuple(_plain(item) for item in node if not _is_text(item))
    if not isinstance(node, ast.AST):
        return node
    fields = ((k, _plain(v)) for k, v in ast.iter_fields(node) if k not in UNSAID)
    # Newer versions leave out what is empty, or have fields that older ones lack.
    return type(node).__name__, tuple((k, v) for k, v in fields if v not in (None, ()))


def _is_text(node: Any) -> bool:
    """Return whether a statement is a docstring, or other text that does nothing."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
