"""The fingerprint of an algorithm's code: what it covers, and what leaves it alone."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import CONF
from bench.store import code

ROOT = Path(__file__).parents[2]
SETTINGS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((CONF / "algorithm").glob("*.yaml"))
}
TARGETS = {name: (settings["target"],) for name, settings in SETTINGS.items()}
# What a follower of StackelbergLearner's is made of its learner does not import.
TARGETS |= {
    f"stackelberg with {name}": (*TARGETS["stackelberg"], follower["target"])
    for name, follower in SETTINGS["stackelberg"]["followers"].items()
}
BC = "algorithms.bc.BehaviorCloning"
CACHES = (code.fingerprint, code._root, code._read)


@pytest.fixture(scope="module")
def imported() -> dict[str, list[str]]:
    """Return what Python itself imports of algorithms/ for each target, in processes of their own.

    A fork of a process that has imported nothing of them costs less than Python's start.
    """
    program = (
        "import importlib, json, os, sys, torch, bench.types\n"
        "for name, targets in json.loads(sys.argv[1]).items():\n"
        "    if os.fork() == 0:\n"
        "        for target in targets:\n"
        "            importlib.import_module(target.rpartition('.')[0])\n"
        "        names = [n for n in sys.modules if n.split('.')[0] == 'algorithms']\n"
        "        print(json.dumps([name, sorted(names)]), flush=True); os._exit(0)\n"
        "    os.wait()\n"
    )
    command = [sys.executable, "-c", program, json.dumps(TARGETS)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.fixture(scope="module")
def read() -> Callable[[Path, str], Any]:
    """Return `code._read` that parses what it has met before no second time, whatever its place."""
    parsed: dict[tuple[str, bytes], Any] = {}
    plain = code._read.__wrapped__

    def again(root: Path, module: str) -> Any:
        path = code._path(root, module)
        assert path is not None
        key = str(path.relative_to(root)), path.read_bytes()
        if key not in parsed:
            parsed[key] = plain(root, module)
        return parsed[key]

    return again


@pytest.fixture
def project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path, str], Any]
) -> Path:
    """Return a copy of algorithms/ that fingerprints are taken of."""
    shutil.copytree(ROOT / "algorithms", tmp_path / "algorithms")
    monkeypatch.setattr(code, "_root", lambda _: tmp_path)
    monkeypatch.setattr(code, "_read", cache(read))
    return tmp_path


def fingerprints() -> dict[str, str | None]:
    """Return the fingerprints of all learners as a new process would take them."""
    for cached in (code.fingerprint, code._read):
        cached.cache_clear()
    return {name: code.fingerprint(*targets) for name, targets in TARGETS.items()}


@pytest.fixture(autouse=True)
def forget() -> object:
    """Let no test, here or elsewhere, meet what another one has read."""
    yield
    for cached in CACHES:
        cached.cache_clear()


@pytest.mark.parametrize("name", TARGETS)
def test_it_covers_what_python_imports_of_algorithms_and_no_more(
    name: str, imported: dict[str, list[str]]
) -> None:
    modules = (target.rpartition(".")[0] for target in TARGETS[name])
    assert sorted(set().union(*(code._closure(ROOT, m) for m in modules))) == imported[name]


def test_comments_docstrings_and_formatting_are_not_in_it(project: Path) -> None:
    before = fingerprints()
    assert None not in before.values()
    for path in project.rglob("*.py"):
        tree = ast.parse(path.read_text())
        # Formatted anew, all comments gone, every docstring another one.
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = "Something else."
        path.write_text(f"# A comment.\n{ast.unparse(tree)}\n\n\n# Another.\n")
    assert fingerprints() == before


def test_a_file_changes_those_that_import_it_and_no_other(
    project: Path, imported: dict[str, list[str]]
) -> None:
    before = fingerprints()
    # One file for each set of learners that share it.
    shared: dict[frozenset[str], Path] = {}
    for path in project.rglob("*.py"):
        parts = path.relative_to(project).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        users = frozenset(name for name in TARGETS if module in imported[name])
        shared[users] = path
    assert len(shared) > len(TARGETS)
    for users, path in shared.items():
        text = path.read_text()
        path.write_text(text + "\nADDED = 1\n")
        after = fingerprints()
        assert {name for name in TARGETS if after[name] != before[name]} == users, path
        path.write_text(text)
    assert fingerprints() == before


def test_the_code_of_a_part_is_that_of_whoever_has_it(project: Path) -> None:
    own, part = BC, "algorithms.cql.ConservativeQLearning"
    settings = {"algorithm": {"target": own, "deep": [{"part": {"target": part}, "rate": 0.1}]}}
    without = {"algorithm": {"target": own, "deep": {"part": None}}}
    assert code.targets_of(settings["algorithm"]) == (own, part)
    before = code.code_of(settings), code.code_of(without)
    assert before == (code.fingerprint(own, part), code.fingerprint(own))
    with (project / "algorithms" / "cql.py").open("a") as file:
        file.write("\nADDED = 1\n")
    code.fingerprint.cache_clear()
    code._read.cache_clear()
    after = code.code_of(settings), code.code_of(without)
    assert after[0] != before[0]
    assert after[1] == before[1]


@pytest.mark.parametrize("method", code.READ_AFTERWARDS)
def test_what_is_read_after_training_is_not_in_it(project: Path, method: str) -> None:
    before, changed = fingerprints(), 0
    for path in project.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef) and inner.name == method:
                        inner.body, changed = ast.parse("return 3").body, changed + 1
        path.write_text(ast.unparse(tree))
    assert changed > 1
    assert fingerprints() == before
    # In a class that had none likewise, and only in a class.
    path, method_of = project / "algorithms" / "bc.py", f"    def {method}(self): return 4\n"
    text = path.read_text()
    path.write_text(f"{text}\n{method_of}")
    assert fingerprints() == before
    path.write_text(f"{text}\n\ndef {method}(self): return 4\n")
    assert fingerprints()["bc"] != before["bc"]


@pytest.mark.parametrize("use", ["self.critic_values(1)", "getattr(self, 'critic_values')"])
def test_what_learning_refers_to_is_in_it_all_the_same(project: Path, use: str) -> None:
    (project / "algorithms" / "kept.py").write_text(
        f"class Base:\n    def update(self): return {use}\n"
    )
    path, found = project / "algorithms" / "mine.py", set()
    for number in range(2):
        path.write_text(
            "from algorithms.kept import Base\n"
            f"class Mine(Base):\n    def critic_values(self, x): return {number}\n"
        )
        code._read.cache_clear()
        code.fingerprint.cache_clear()
        found.add(code.fingerprint("algorithms.mine.Mine"))
    assert len(found) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [("x = 1", "x = 2"), ("x = 1", "x = 1.0"), ("x = 'a'", "x = 'b'"), ("f(a)", "f(b)"),
     ("a < b", "a <= b"), ("x = None", "x = ()"), ("def f(): return 1", "def f(): return"),
     ("if a: b()", "while a: b()"), ("f(a=1)", "f(b=1)"), ("x = 0", "x = False")],
)  # fmt: skip
def test_another_program_is_another_tree(one: str, other: str) -> None:
    assert code._plain(ast.parse(one)) == code._plain(ast.parse(f"'''Text.'''\n\n{one}  # said"))
    assert repr(code._plain(ast.parse(one))) != repr(code._plain(ast.parse(other)))


def test_every_way_to_import_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "pkg/__init__.py": "",
        "pkg/a.py": "import pkg.b\nfrom pkg import c\nfrom . import d\nfrom .e import thing\n",
        "pkg/b.py": "def f():\n    from pkg.sub.deep import x\n",
        "pkg/c.py": "import math, json.decoder\n",
        "pkg/d.py": "from pkg import not_a_file\n",
        "pkg/e.py": "from .sub import inner as thing\n",
        "pkg/sub/__init__.py": "from . import again\n",
        "pkg/sub/again.py": "from .. import a\n",  # a circle
        "pkg/sub/deep.py": "from ..b import f\n",
        "pkg/sub/inner.py": "x = 1\n",
        "pkg/unused.py": "x = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    paths = {name.removesuffix(".py").replace("/", ".") for name in files}
    expected = {path.removesuffix(".__init__") for path in paths} - {"pkg.unused"}
    code._root.cache_clear()
    assert code._closure(tmp_path, "pkg.a") == expected
    assert code.fingerprint("pkg.a.Learner") is not None
    assert "pkg" not in sys.modules


@pytest.mark.parametrize(
    "settings",
    [{}, {"algorithm": None}, {"algorithm": {}}, {"algorithm": {"target": 3}}, [],
     {"algorithm": {"target": "algorithms.gone.Learner"}}, {"algorithm": {"target": "Learner"}},
     {"algorithm": {"target": "no_such_package.x.Learner"}}, {"algorithm": {"target": ""}},
     {"algorithm": {"target": BC, "part": {"target": "algorithms.gone.Part"}}}],
    ids=str,
)  # fmt: skip
def test_code_that_cannot_be_found_has_none(settings: object) -> None:
    assert code.code_of(settings) is None  # type: ignore[arg-type]


def test_code_that_cannot_be_read_has_none(project: Path) -> None:
    (project / "algorithms" / "networks.py").write_text("def broken(:\n")
    found = fingerprints()
    assert found["bc"] is None
