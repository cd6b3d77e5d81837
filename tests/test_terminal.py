"""Output that is not UTF-8 gets plain characters, and every text file is UTF-8 in any locale."""

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.terminal import plain, print_whatever_can_be

ROOT = Path(__file__).parents[1]
# A locale that knows nothing but ASCII, as on bare machines and in containers.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
MODULES = [p for folder in ("bench", "plots") for p in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0.5 †", "0.5 +"), ("é1", "e1"), ("── x", "-- x"), ("…", "..."), ("日", "?"), ("ab", "ab")],
)
def test_what_cannot_be_shown_becomes_plain(text, shown):
    assert plain(text) == shown


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_nothing_that_is_printed_raises(encoding, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, newline=""))
    print_whatever_can_be()
    print("café † ─ 日", flush=True)
    expected = {"ascii": "cafe + - ?", "cp1252": "café † - ?", "utf-8": "café † ─ 日"}[encoding]
    assert written.getvalue().decode(encoding) == expected + "\n"


def test_an_output_that_cannot_be_told_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    print_whatever_can_be()


# The second is for files of others, which may begin with a byte order mark.
ENCODINGS = {"utf-8", "utf-8-sig"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_says_that_it_is_utf_8(path):
    for call in (n for n in ast.walk(ast.parse(path.read_bytes())) if isinstance(n, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else None
        said = [a.value for a in ast.walk(call) if isinstance(a, ast.Constant)]
        if name in ("read_text", "write_text"):
            assert ENCODINGS & set(said), f"{path}:{call.lineno}"
        in_text = name == "open" and not any("b" in str(word) for word in said)
        if in_text and any(keyword.arg == "newline" for keyword in call.keywords):
            assert ENCODINGS & set(said), f"{path}:{call.lineno}"


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "bench", "describe", "dataset=lock", "dataset.num_transitions=100"),
        ("-m", "plots", "leader_gradient", "--reference", "--results", "{root}/results"),
    ],
    ids=["describe", "plots"],
)
@pytest.mark.slow
def test_commands_print_in_an_ascii_locale(words, tmp_path):
    command = [sys.executable, *(word.format(root=ROOT) for word in words)]
    environment = {**os.environ, **ASCII, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii")
