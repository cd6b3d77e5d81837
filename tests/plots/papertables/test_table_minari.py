"""`table_minari` from end to end: Minari's files in, whose names hold slashes, a table out."""

import csv

import pytest

from plots.__main__ import main
from tests.support import files
from tests.support.sweeps import run_here

MEDIUM, MISSING = "mujoco/hopper/medium-v0", "mujoco/walker2d/medium-v0"
SHORT = ("algorithm.hidden_sizes=[8]", "num_updates=10", "eval_every=1", "eval_episodes=1",
         "batch_size=16", "seed=0", "launcher=local", "tracking=none")  # fmt: skip


def test_files_become_a_table_and_what_is_missing_a_hole(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mujoco")
    files.write_random(MEDIUM, "Hopper-v5")
    monkeypatch.chdir(tmp_path)
    words = f"dataset.id={MEDIUM},{MISSING}", "algorithm=bc", *SHORT
    assert run_here(monkeypatch, "experiment=table_minari", *words) == 0
    ended = capsys.readouterr().out
    # What tells two rows apart is there in full, however long.
    assert f"{MEDIUM} " in ended
    assert "bc (top_fraction=0.1)" in ended
    assert main(["table_minari"]) == 0
    drawn = tmp_path / "results" / "figures" / "table_minari"
    with (drawn / "paper_table.csv").open(newline="") as file:
        cells = {(c["environment"], c["learner"]): c for c in csv.DictReader(file)}
    assert cells[MEDIUM, "bc (top_fraction=1)"]["num_runs"] == "1"
    assert float(cells[MEDIUM, "bc (top_fraction=1)"]["last"]) == pytest.approx(0, abs=5)
    assert "does not exist" in cells[MISSING, "bc (top_fraction=1)"]["reason"]
    assert (drawn / "learning_mujoco_hopper_medium-v0.svg").exists()
    assert "learning_mujoco_hopper_medium-v0.svg" in (drawn / "report.html").read_text()
