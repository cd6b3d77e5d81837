"""The one run whose worker dies is found and recorded, and the others of its cohort are trained."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.engines import local
from bench.engines.orders import Died
from tests.support import sweeps
from tests.support.sweeps import TINY

WORDS = ("-m", *TINY, "algorithm=bc", "num_updates=2", "launcher.cohort_size=8")


@pytest.mark.parametrize("deadly", [[0], [5], [2, 3]])
def test_a_cohort_is_halved_until_the_run_that_kills_is_alone(
    deadly: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    sizes: list[int] = []
    intact = local.Local.collect

    def die(self: Any) -> Any:
        order = self._orders[0]
        sizes.append(len(order.runs))
        if any(run.config.seed in deadly for run in order.runs):
            return [(self._orders.pop(0), Died("SIGKILL(-9)"))]
        return intact(self)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local.Local, "collect", die)
    assert sweeps.run_here(monkeypatch, *WORDS, "seed=range(6)") == 1
    found = sweeps.records(tmp_path).values()
    assert Counter(r["status"] for r in found) == {"completed": 6 - len(deadly),
                                                   "failed": len(deadly)}  # fmt: skip
    failed = [record for record in found if record["status"] == "failed"]
    assert sorted(record["seed"] for record in failed) == deadly
    assert {r["error"] for r in failed} == {"worker died 3 times (SIGKILL(-9))"}
    assert f"{len(deadly)} failed: worker died 3 times" in capfd.readouterr().err
    # The whole three times, then its halves once each, a single run three times.
    assert sizes[:3] == [6, 6, 6]
    assert sizes.count(3) == 2
    assert sizes.count(1) <= 3 * len(deadly) + 3


def test_a_worker_that_dies_twice_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = iter([True, True])
    intact = local.Local.collect

    def die_twice(self: Any) -> Any:
        if next(deaths, False):
            return [(self._orders.pop(0), Died("SIGKILL(-9)"))]
        return intact(self)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local.Local, "collect", die_twice)
    assert sweeps.run_here(monkeypatch, *WORDS, "seed=0,1") == 0
    records = sweeps.records(tmp_path)
    assert {record["status"] for record in records.values()} == {"completed"}
    sizes = [json.loads(p.read_text())["timing"]["cohort_size"]
             for p in (tmp_path / "results/runs/default").glob("*.json")]  # fmt: skip
    assert sizes == [2, 2]
