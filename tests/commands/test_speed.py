"""The speed table has a row for every algorithm, width and size of a cohort."""

from bench.commands import speed
from bench.settings.groups import known_names
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
    assert speed.updates_per_second(config.algorithm, task, 2, 32, 0.01, "plain", "cpu") > 0


def test_a_learner_that_is_none_is_refused_in_one_sentence(monkeypatch, capsys):
    assert run_here(monkeypatch, "speed", "--algorithm", "bc,nobody") == 2
    assert "algorithm is 'nobody', but should be one of: atac" in capsys.readouterr().err
