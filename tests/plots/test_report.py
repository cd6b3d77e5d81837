"""The folder that the command writes: all of it, the same each time, and nothing of before."""

import os
import re
import subprocess
import sys
from fnmatch import fnmatch

import pytest

from plots.look import style
from plots.page.markdown import to_html
from plots.report import WRITTEN
from plots.sections.curves import regret
from tests.plots.test_plots_readme import chapter
from tests.support.plotting import (
    ROOT,
    SMALL,
    bare,
    figures,
    plot,
    store,
    sweep,
    uninformative_records,
)

STEMS = (
    "normalized_regret_by_severity",
    "regret_to_covered_by_severity",
    "normalized_regret_by_coverage",
    "regret_to_covered_by_coverage",
)


def test_a_sweep_leaves_documented_figures_tables_and_a_report(tmp_path, capsys):
    store(sweep(degradations=("region", "thin"), severities=(0.0, 0.9)), tmp_path)
    assert plot(tmp_path) == 0
    folder, printed = figures(tmp_path), capsys.readouterr().out
    drawn = {f"{stem}.{suffix}" for stem in STEMS for suffix in ("png", "svg")}
    tables = {"cells.csv", "table.md", "table.tex", "report.html", "ranking.csv", "contrasts.csv"}
    tables |= {"standing.csv", "improvement.csv", "worst.csv", "kinds.csv"}
    for stem in ("standing", "profile", "improvement"):
        drawn |= {f"{stem}{n}.{suffix}" for n in ("", "_2") for suffix in ("png", "svg")}
    assert {path.name for path in folder.iterdir()} == drawn | tables | {"runs.csv", WRITTEN}
    named = re.findall(r"^\| (`.*?) \|", chapter("What is written"), re.M)
    known = [name for cell in named for name in re.findall(r"`(.+?)`", cell)]
    for path in folder.iterdir():
        assert any(fnmatch(name, pattern) for name in (path.name, path.stem) for pattern in known)
    assert all(path.stat().st_size > 100 for path in folder.iterdir())
    report = (folder / "report.html").read_text()
    for stem in STEMS:
        assert f'href="{stem}.png"' in report
    assert to_html((folder / "table.md").read_text().rstrip()) in bare(report)
    for words in ("5 runs (seeds) per cell", "95 % percentile-bootstrap", "after the last update"):
        assert words in report
        assert words.replace("%", r"\%") in (folder / "table.tex").read_text()
        assert words in " ".join(printed.split())
    # CartPole has no best covered policy, and one learner does not run there: both are said.
    assert "Left out, since the quantity is not known there: CartPole." in report
    assert "Not part of the experiment: fqi_exact on cartpole." in report


def test_figures_for_print_embed_their_fonts(tmp_path, one_figure):
    store(sweep(**SMALL), tmp_path)
    assert plot(tmp_path, "coverage_ablation", "--width", "column") == 0
    folder = figures(tmp_path)
    # TrueType outlines (type 42), no bitmap-like type 3.
    pdf = (folder / f"{STEMS[0]}.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


# What takes long to import and has no part in drawing.
SLOW = ("torch", "sklearn", "scipy", "pydantic", "hydra", "omegaconf", "gymnasium", "wandb")


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory):
    """Return the folder of figures drawn by a process of its own, and what it printed."""
    folder = tmp_path_factory.mktemp("redrawn")
    store(uninformative_records()[::-1], folder)
    program = (
        "import sys; from plots.__main__ import main; "
        f"main(['coverage_ablation', '--results', {str(folder)!r}, '--keep']); "
        f"print('slow:', [name for name in {SLOW} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return figures(folder), done.stdout


def test_drawing_imports_nothing_that_trains(redrawn):
    folder, printed = redrawn
    assert printed.splitlines()[-1] == "slow: []"
    assert list(folder.glob("*.svg"))


def test_redrawing_gives_the_same_bytes(redrawn, tmp_path):
    store(uninformative_records(), tmp_path)
    assert plot(tmp_path) == 0
    folders = [redrawn[0], figures(tmp_path)]
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]
    for name in names[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_a_figure_that_no_longer_applies_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(regret, "PLOTS", regret.PLOTS[:2])
    monkeypatch.setattr(style, "SUFFIXES", ("svg", "png"))
    store(sweep(**SMALL), tmp_path)
    assert plot(tmp_path) == 0
    folder = figures(tmp_path)
    (folder / "notes.txt").write_text("mine")
    assert (folder / f"{STEMS[1]}.png").exists()
    for path in (tmp_path / "runs" / "coverage_ablation").glob("*.json"):
        path.unlink()
    store(sweep(**{**SMALL, "environments": ("cartpole",)}), tmp_path)
    assert plot(tmp_path) == 0
    assert not (folder / f"{STEMS[1]}.png").exists()
    assert (folder / f"{STEMS[0]}.png").exists()
    assert (folder / "notes.txt").read_text() == "mine"
