"""A full sweep, drawn once for all tests that look at what it leaves."""

import os
import subprocess
import sys

import pytest

from plots import style
from plots.frame import build_frame
from plots.sections import regret
from tests.support.plotting import ROOT, figures, store, sweep


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    """Return the folder of a full sweep's figures, its records and what was printed."""
    root = tmp_path_factory.mktemp("full")
    records = sweep()
    store(records, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run = subprocess.run(
            [sys.executable, "-m", "plots", "coverage_ablation", "--results", "."],
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
            capture_output=True,
            text=True,
        )
    assert run.returncode == 0, run.stderr
    return figures(root), records, run.stdout


@pytest.fixture(scope="session")
def frame(full):
    """Return the cells of the full sweep."""
    return build_frame("coverage_ablation", full[1])


@pytest.fixture
def one_figure(monkeypatch):
    """Draw one figure in two formats, for tests of what is written beside it."""
    monkeypatch.setattr(regret, "PLOTS", regret.PLOTS[:1])
    monkeypatch.setattr(style, "SUFFIXES", ("svg", "png"))
