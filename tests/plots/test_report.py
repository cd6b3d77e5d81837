"""The folder that the command writes: all of it, the same each time, and nothing of before."""

import os
import subprocess
import sys

from plots import style
from plots.report import WRITTEN
from plots.sections import regret
from tests.support.plotting import ROOT, SMALL, figures, plot, store, sweep, uninformative_records

STEMS = (
    "normalized_regret_by_severity",
    "regret_to_covered_by_severity",
    "normalized_regret_by_coverage",
    "regret_to_covered_by_coverage",
)


def test_a_full_sweep_leaves_figures_tables_and_a_report(full):
    folder, _, printed = full
    drawn = {f"{stem}.{suffix}" for stem in STEMS for suffix in ("png", "svg", "pdf")}
    tables = {"cells.csv", "table.md", "table.tex", "report.md", "ranking.csv", "contrasts.csv"}
    assert {path.name for path in folder.iterdir()} == drawn | tables | {"runs.csv", WRITTEN}
    assert all(path.stat().st_size > 100 for path in folder.iterdir())
    report = (folder / "report.md").read_text()
    for stem in STEMS:
        assert f"({stem}.png)" in report
    assert (folder / "table.md").read_text() in report + "\n"
    for words in ("5 runs (seeds) per cell", "95 % percentile-bootstrap", "after the last update"):
        assert words in report
        assert words.replace("%", r"\%") in (folder / "table.tex").read_text()
        assert words in " ".join(printed.split())
    # CartPole has no best covered policy, and one learner does not run there: both are said.
    assert "Left out, since the quantity is not known there: cartpole." in report
    assert r"Not part of the experiment: fqi\_exact on cartpole." in report
    # TrueType outlines (type 42) are embedded, no bitmap-like type 3.
    pdf = (folder / f"{STEMS[0]}.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_redrawing_gives_the_same_bytes(tmp_path):
    records = uninformative_records()
    for place, order in (("one", 1), ("two", -1)):
        store(records[::order], tmp_path / place)
    assert plot(tmp_path / "one") == 0
    options = ["--results", str(tmp_path / "two")]
    subprocess.run(
        [sys.executable, "-m", "plots", "coverage_ablation", *options],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    folders = [figures(tmp_path / place) for place in ("one", "two")]
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]
    for name in names[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_a_figure_that_no_longer_applies_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(regret, "PLOTS", regret.PLOTS[:2])
    monkeypatch.setattr(style, "SUFFIXES", ("png",))
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
