"""The store: atomic, append-only, and the same after a round trip."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench.store.record import RunRecord
from bench.store.records import RunStore

RECORD = RunRecord(
    run_id="0123456789abcdef",
    experiment="sweep",
    status="completed",
    algorithm="cql",
    environment="lock",
    seed=0,
    config={"algorithm": {"name": "cql", "hidden_sizes": [64, 64]}},
    final={"regret": 0.1, "regret_to_covered": None},
    metrics={"loss": [[10, 0.5], [20, 0.25]]},
)

ANY = {RECORD.run_id: None}


def test_a_record_survives_the_round_trip(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write(RECORD)
    assert list(store.read("sweep")) == [RECORD]
    assert store.experiments() == ["sweep"]
    assert list(store.look_up(ANY, "sweep")) == [RECORD.run_id]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_know_is_refused_and_leaves_nothing(
    tmp_path: Path, value: float
) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        RunStore(tmp_path).write(replace(RECORD, final={"regret": value}))
    assert list(tmp_path.rglob("*")) == []


def test_a_write_that_dies_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        RunStore(tmp_path).write(RECORD)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_half_written_files_are_never_read(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write(RECORD)
    (tmp_path / "sweep" / ".tmp123.partial").write_text('{"run_id": "ha')
    (tmp_path / "sweep" / ".hidden.json").write_text('{"run_id": "ha')
    assert list(store.read("sweep")) == [RECORD]
    assert len(store.look_up(ANY, "sweep")) == 1


def test_adopting_files_a_copy_under_the_other_experiment(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    path = store.write(RECORD)
    assert store.adopt(path, "other") == store.path("other", RECORD.run_id)
    assert list(store.read("other")) == [replace(RECORD, experiment="other")]
    assert list(store.read("sweep")) == [RECORD]


def best(store: RunStore, code: str | None, experiment: str) -> tuple[str, str, bool]:
    """Return the experiment of a run's best record, its status, and whether it is stale."""
    found = store.look_up({RECORD.run_id: code}, experiment)[RECORD.run_id]
    return found.path.parent.name, found.status, found.stale


@pytest.mark.parametrize("few", [0, 64], ids=["by index", "one by one"])
def test_the_best_record_is_of_todays_code_then_did_not_fail_then_is_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("bench.store.records.FEW", few)
    store = RunStore(tmp_path)
    store.write(replace(RECORD, experiment="a", status="failed", code="new"))
    store.write(replace(RECORD, experiment="b", code="new"))
    store.write(replace(RECORD, experiment="c", code="old"))
    store.write(replace(RECORD, experiment="d", status="failed", code="new"))
    assert best(store, "new", "a") == ("b", "completed", False)
    assert best(store, "new", "c") == ("b", "completed", False)
    assert best(store, "old", "a") == ("c", "completed", False)
    store.path("b", RECORD.run_id).unlink()
    assert best(store, "new", "d") == ("d", "failed", False)
    # Of other code everything is stale, and what is one's own comes first though it failed.
    assert best(store, "newer", "a") == ("a", "failed", True)
    assert best(store, None, "e")[2]


def test_a_record_that_does_not_say_its_code_is_stale(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write(RECORD)
    assert best(store, "any", "sweep") == ("sweep", "completed", True)


def test_of_a_few_runs_no_other_record_is_looked_at(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write(RECORD)
    (tmp_path / "sweep" / "other.json").write_text("garbage")
    assert list(store.look_up({RECORD.run_id: None, "none": None}, "sweep")) == [RECORD.run_id]
    assert not (tmp_path / "sweep" / ".sweep").exists()  # not even to index it
