"""The words that answer one question: a part of the records, the long form, changes, seeds."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest

from bench.errors import UserError
from plots.answers.comparing import compare, summary
from plots.answers.export import COLUMNS, export
from plots.answers.power import spreads
from plots.data.frame import build_frame
from plots.data.tasks import fields
from tests.support.plotting import (
    SMALL,
    figures,
    plot,
    store,
    sweep,
    table,
    with_final,
)  # fmt: skip


@pytest.fixture
def stored(tmp_path):
    store(sweep(**SMALL), tmp_path)
    return tmp_path


@pytest.mark.usefixtures("one_figure")
def test_only_what_is_named_is_drawn(stored):
    assert plot(stored, "coverage_ablation", "--learners", "cql", "--worlds", "lock") == 0
    assert {row["learner"] for row in table(figures(stored) / "runs.csv")} == {"cql"}


@pytest.mark.parametrize(
    ("word", "name"), [("--worlds", "lokc"), ("--learners", "sql"), ("--chosen", "mine")]
)
def test_a_name_that_nothing_has_is_refused_before_anything_is_written(stored, word, name):
    with pytest.raises(UserError, match=rf"'{name}' here; there are"):
        plot(stored, "coverage_ablation", word, name)
    assert not figures(stored).exists()


def test_the_long_form_has_every_number_once(stored, capsys):
    path = stored / "all.csv"
    assert plot(stored, "coverage_ablation", "--export", str(path)) == 0
    rows = table(path)
    assert list(rows[0]) == list(COLUMNS)
    assert f"{len(rows)} numbers" in capsys.readouterr().out
    frame = build_frame("x", sweep(**SMALL))
    place = [(r["run_id"], r["group"], r["quantity"], r["update"]) for r in rows]
    assert len(place) == len(set(place))
    found = {(r["run_id"], r["quantity"]): float(r["value"]) for r in rows if r["group"] == "final"}
    for record in frame.records:
        for name, value in record.final.items():
            assert found[record.run_id, name] == pytest.approx(value, rel=1e-8)


def test_parquet_holds_what_csv_does(stored):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    frame = build_frame("x", sweep(**SMALL))
    assert export(frame, stored / "a.parquet") == export(frame, stored / "a.csv")
    with (stored / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = parquet.read_table(stored / "a.parquet").to_pydict()
    assert [float(row["value"]) for row in rows] == columns["value"]
    with pytest.raises(UserError, match="should end in"):
        export(frame, stored / "a.txt")


def test_what_changed_is_found_and_what_did_not_is_not():
    # Holm over four cells leaves five seeds no chance: 2 / 2^5 at best.
    before = sweep(**{**SMALL, "seeds": range(10)})
    after = [
        with_final(r, normalized_regret=r.final["normalized_regret"] + 0.3)
        if r.algorithm == "cql" and r.dataset["severity"] == 0.9
        else r
        for r in before
    ]
    found = compare(build_frame("old", before), build_frame("new", after[1:]))
    clear = [c for c in found.changes if c.adjusted < 0.05]
    (change,) = clear
    assert (change.learner, change.condition.severity) == ("cql", 0.9)
    assert change.difference[:3] == pytest.approx((0.3, 0.3, 0.3))
    assert change.adjusted == pytest.approx(4 * 2 / 2**10)
    assert "4 cells are in both: 3 are equal to the last digit, 1 differ" in summary(found)


def test_two_folders_of_results_are_compared(stored, tmp_path, capsys):
    other = tmp_path / "other"
    store(sweep(**SMALL), other)
    assert plot(stored, "coverage_ablation", "--compare", str(other)) == 0
    assert "4 cells are in both: 4 are equal" in capsys.readouterr().out
    assert len(table(figures(stored) / "compared.csv")) == 4
    with pytest.raises(UserError, match="no experiment 'nothing'"):
        plot(stored, "coverage_ablation", "--compare", "nothing")


def test_seeds_are_counted_from_the_spread_of_paired_differences(stored, capsys):
    frame = build_frame("x", sweep(**SMALL), chosen="cql")
    ((field, (spread,)),) = spreads(frame)
    assert (spread.learner, spread.other) == ("cql", "bc")
    differences = field.of("cql")[0] - field.of("bc")[0]
    assert spread.largest == pytest.approx(np.std(differences, axis=1, ddof=1).max())
    assert plot(stored, "coverage_ablation", "--power", "--chosen", "cql") == 0
    printed = capsys.readouterr().out
    assert re.search(r"CQL against BC \(spread .*\): 0\.2: \d+ to \d+;", printed)


def test_fields_are_environments_with_the_same_learners():
    frame = build_frame("x", sweep())
    tables, networks = fields(frame, "normalized_regret")
    assert set(tables.environments) == {"cliff", "garnet", "lock"}
    assert networks.environments == ("cartpole",)
    assert "fqi_exact" not in networks.learners
    assert tables.num_tasks == sum(
        s.informative is not False for c, s in frame.situations.items()
        if c.environment != "cartpole"
    )  # fmt: skip
    record = next(
        r for r in frame.records if r.environment == "lock" and r.dataset["severity"] == 0
    )
    scores = tables.of(frame.labels[record.run_id])
    assert any(record.final["normalized_regret"] in stratum for stratum in scores)


def test_a_run_that_is_lacking_is_no_score():
    made = sweep(**SMALL)
    made[0] = replace(made[0], status="failed", final={}, error="x")
    (field,) = fields(build_frame("x", made), "normalized_regret")
    assert np.isnan(field.scores[0]).sum() == 1
