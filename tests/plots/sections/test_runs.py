"""What became of the runs is counted, and each is a line of a table."""

import re
from dataclasses import replace

import pytest

from plots.data.frame import build_frame
from plots.look.captions import cautions
from plots.sections import sections
from plots.sections.account.runs import COLUMNS, FIELDS, RUN, runs_csv
from tests.support.plotting import CQL, SMALL, figures, make_record, plot, store, sweep, table


@pytest.mark.usefixtures("one_figure")
def test_failed_empty_and_missing_runs_are_counted(tmp_path):
    records = sweep(**SMALL)
    records[0] = replace(records[0], status="failed", final={}, dataset={}, error="a\nb | c_d")
    records[5] = replace(records[5], status="empty", final={})
    absent = records.pop()
    store(records, tmp_path)
    assert plot(tmp_path) == 0
    folder = figures(tmp_path)
    report = (folder / "report.html").read_text()
    assert (
        "Of 19 recorded runs, 17 completed, 1 were left without data by the degradation, 1 failed; "
        "1 more are missing." in report
    )
    assert "<li>b | c_d</li>" in report
    assert "4 to 5 runs (seeds) per cell" in report
    assert absent.algorithm == "cql"
    shown = re.sub(r"(?:<[^>]+>)+", " | ", report)
    assert "| lock | thin | 0.9 | cql | 4 | 0 | 0 | 1 |" in shown
    assert "| lock | none | 0 | bc | 4 | 0 | 1 | 0 |" in shown
    assert "| lock | none | 0 | cql | 4 | 1 | 0 | 0 |" in shown
    assert "(4)" in (folder / "table.tex").read_text()


def test_every_run_is_a_line_with_its_own_numbers(tables, swept):
    lines = {line["run_id"]: line for line in table(tables / "runs.csv")}
    assert set(lines) == {record.run_id for record in swept}
    for record in swept[::97]:
        line = lines[record.run_id]
        assert (line["status"], line["code"], line["error"]) == ("completed", "", "")
        assert (line["algorithm"], line["environment"]) == (record.algorithm, record.environment)
        assert (int(line["seed"]), int(line["dataset_seed"])) == (record.seed, record.seed)
        assert float(line["severity"]) == record.dataset["severity"]
        for name, value in {**record.final, **record.values, **record.coverage}.items():
            known = float(line[name]) if line[name] else None
            assert known == (None if value is None else pytest.approx(value, rel=1e-8)), name


def test_settings_that_vary_have_a_column_and_others_have_none(tables, swept):
    lines = {line["run_id"]: line for line in table(tables / "runs.csv")}
    for record in swept[::50]:
        own = record.config["algorithm"].get("conservatism")
        line = lines[record.run_id]
        assert line["algorithm.conservatism"] == ("" if own is None else f"{own:g}")
        assert "dataset.num_transitions" not in line


def test_no_two_fields_of_a_record_share_a_column():
    assert len(COLUMNS) == len(RUN) + sum(map(len, FIELDS.values()))


def test_a_number_without_a_column_gets_one(tmp_path):
    records = [replace(r, final={**r.final, "luck": 0.5}) for r in sweep(**SMALL)]
    path = tmp_path / "runs.csv"
    path.write_text(runs_csv(build_frame("x", records)))
    assert {line["final.luck"] for line in table(path)} == {"0.5"}


def by_codes(codes, **changes):
    """Return a learner's runs, one per seed and code."""
    return [
        replace(make_record("lock", "thin", 0.5, CQL, seed, **changes), code=code)
        for seed, code in enumerate(codes)
    ]


def test_runs_made_by_several_codes_are_named_with_their_numbers(tmp_path):
    frame = build_frame("x", by_codes(["aa", "bb", "aa", None]))
    assert cautions(frame) == (
        "The runs of cql were made by 3 versions of its code: "
        "2 by aa, 1 by bb, 1 by code that is not known."
    )
    (tmp_path / "runs.csv").write_text(runs_csv(frame))
    assert [line["code"] for line in table(tmp_path / "runs.csv")] == ["aa", "bb", "aa", ""]


@pytest.mark.parametrize("codes", [["aa", "aa"], [None, None]])
def test_one_code_is_not_worth_a_word(codes):
    assert cautions(build_frame("x", by_codes(codes))) == ""


def test_codes_of_different_parts_are_no_versions():
    """A network follows on one world, a table on another."""
    made = by_codes(["aa", "bb"])
    parts = [
        r.config["algorithm"] | {"part": {"target": f"algorithms.{r.code}.Part"}} for r in made
    ]
    apart = [
        replace(r, environment=f"world_{r.seed}", config=r.config | {"algorithm": part})
        for r, part in zip(made, parts, strict=True)
    ]
    assert cautions(build_frame("x", apart)) == ""
    assert cautions(build_frame("x", [*apart, replace(apart[0], run_id="more", code="cc")])) == (
        "The runs of cql were made by 2 versions of its code: 1 by aa, 1 by cc."
    )


def test_a_run_that_failed_has_no_part_in_a_figure():
    good, bad = by_codes(["aa", "bb"])
    failed = replace(bad, status="failed", error="boom", final={})
    assert cautions(build_frame("x", [good, failed])) == ""


@pytest.mark.usefixtures("one_figure")
def test_every_product_says_that_codes_are_mixed(tmp_path, capsys):
    records = [replace(r, code="aa" if r.seed else "bb") for r in sweep(**SMALL)]
    store(records, tmp_path)
    assert plot(tmp_path) == 0
    folder = figures(tmp_path)
    sentence = "The runs of bc were made by 2 versions of its code: 8 by aa, 2 by bb."
    # Of runs, of the table, in the figure's caption and what is read to who cannot see it.
    assert (folder / "report.html").read_text().count(sentence) >= 4
    assert sentence in (folder / "table.tex").read_text()
    assert sentence in " ".join(capsys.readouterr().out.split())
    assert "2 by bb" in (folder / "normalized_regret_by_severity.svg").read_text()


def test_a_figure_names_the_learners_in_it_alone():
    mixed = by_codes(["aa", "bb"])
    one = [replace(r, environment="cliff", run_id=f"cliff{r.seed}", code="aa") for r in mixed]
    frame = build_frame("x", [*mixed, *one])
    assert cautions(frame, environments=["cliff"]) == ""
    assert cautions(frame, environments=["lock"])
    assert cautions(frame, algorithms=["bc"]) == ""
    notes = [i.note for s in sections(frame) for i in s.illustrations]
    assert set(notes) == {cautions(frame)}
