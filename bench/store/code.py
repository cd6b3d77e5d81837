"""The fingerprint of the code that an algorithm's results come from.

It is a hash of the syntax trees of the files that the targets in an algorithm's settings name, its
own and those of its parts, and of everything that these files import inside their own package,
``algorithms/``. Comments, docstrings and formatting are
not in it, nor are methods that are read after training (`READ_AFTERWARDS`). Nothing is imported for
it, so that whoever only reads a store can ask.
"""

import ast
import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

# What a tree says of places and spelling, and not of what is computed.
UNSAID = ("type_comment", "type_ignores", "kind")
# Methods of classes that are asked for once a learner is trained, and decide nothing of what it
# becomes: a change of theirs leaves records as they are. One that other code refers to is in the
# fingerprint as all else is.
READ_AFTERWARDS = ("critic_values", "tabular_critic")


class _Module(NamedTuple):
    """What a file is to a fingerprint.

    Attributes:
        whole: Hash of its syntax tree.
        digest: Hash of what is left of it without `READ_AFTERWARDS`.
        refers: Whether what is left refers to one of these.
        imported: The names that it imports of its own package.
    """

    whole: str
    digest: str
    refers: bool
    imported: tuple[str, ...]


def targets_of(algorithm: Any) -> tuple[str, ...]:
    """Return the targets in an algorithm's settings, of the learner and of its parts, in order."""
    if isinstance(algorithm, list | tuple):
        return tuple(chain.from_iterable(map(targets_of, algorithm)))
    if not isinstance(algorithm, Mapping):
        return ()
    own = algorithm.get("target")
    parts = (part for value in algorithm.values() for part in targets_of(value))
    return (*([own] if isinstance(own, str) else []), *parts)


@cache
def fingerprint(*targets: str) -> str | None:
    """Return the hash of the code of targets, None where that of one cannot be found or read.

    A target is the full name of a class, as in ``algorithms.cql.ConservativeQLearning``. What was
    read of a file stays for the process, which goes on with the code that it has imported.
    """
    try:
        modules: dict[str, _Module] = {}
        for module in (target.rpartition(".")[0] for target in targets):
            root = _root(module.partition(".")[0])
            if root is None or _path(root, module) is None:
                return None
            modules |= {name: _read(root, name) for name in _closure(root, module)}
        modules = dict(sorted(modules.items()))
        whole = any(read.refers for read in modules.values())
        hashes = {name: read.whole if whole else read.digest for name, read in modules.items()}
        text = "\n".join(f"{name} {digest}" for name, digest in hashes.items())
    except (OSError, SyntaxError, ValueError):
        return None
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def code_of(settings: Mapping[str, Any]) -> str | None:
    """Return the fingerprint of today's code for a run's settings, whatever those lack."""
    algorithm = settings.get("algorithm") if isinstance(settings, Mapping) else None
    targets = targets_of(algorithm)
    return fingerprint(*targets) if targets else None


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
        left += [name.rpartition(".")[0], *_read(root, name).imported]
    return found


@cache
def _read(root: Path, module: str) -> _Module:
    """Return what a module is to a fingerprint."""
    path = _path(root, module)
    assert path is not None
    text = path.read_bytes()
    tree = ast.parse(text)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    top = module.partition(".")[0]
    imported = tuple(n for n in _imported(tree, package) if n.partition(".")[0] == top)
    whole = _hash(tree)
    if not any(name.encode() in text for name in READ_AFTERWARDS):
        return _Module(whole, whole, False, imported)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            node.body = [inner for inner in node.body if not _read_afterwards(inner)]
    return _Module(whole, _hash(tree), any(map(_refers, ast.walk(tree))), imported)


def _hash(tree: ast.AST) -> str:
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()


def _read_afterwards(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name in READ_AFTERWARDS


def _refers(node: ast.AST) -> bool:
    """Return whether a node names one of `READ_AFTERWARDS`, as an attribute or in a text."""
    named = getattr(node, "attr", None), getattr(node, "value", None)
    return any(isinstance(name, str) and name in READ_AFTERWARDS for name in named)


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
