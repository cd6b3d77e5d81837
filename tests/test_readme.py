"""The README's worked examples run as they stand, and its commands exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLE = re.compile(r"<!-- (file: |append: |run)(\S*) ?-->\n```\w*\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the project with the README's files written into it."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("bench", "algorithms", "conf", "plots"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for kind, name, text in EXAMPLE.findall(README):
        if kind == "file: ":
            assert not (folder / name).exists()
            (folder / name).write_text(text)
        elif kind == "append: ":
            (folder / name).write_text((folder / name).read_text() + "\n\n" + text)
    return folder


COMMANDS = [text.strip() for kind, _, text in EXAMPLE.findall(README) if kind == "run"]


def test_there_are_both_worked_examples() -> None:
    assert len(COMMANDS) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_a_worked_example_runs(copy: Path, command: str) -> None:
    words = [sys.executable, *command.split()[1:]]
    done = subprocess.run(words, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 runs completed, 0 empty, 0 failed" in done.stdout


def test_the_new_names_are_known_to_whoever_mistypes_them(copy: Path) -> None:
    words = [sys.executable, "-m", "bench", "algorithm=double_dqm"]
    done = subprocess.run(words, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "bc, bcq, cql, double_dqn" in done.stderr


def test_every_group_choice_that_the_readme_lists_exists_and_none_is_missing() -> None:
    for group in ("algorithm", "dataset", "coverage", "experiment", "launcher", "tracking"):
        (row,) = re.findall(rf"^\| `{group}` \| (.*) \|$", README, re.MULTILINE)
        without_remarks = re.sub(r"\([^)]*\)", "", row)
        made_here, _, from_files = without_remarks.partition("from files:")
        names = re.findall(r"`(\w+)`", made_here)
        # A name that begins with an underscore goes behind every full one.
        full = [name for name in names if not name.startswith("_")]
        behaviors = [name for name in names if name.startswith("_")]
        listed = {*full, *(name + behavior for name in full for behavior in behaviors)}
        listed |= set(re.findall(r"`(\w+)`", from_files))
        assert listed == {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}


def test_every_file_that_the_readme_shows_or_links_exists() -> None:
    headings = {
        f"#{heading.lower().replace(' ', '-')}"
        for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target in headings or (ROOT / target).exists(), target
