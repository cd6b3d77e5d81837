"""The store: atomic, append-only, and the same after a round trip."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bench.store.records import RunRecord, RunStore

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


def test_a_record_survives_the_round_trip(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write(RECORD)
    assert list(store.read("sweep")) == [RECORD]
    assert store.experiments() == ["sweep"]
    assert list(store.stored()) == [RECORD.run_id]


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
    assert len(store.stored()) == 1


def test_adopting_files_a_copy_under_the_other_experiment_once(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    path = store.write(RECORD)
    assert store.adopt([path], "other") == 1
    assert store.adopt([path], "other") == 0
    assert list(store.read("other")) == [replace(RECORD, experiment="other")]
    assert list(store.read("sweep")) == [RECORD]


def test_a_record_that_failed_gives_way_to_one_that_did_not(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.write(replace(RECORD, experiment="a", status="failed", error="no memory"))
    done = store.write(replace(RECORD, experiment="b"))
    store.write(replace(RECORD, experiment="c", status="failed", error="no memory"))
    assert store.stored() == {RECORD.run_id: done}
    assert store.adopt([done], "a") == 1
    assert list(store.read("a")) == [replace(RECORD, experiment="a")]
