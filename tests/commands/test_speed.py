"""The speed table has a row for every algorithm, width and size of a cohort."""

import csv
from argparse import Namespace

import pytest

from bench.cohorts import timing
from bench.commands import scaling, speed
from bench.settings.groups import known_names
from tests.support.builders import build_algorithm
from tests.support.sweeps import run_here


def test_every_algorithm_is_timed(monkeypatch, quick_values):
    # What a figure is worth does not matter here, only that there is one.
    monkeypatch.setattr(speed, "updates_per_second", lambda *arguments: 1.0)
    rows = list(speed.rows(list(known_names("algorithm")), 0.0, False, "cpu"))
    assert {row[0] for row in rows} == set(known_names("algorithm"))
    worlds = {name: {row[1] for row in rows if row[0] == name} for name, *_ in rows}
    assert worlds["bc"] == {"cartpole", "lqr"}
    # Public code is timed alone.
    marked = {row[:4]: row[-1] for row in rows if row[-1]}
    assert marked["td3_bc", "lqr", "256", "1"] == "215"
    assert len(marked) == len(speed.marks())
    assert (worlds["fqi_exact"], worlds["td3_bc"]) == ({"garnet"}, {"lqr"})


def test_an_update_of_a_built_in_dataset_can_be_timed(quick_values):
    ((_, _, config), *_) = speed._configs(["bc"])
    task = config.dataset.source.load("cartpole", 0, config.dataset.discount, None)
    assert speed.updates_per_second(config.algorithm, task, 2, 32, 0.01, "plain", "cpu", 1) > 0


def test_what_is_timed_is_what_most_updates_are(monkeypatch, quick_values):
    """A model, a clone or a warm start comes first and costs something else."""
    seen = {}

    def note(algorithm, task, size, batch_size, mode, device, num_updates, at_once):
        if not algorithm.tabular_only:
            key = type(algorithm).__module__, task.data.spec.action_kind
            seen[key] = algorithm.phase(num_updates // 2), algorithm.phase(0)
        return Namespace(updates_at_once=1)

    monkeypatch.setattr(timing, "ready", note)
    monkeypatch.setattr(timing, "pace", lambda *arguments, **named: 1.0)
    list(speed.rows(["mopo", "atac", "stackelberg"], 0.0, "traced", "cpu"))
    assert len(seen) == 5
    assert all(later != first for later, first in seen.values())


def test_all_variants_of_an_update_to_come_are_made_before_the_clock_runs(monkeypatch):
    made = []
    monkeypatch.setattr(timing, "Cohort", lambda members, batch_size, **given: Namespace())
    monkeypatch.setattr(timing, "finish", lambda cohort, updates: made.append(updates))
    task = Namespace(data=None)
    algorithm = build_algorithm("fqi", target_interval=30)
    assert timing.ready(algorithm, task, 1, 32, "plain", "cpu", 1000).step == 500
    copied = next(step for step in range(500, 531) if algorithm.phase(step) != algorithm.phase(500))
    assert made.pop() == copied - 500 + 1
    # What comes after the end of a training is nobody's time.
    timing.ready(algorithm, task, 1, 32, "plain", "cpu", 21)
    assert made == [2]


def test_all_kinds_of_calls_to_come_are_captured_before_the_clock_runs(monkeypatch):
    steps = []

    class Counting:
        step = 0

        def __init__(self, members, batch_size, **given):
            assert given["at_once"] == 20

    def finish(cohort, updates):
        cohort.step += updates
        steps.append(cohort.step)

    monkeypatch.setattr(timing, "Cohort", Counting)
    monkeypatch.setattr(timing, "finish", finish)
    algorithm = build_algorithm("fqi", target_interval=30)
    timing.ready(algorithm, Namespace(data=None), 1, 32, "traced", "cuda", 10_050)
    # Of three kinds in turn, from the first multiple of twenty before the middle on, two of each.
    assert steps[-1] == 5020 + 2 * 3 * 20
    assert steps[-1] % 20 == 0


@pytest.mark.parametrize(("number", "together"), [(1, 20), (20, 20), (13, 26), (7, 21)])
def test_whole_calls_are_timed(monkeypatch, number, together):
    given = {}
    monkeypatch.setattr(timing, "ready", lambda *_: Namespace(updates_at_once=number))
    monkeypatch.setattr(timing, "pace", lambda *_, **named: given.update(named))
    timing.updates_per_second(None, None, 1, 32, 1.0, "traced", "cuda", 1000, number)
    assert given == {"at_once": together}


def test_a_learner_that_is_none_is_refused_in_one_sentence(monkeypatch, capsys):
    assert run_here(monkeypatch, "speed", "--algorithm", "bc,nobody") == 2
    assert "algorithm is 'nobody', but should be one of: atac" in capsys.readouterr().err


def test_speed_is_measured_for_cohorts_of_all_sizes_and_drawn(monkeypatch, quick_values, tmp_path):
    monkeypatch.setattr(scaling, "SIZES", (1, 2))
    monkeypatch.setattr(scaling, "SETTINGS", scaling.SETTINGS[::3])
    words = ("--algorithm", "bc", "--seconds", "0.01", "--scaling", str(tmp_path / "made"))
    assert run_here(monkeypatch, "speed", *words) == 0
    rows = list(csv.DictReader((tmp_path / "made" / "scaling.csv").open()))
    found = {(r["world"], r["width"], r["threads"], r["runs"]): float(r["rate"]) for r in rows}
    worlds = ("cartpole", "lqr")
    assert set(found) == {(w, "64", t, n) for w in worlds for t in "12" for n in "12"} | {
        ("garnet", "0", t, n) for t in "12" for n in "12"
    }
    assert all(rate > 0 for rate in found.values())
    assert (tmp_path / "made" / "scaling.svg").read_text().count("BC") > 0


def test_a_curve_ends_where_an_update_would_take_too_long(monkeypatch, quick_values):
    monkeypatch.setattr(scaling, "SETTINGS", scaling.SETTINGS[:1])
    monkeypatch.setattr(scaling, "ready", lambda *arguments: arguments[2])
    # Ten run-updates a second, however many runs.
    rates = iter(10 / size for size in scaling.SIZES)
    monkeypatch.setattr(scaling, "pace", lambda *arguments, **options: next(rates))
    configs = [c for c in speed._everywhere(["fqi"]) if c[1] == "garnet"]
    runs = [point.runs for point in scaling.measure(configs, 1.0, "traced", "cpu")]
    assert runs == [n for n in scaling.SIZES if n <= 10 * scaling.LONGEST]
