"""A full sweep, whose texts are made once for all tests that look at what it leaves."""

import pytest

from plots.data.frame import build_frame
from plots.look import style
from plots.sections import sections
from plots.sections.curves import regret
from tests.support.plotting import sweep


@pytest.fixture(scope="session")
def swept():
    """Return the records of a full sweep."""
    return sweep()


@pytest.fixture(scope="session")
def frame(swept):
    """Return the cells of the full sweep."""
    return build_frame("coverage_ablation", swept)


@pytest.fixture(scope="session")
def tables(frame, tmp_path_factory):
    """Return the folder of all that is written of the full sweep but figures and their page."""
    folder = tmp_path_factory.mktemp("tables")
    for file in (file for section in sections(frame) for file in section.files):
        (folder / file.name).write_text(file.text, "utf-8")
    return folder


@pytest.fixture
def one_figure(monkeypatch):
    """Draw one figure in two formats, for tests of what is written beside it."""
    monkeypatch.setattr(regret, "PLOTS", regret.PLOTS[:1])
    monkeypatch.setattr(style, "SUFFIXES", ("svg", "png"))
