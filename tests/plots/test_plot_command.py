"""What can be wrong with words and records is one sentence, and nothing is written."""

import json
import re
from pathlib import Path

import pytest

from bench.errors import UserError, one_sentence
from plots.__main__ import main
from plots.data.reference import FILE
from tests.support.plotting import BC, SMALL, make_record, plot, store, sweep


def refused(root: Path, capsys, experiment: str = "coverage_ablation") -> str:
    """Return the sentence that the command ends with, having written nothing."""
    with pytest.raises(SystemExit) as end, one_sentence():
        plot(root, experiment)
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    assert not (root / "figures").exists()
    return printed.err


def test_an_empty_store_is_refused(tmp_path, capsys):
    assert "no run record under" in refused(tmp_path, capsys)


@pytest.mark.parametrize("name", ["coverage_ablatoin", "*", "..", "../runs/coverage_ablation", ""])
def test_an_unknown_experiment_is_refused(tmp_path, capsys, name):
    store([make_record("lock", "thin", 0.5, BC, 0)], tmp_path)
    assert "it has coverage_ablation" in refused(tmp_path, capsys, name)


def test_an_experiment_without_a_completed_run_is_refused(tmp_path, capsys):
    failed = {"status": "failed", "final": {}, "error": "Traceback\nValueError: too hot"}
    records = [make_record("lock", "thin", 0.5, BC, seed, **failed) for seed in range(3)]
    records.append(make_record("lock", "thin", 0.9, BC, 0, status="empty", final={}))
    store(records, tmp_path)
    sentence = refused(tmp_path, capsys)
    assert "None of the 4 runs of 'coverage_ablation' completed: 3 failed and 1 were" in sentence
    assert "ValueError: too hot" in sentence


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"run_id": "x"}', "\x00", "null"])
def test_a_file_that_is_no_record_is_named(tmp_path, capsys, text):
    folder = store(sweep(**SMALL), tmp_path) / "coverage_ablation"
    (folder / "broken.json").write_text(text)
    assert "coverage_ablation/broken.json is not a run record" in refused(tmp_path, capsys)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"status": "running"}, "status is 'running'"),
        ({"final": {}}, "without a `final.normalized_regret`"),
        ({"final": None}, "`final` is not a mapping"),
        ({"final": {"normalized_regret": "low"}}, "other than finite numbers"),
        ({"final": {"normalized_regret": float("nan")}}, "other than finite numbers"),
        ({"dataset": {}, "config": {}}, "does not say which degradation"),
        ({"config": {"algorithm": 3, "coverage": {}}}, "`config.algorithm` is not a mapping"),
        ({"environment": 3}, "`environment` is not a name"),
    ],
)
def test_a_record_that_lacks_what_is_drawn_is_named(tmp_path, capsys, changes, fault):
    folder = store(sweep(**SMALL), tmp_path) / "coverage_ablation"
    path = next(folder.iterdir())
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    sentence = refused(tmp_path, capsys)
    assert fault in sentence


def test_an_output_that_cannot_be_written_is_refused(tmp_path, capsys):
    store(sweep(**SMALL), tmp_path)
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(SystemExit) as end, one_sentence():
        plot(tmp_path)
    assert end.value.code == 2
    assert str(tmp_path / "figures") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "No experiment is named"),
        (["one", "--stroe", "x"], "Unrecognized arguments: --stroe x"),
        (["one", "two"], "'two' should be one of: rule=last"),
        (["one", "--results"], "expected one argument"),
        (["one", "--keep", "--reference"], "one too many"),
        (["one", "--keep", "--worlds", "lock"], "keeps all of an experiment"),
        (["one", "--power", "--export", "x.csv"], "one at a time"),
        (["one", "--measure", "luck"], "invalid choice"),
    ],
)
def test_words_that_say_nothing_are_refused(words, fault):
    with pytest.raises(UserError, match=re.escape(fault)) as refusal:
        main(words)
    assert "\n" not in str(refusal.value)


def test_help_lists_the_experiments_there_are(tmp_path, capsys):
    store([make_record("lock", "thin", 0.5, BC, 0)], tmp_path)
    (tmp_path / "reference" / "claim").mkdir(parents=True)
    (tmp_path / "reference" / "claim" / FILE).touch()
    assert main(["--help", "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "in DIR/runs: coverage_ablation\n" in said
    assert "in DIR/reference: claim\n" in said
    assert said.count("\n") <= 19
