"""Runs leave estimates of their policies' values where nothing can be acted in, or where asked."""

import json

from bench.training.history import History
from tests.support import ohio, sweeps


def records(folder):
    """Return the records that a command has left."""
    return [json.loads(path.read_text()) for path in folder.glob("results/runs/*/*.json")]


def test_a_run_without_a_world_has_estimates_and_no_regret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for patient in "12":
        seed = int(patient)
        ohio.write(tmp_path / "data", patient, glucose_level=ohio.readings(40, seed, gaps=(20,)))
    words = [word for word in sweeps.TINY if not word.startswith("dataset")]
    data = ("dataset=ohio_t1dm", "dataset.path=data", "algorithm=bc")
    assert sweeps.run_here(monkeypatch, *words, *data) == 0
    (record,) = records(tmp_path)
    assert set(record["final"].values()) == {None}
    estimates = record["value_estimates"]
    assert estimates["of"] == "value discounted by 0.99"
    assert (estimates["num_trajectories"], estimates["num_patients"]) == (4, 2)
    for way in ("mode", "sampling"):
        found = estimates[way]
        assert found["bound_low"] < found["fitted"] < found["bound_high"] <= 0
        assert "fewer than 30" in found["reasons"]["importance_sampling"]
    assert "value_estimates" not in record["config"]


def test_a_run_with_a_world_has_them_where_asked_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in ((), ("value_estimates=everywhere",)):
        assert sweeps.run_here(monkeypatch, *sweeps.TINY, "algorithm=bc,bcq", *words) == 0
    made = records(tmp_path)
    assert len(made) == 4
    for record in made:
        asked = record["config"].get("value_estimates") == "everywhere"
        assert bool(record["value_estimates"]) == asked
        if asked:
            assert record["value_estimates"]["behavior_policy"] == "known"
            assert ("sampling" in record["value_estimates"]) == (record["algorithm"] == "bc")
            assert record["final"]["value"] is not None


def test_continuous_actions_say_why_there_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [word for word in sweeps.TINY if not word.startswith("dataset")]
    data = ("dataset=lqr", "dataset.num_transitions=200", "algorithm=bc")
    asked = (*data, "value_estimates=everywhere")
    assert sweeps.run_here(monkeypatch, *words, *asked) == 0
    (record,) = records(tmp_path)
    assert record["value_estimates"] == {"reason": "estimates are of numbered actions"}


def test_a_snapshot_holds_them():
    history = History(2)
    history.value_estimates[1] = {"mode": {"fitted": 1.5, "doubly_robust": None}}
    other = History(2)
    other.restore(history.snapshot(at_the_end=True))
    assert other.value_estimates == history.value_estimates
