"""Runs on tables leave where their regret comes from, and no other run does."""

import json
from dataclasses import fields

import pytest

from bench.store.record import RunRecord
from bench.training.history import History
from tests.support import sweeps


def made(folder):
    """Return the records that a command has left, by algorithm."""
    found = [json.loads(path.read_text()) for path in folder.glob("results/runs/*/*.json")]
    return {record["algorithm"]: record for record in found}


def test_a_run_on_a_table_has_it_with_a_reason_where_it_is_null(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("algorithm=bc,fqi_exact", "coverage=thin", "coverage.severity=0.5")
    assert sweeps.run_here(monkeypatch, *sweeps.TINY, *words) == 0
    records = made(tmp_path)
    bc, fqi = (records[name]["regret_split"] for name in ("bc", "fqi_exact"))
    assert bc["terms"] is None
    assert "no critic" in bc["reasons"]["terms"]
    regret = records["fqi_exact"]["final"]["regret"]
    assert sum(fqi["terms"].values()) == pytest.approx(regret, abs=1e-10)
    assert records["fqi_exact"]["config"].keys() == records["bc"]["config"].keys()


def test_a_run_elsewhere_has_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ("dataset=cartpole", "dataset.num_transitions=200", "algorithm=bc")
    words = [word for word in sweeps.TINY if not word.startswith("dataset")]
    assert sweeps.run_here(monkeypatch, *words, *data) == 0
    assert made(tmp_path)["bc"]["regret_split"] == {}


def test_a_record_that_was_made_before_has_none():
    names = {field.name for field in fields(RunRecord)}
    assert "regret_split" in names
    before = RunRecord("r", "e", "completed", "bc", "lock", 0, {})
    text = json.loads(before.to_json())
    del text["regret_split"]
    assert RunRecord.from_json(json.dumps(text)) == before


def test_a_snapshot_holds_it_and_one_that_was_taken_before_can_be_gone_back_to():
    history, other = History(2), History(2)
    history.regret_splits[1] = {"terms": {"optimization": 1.5}, "reasons": {}}
    snapshot = history.snapshot(at_the_end=True)
    other.restore(snapshot)
    assert other.regret_splits == history.regret_splits
    del snapshot["regret_splits"]
    older = History(2)
    older.restore(snapshot)
    assert older.regret_splits == [{}, {}]
