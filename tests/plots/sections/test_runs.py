"""What became of the runs is counted, and each is a line of a table."""

from dataclasses import replace

import pytest

from tests.support.plotting import SMALL, figures, plot, store, sweep


@pytest.mark.usefixtures("one_figure")
def test_failed_empty_and_missing_runs_are_counted(tmp_path):
    records = sweep(**SMALL)
    records[0] = replace(records[0], status="failed", final={}, dataset={}, error="a\nb | c_d")
    records[5] = replace(records[5], status="empty", final={})
    absent = records.pop()
    store(records, tmp_path)
    assert plot(tmp_path) == 0
    folder = figures(tmp_path)
    report = (folder / "report.md").read_text()
    assert (
        "Of 19 recorded runs, 17 completed, 1 were left without data by the degradation, 1 failed; "
        "1 more are missing." in report
    )
    assert r"b \| c\_d" in report
    assert "4 to 5 runs (seeds) per cell" in report
    assert absent.algorithm == "cql"
    assert "| lock | thin | 0.9 | cql | 4 | 0 | 0 | 1 |" in report
    assert "| lock | none | 0 | bc | 4 | 0 | 1 | 0 |" in report
    assert "| lock | none | 0 | cql | 4 | 1 | 0 | 0 |" in report
    assert "(4)" in (folder / "table.tex").read_text()
