"""What plots/README.md says of files and columns is what is written, and its Python runs."""

import re

import pytest

from plots.answers import export
from plots.sections.account import runs, tables
from tests.support.plotting import ROOT, SMALL, store, sweep

README = (ROOT / "plots" / "README.md").read_text()


def chapter(title):
    return re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", README, re.M | re.S).group(1)


@pytest.mark.parametrize(
    ("title", "columns"),
    [
        ("runs.csv", runs.COLUMNS),
        ("cells.csv", tables.COLUMNS),
        ("The long form", export.COLUMNS),
    ],
)
def test_columns_are_documented_word_by_word(title, columns):
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", chapter(title), re.M)
    assert dict(rows) == columns
    assert [name for name, _ in rows] == list(columns)


def test_the_lines_that_read_a_store_run(tmp_path, monkeypatch, capsys):
    records = sweep(**SMALL)
    store(records, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(program)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(records)
    assert {line.split()[0] for line in lines} == {"bc", "cql"}
