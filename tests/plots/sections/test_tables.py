"""Tables for screen, Markdown, LaTeX and CSV say the same."""

import numpy as np
import pytest

from plots.data.frame import build_frame
from plots.sections.account.tables import COLUMNS, caption, compact_rows
from plots.sections.curves import regret
from tests.support.latex import compiled
from tests.support.plotting import (
    BC,
    CQL,
    FQI,
    SMALL,
    cells,
    figures,
    plot,
    store,
    sweep,
    table,
    uninformative_records,
    with_final,
)


def test_a_cell_is_the_interquartile_mean_of_its_runs(tables, swept):
    scores = sorted(
        r.final["normalized_regret"]
        for r in swept
        if (r.environment, r.dataset["degradation"], r.dataset["severity"], r.algorithm)
        == ("garnet", "region", 0.5, "cql")
    )
    by_hand = (scores[1] + scores[2] + scores[3]) / 3
    line = cells(tables)["garnet", "region", "0.5", "cql"]
    assert float(line["normalized_regret"]) == pytest.approx(by_hand, rel=1e-5)
    assert scores[0] <= float(line["normalized_regret_low"]) < by_hand
    assert by_hand < float(line["normalized_regret_high"]) <= scores[-1]
    assert line["num_runs"] == "5"
    row = next(
        line
        for line in (tables / "table.md").read_text().splitlines()
        if line.startswith("| garnet | region | 0.5 |")
    )
    assert row.split("|")[6].strip(" *") == f"{by_hand:.2f}"


def test_the_long_table_has_every_cell_once(tables, swept):
    lines = cells(tables)
    # Three environments with seven learners, one with six; severity 0 is one condition.
    assert len(lines) == (3 * 7 + 6) * (3 * 4 + 1)
    assert {line["coverage_measure"] for line in lines.values()} == {
        "support_fraction",
        "nearest_neighbor_support",
    }
    covered = [
        r.coverage["support_fraction"]
        for r in swept
        if (r.environment, r.dataset["degradation"], r.dataset["severity"]) == ("lock", "thin", 0.9)
    ]
    line = lines["lock", "thin", "0.9", "bc"]
    assert float(line["coverage"]) == pytest.approx(np.mean(covered), rel=1e-5)
    assert lines["cartpole", "thin", "0.9", "bc"]["regret_to_covered"] == ""
    assert lines["cartpole", "thin", "0.9", "bc"]["informative"] == ""


@pytest.mark.usefixtures("one_figure")
def test_conditions_that_cannot_tell_methods_apart_are_marked(tmp_path, capsys):
    records = uninformative_records()
    store(records, tmp_path)
    assert plot(tmp_path) == 0
    folder = figures(tmp_path)
    lines = cells(folder)
    assert lines["lock", "none", "0", "bc"]["informative"] == "true"
    assert lines["lock", "thin", "0.9", "bc"]["informative"] == "false"
    marked = [x for x in (folder / "table.md").read_text().splitlines() if "†" in x]
    assert len(marked) == 1
    assert marked[0].startswith("| lock | thin | 0.9 † |")
    assert "**" not in marked[0]
    assert r"\dagger" in (folder / "table.tex").read_text()
    assert "0.9†" in capsys.readouterr().out
    assert "Hatched: the best covered policy" in (folder / "report.html").read_text()


def test_the_lowest_of_a_row_is_best_and_so_is_what_prints_the_same():
    regrets = {"bc": 0.101, "cql": 0.104, "fqi": 0.2}
    records = [
        with_final(r, normalized_regret=regrets[r.algorithm])
        for r in sweep(**{**SMALL, "learners": (BC, CQL, FQI)})
    ]
    for row in compact_rows(build_frame("x", records)):
        assert [(e.text, e.best) for e in row.entries] == [
            ("0.10", True),
            ("0.10", True),
            ("0.20", False),
        ]


def test_latex_compiles(tables, tmp_path):
    assert compiled((tables / "table.tex").read_text(), tmp_path).stat().st_size > 1000


def test_every_latex_row_has_as_many_columns(tables):
    lines = (tables / "table.tex").read_text().splitlines()
    rows = [line for line in lines if line.endswith(r"\\") and " & " in line]
    assert len(rows) == 1 + 4 * 13
    assert {line.count(" & ") for line in rows} == {9}


def test_the_columns_of_cells_are_those_that_are_documented(tables):
    assert list(table(tables / "cells.csv")[0]) == list(COLUMNS)


@pytest.mark.parametrize("least", [0.0, 0.25])
def test_captions_speak_of_severity_0_where_it_was_run(least):
    frame = build_frame("sweep", sweep(**SMALL | {"severities": (least, 0.9)}))
    for words in (caption(frame), regret.caption(frame, regret.PLOTS[0])):
        assert ("everity 0" in words) == (least == 0)
