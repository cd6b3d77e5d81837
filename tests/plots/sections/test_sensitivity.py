"""Heat maps appear for two settings of which there is every combination, and mean what they say."""

import numpy as np
import pytest

from bench.store.record import RunRecord
from plots.sections.curves.sensitivity import caption, draw, heat_maps


def record(conservatism, ridge, seed, regret, severity=0.5, environment="lock", kernel="feature"):
    """Return a completed run of a learner with two numbers and a word to set."""
    settings = {"conservatism": conservatism, "ridge": ridge, "kernel": kernel}
    return RunRecord(
        run_id=f"{environment}-{conservatism}-{ridge}-{kernel}-{severity}-{seed}",
        experiment="sensitivity",
        status="completed",
        algorithm="stackelberg",
        environment=environment,
        seed=seed,
        config={
            "seed": seed,
            "algorithm": {"name": "stackelberg", **settings},
            "dataset": {"name": environment, "seed": seed},
            "coverage": {"name": "region", "severity": severity},
        },
        dataset={"degradation": "region", "severity": severity},
        final={"normalized_regret": regret},
    )


def grid(**changes):
    """Return runs of every combination; regret is a function of the two settings and the seed."""
    return [
        record(c, r, seed, c + 10 * r + seed, **changes)
        for c in (0.1, 1.0, 10.0)
        for r in (0.0, 0.5)
        for seed in (0, 1)
    ]


def test_cells_are_means_over_seeds_in_the_order_of_the_settings():
    (found,) = heat_maps(grid())
    assert found.settings == ("conservatism", "ridge")
    assert found.values == (("0.1", "1", "10"), ("0", "0.5"))
    np.testing.assert_allclose(found.means["lock"], [[0.6, 5.6], [1.5, 6.5], [10.5, 15.5]])
    np.testing.assert_allclose(found.errors["lock"], 0.5)
    assert found.num_runs == {"lock": 2}


def test_a_missing_combination_means_no_heat_map():
    assert heat_maps(grid()[2:]) == []


def test_a_run_that_others_lack_counts_in_no_cell():
    extra = record(0.1, 0.0, 7, 100.0)
    (found,) = heat_maps([*grid(), extra])
    assert found.means["lock"][0, 0] == pytest.approx(0.6)


def test_other_settings_stay_at_what_most_runs_have():
    others = [record(1.0, 0.0, seed, 99.0, kernel="delta") for seed in (0, 1)]
    (found,) = heat_maps([*grid(), *others])
    assert found.settings == ("conservatism", "ridge")
    assert found.means["lock"].max() < 99


def test_two_grids_of_one_experiment_make_two_heat_maps():
    kernels = [
        record(c, 0.0, seed, 1.0, kernel=kernel)
        for c in (0.1, 1.0, 10.0)
        for kernel in ("delta", "gaussian")
        for seed in (0, 1)
    ]
    found = heat_maps([*grid(), *kernels])
    assert [m.settings for m in found] == [("conservatism", "kernel"), ("conservatism", "ridge")]


def test_the_figure_shows_every_environment_and_number():
    (found,) = heat_maps([*grid(), *grid(environment="cliff")])
    figure = draw(found)
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(texts) == 12
    assert texts.count("1.50") == 2
    assert "0.50" in caption(found)


def test_one_setting_alone_makes_none():
    assert heat_maps([r for r in grid() if r.config["algorithm"]["ridge"] == 0]) == []


def test_an_environment_has_its_own_usual_values():
    """Elsewhere other kernels are what most runs have."""
    (found,) = heat_maps([*grid(), *grid(environment="cliff", kernel="delta")])
    np.testing.assert_allclose(found.means["cliff"], found.means["lock"])
    extra = record(0.1, 0.0, 0, 50.0, environment="cliff", kernel="gaussian")
    (found,) = heat_maps([*grid(), *grid(environment="cliff", kernel="delta"), extra])
    np.testing.assert_allclose(found.means["cliff"], found.means["lock"])


def test_a_row_that_an_environment_lacks_is_empty_there():
    more = [record(100.0, r, seed, 7.0) for r in (0.0, 0.5) for seed in (0, 1)]
    (found,) = heat_maps([*grid(), *more, *grid(environment="cliff")])
    assert found.values[0] == ("0.1", "1", "10", "100")
    assert np.isnan(found.means["cliff"][3]).all()
    assert np.isfinite(found.means["cliff"][:3]).all()
    assert np.isfinite(found.means["lock"]).all()
    assert "0.50" in caption(found)


def test_an_environment_without_all_combinations_has_no_panel():
    (found,) = heat_maps([*grid(), *grid(environment="cliff")[2:]])
    assert list(found.means) == ["lock"]
