"""A dataset corrected under the same name is not pooled with what it was before."""

import os
from dataclasses import replace

import pytest

from bench.store.records import RunStore
from plots.__main__ import main
from plots.data.contents import newest_contents
from plots.data.frame import build_frame
from tests.support.plotting import BC, make_record


def on(content, seed, severity=0.0, **dataset):
    """Return a record on data of some content; its regret says which."""
    record = make_record("lock", "quality", severity, BC, seed)
    told = {**record.dataset, "content": content, **dataset}
    final = {**record.final, "normalized_regret": 0.0 if content == "new" else 1.0}
    return replace(record, run_id=f"{content}-{severity}-{seed}", dataset=told, final=final)


def test_the_newer_content_is_drawn_and_the_older_one_said():
    records = [on(content, seed) for content in ("old", "new") for seed in range(3)]
    written = {r.run_id: float("new" in r.run_id) for r in records}
    kept, left_out = newest_contents(records, written)
    assert {r.dataset["content"] for r in kept} == {"new"}
    assert left_out == {
        "lock": "2 datasets were recorded as lock: the newest (new) is drawn, 3 runs on old are "
        "left out."
    }
    (cell,) = build_frame("x", kept, left_out).cells.values()
    assert cell.num_runs == 3
    assert cell.num_repeated == 0
    assert cell.estimates["normalized_regret"].point == 0


@pytest.mark.parametrize("order", [1, -1])
def test_newest_is_what_was_written_last_whatever_the_order(order):
    records = [on("old", 0), on("new", 0), on("old", 1)][::order]
    kept, _ = newest_contents(records, {r.run_id: float(r.run_id == "new-0.0-0") for r in records})
    assert [r.run_id for r in kept] == ["new-0.0-0"]
    kept, _ = newest_contents(records, {r.run_id: float(r.run_id == "old-0.0-1") for r in records})
    assert {r.run_id for r in kept} == {"old-0.0-0", "old-0.0-1"}


def test_older_records_say_the_hash_of_the_file_alone():
    first = on(None, 0, sha256="aaa")
    same, other = on("new", 1, sha256="aaa"), on("new", 2, sha256="bbb")
    records = [replace(r, run_id=str(i)) for i, r in enumerate([first, same])]
    assert newest_contents(records, {"0": 0.0, "1": 1.0}) == (records, {})
    records = [replace(first, run_id="0"), replace(other, run_id="1")]
    kept, left_out = newest_contents(records, {"0": 0.0, "1": 1.0})
    assert [r.run_id for r in kept] == ["1"]
    assert "1 run on aaa is left out" in left_out["lock"]


def test_what_says_nothing_of_its_data_stays():
    records = [on("new", 0), make_record("lock", "none", 0, BC, 1)]
    assert newest_contents(records, {r.run_id: 0.0 for r in records}) == (records, {})


def test_corrected_worse_data_is_told_apart_where_it_was_taken():
    plain = on("new", 0)
    old, new = (on("new", s, 0.5, worse={"bad": name}) for s, name in ((1, "w1"), (2, "w2")))
    records = [plain, old, new]
    kept, left_out = newest_contents(records, {r.run_id: float(r is new) for r in records})
    assert kept == [plain, new]
    assert "2 datasets were recorded as bad: the newest (w2) is drawn" in left_out["lock"]


def test_what_is_left_out_is_said_on_the_terminal_and_in_the_report(tmp_path, capsys):
    store = RunStore(tmp_path / "runs")
    for record in (on("old", 0), on("old", 1), on("new", 0)):
        store.write(record)
    os.utime(store.path("coverage_ablation", "new-0.0-0"), (4e9, 4e9))
    assert main(["coverage_ablation", "--results", str(tmp_path)]) == 0
    said = "2 datasets were recorded as lock: the newest (new) is drawn, 2 runs on old are left out"
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in (tmp_path / "figures/coverage_ablation/report.html").read_text()
