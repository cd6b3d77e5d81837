"""The README's worked examples run as they stand, pass the project's own checks, and link truly."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.settings.groups import known_names
from tests.support.sweeps import records, run_here

ROOT = Path(__file__).parents[1]
EXAMPLE = re.compile(r"<!-- (file: |append: |run)(\S*) ?-->\n```\w*\n(.*?)```", re.DOTALL)
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("[a-z]*/**/README.md"))]
EXAMPLES = [found for page in PAGES for found in EXAMPLE.findall(page.read_text())]
OWN_DATA = re.compile(r"## Your own data\n.*?```python\n(.*?)```\n```\n(.*?)```", re.DOTALL)
COMMANDS = [text.strip() for kind, _, text in EXAMPLES if kind == "run"]
# Where and by whom it is trained is no part of an example, and other tests start processes.
HERE = "launcher=local tracking=none"
MISTYPED = "python -m bench algorithm=double_dqm"
# Runs commands one after the other, so that torch is imported once, and prints what each says.
DRIVER = """
import contextlib, io, json, sys
from bench.__main__ import main

def run(words):
    sys.argv, out, err = ["bench", *words], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            return stop.code or 0, out.getvalue(), err.getvalue()

print(json.dumps([run(words) for words in json.loads(sys.argv[1])]))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with the README's files written into it."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("bench", "algorithms", "conf", "plots"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    if (cache := ROOT / ".mypy_cache").exists():  # else torch alone is analysed for a minute
        shutil.copytree(cache, folder / cache.name)
    for kind, name, text in EXAMPLES:
        if kind == "file: ":
            assert not (folder / name).exists()
            (folder / name).write_text(text)
        elif kind == "append: ":
            (folder / name).write_text((folder / name).read_text() + "\n\n" + text)
    return folder


@pytest.fixture(scope="module")
def said(copy: Path) -> dict[str, tuple[int, str, str]]:
    """Return status, output and errors of every command in the copy."""
    commands = [f"{command} {HERE}" for command in COMMANDS] + [MISTYPED]
    words = [shlex.split(command)[3:] for command in commands]
    done = run(copy, "-c", DRIVER, json.dumps(words))
    assert done.returncode == 0, done.stderr
    return dict(zip([*COMMANDS, MISTYPED], json.loads(done.stdout), strict=True))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_there_is_a_worked_example_of_a_method_a_world_and_a_degradation() -> None:
    assert len(COMMANDS) == 3
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200


@pytest.mark.parametrize("command", COMMANDS)
def test_a_worked_example_runs(said: dict[str, tuple[int, str, str]], command: str) -> None:
    assert command.startswith("python -m bench ")
    status, out, err = said[command]
    assert status == 0, err
    assert "0 empty, 0 failed" in out


def test_the_example_of_own_data_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = OWN_DATA.search((ROOT / "README.md").read_text())
    assert found is not None
    script, commands = found.groups()
    assert len(script.splitlines()) + len(commands.splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    exec(script, {})
    for command in commands.splitlines():
        program, flag, module, *words = command.split()
        assert (program, flag, module) == ("python", "-m", "bench")
        assert run_here(monkeypatch, *words) == 0
    (record,) = records(tmp_path).values()
    assert (record["status"], record["environment"]) == ("completed", "mine")


def test_the_examples_pass_the_project_s_own_checks(copy: Path) -> None:
    for words in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)):
        done = run(copy, "-m", *words)
        assert done.returncode == 0, done.stdout


def test_the_new_names_are_known_to_whoever_mistypes_them(
    said: dict[str, tuple[int, str, str]],
) -> None:
    status, _, err = said[MISTYPED]
    assert status == 2
    assert ", ".join(sorted([*known_names("algorithm"), "double_dqn"])) in err


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_shows_or_links_exists(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        name, _, heading = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert heading in {h.lower().replace(" ", "-") for h in headings}, target
