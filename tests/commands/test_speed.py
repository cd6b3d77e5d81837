"""The speed table has a row for every algorithm, width and size of a cohort."""

from bench.commands import speed
from bench.settings.groups import known_names


def test_every_algorithm_is_timed(monkeypatch, quick_values):
    # What a figure is worth does not matter here, only that there is one.
    monkeypatch.setattr(speed, "updates_per_second", lambda *arguments: 1.0)
    rows = list(speed.rows(0.0, False, "cpu"))
    assert {row[0] for row in rows} == set(known_names("algorithm"))
    worlds = {name: {row[1] for row in rows if row[0] == name} for name, *_ in rows}
    assert worlds["bc"] == {"cartpole", "lqr"}
    assert (worlds["fqi_exact"], worlds["td3_bc"]) == ({"garnet"}, {"lqr"})


def test_an_update_of_a_built_in_dataset_can_be_timed(quick_values):
    config = speed._config("bc", "cartpole")
    task = config.dataset.source.load("cartpole", 0, config.dataset.discount, None)
    assert speed.updates_per_second(config.algorithm, task, 2, 0.01, False, "cpu") > 0
