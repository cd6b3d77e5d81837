"""Estimates beside exact measures of coverage: what is compared, how it is summed up and drawn."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.text import Text

from bench.errors import UserError
from bench.settings.run import run_config
from bench.settings.typed import ConfigError
from plots.data.compared import worlds_of
from plots.data.frame import build_frame
from plots.look import style
from plots.page.markdown import to_html
from plots.sections.curves import regret
from plots.sections.curves.measures import (
    COUNTERPARTS,
    agreements,
    caption,
    comparisons,
    draw,
    measures_table,
    written,
)
from tests.support import commands
from tests.support.plotting import BC, CQL, figures, make_record, plot, store

SEVERITIES = (0.0, 0.5, 0.9)


def record(environment, severity, seed, learner=BC, **changes):
    """Return a record whose exact concentrabilities are 0 at the highest severity."""
    made = make_record(environment, "region", severity, learner, seed)
    exact = max(0.0, 0.8 - severity - 0.01 * seed)
    coverage = {
        "support_fraction": 1 - severity,
        "inverse_l2_concentrability": exact,
        "inverse_concentrability": exact / 2,
        "nearest_neighbor_support": 1 - severity / 2,
        "effective_sample_size": exact + 0.001,
        "inverse_relative_condition_number": 0.9 - exact,
        "saco": 0.5,
        "tq": 0.3 + 0.01 * seed,
    }
    world = {"target": "bench.worlds.mdps.ToyText", "id": f"{environment}-v1"}
    config = {**made.config, "dataset": {**made.config["dataset"], "environment": world}}
    return replace(made, coverage={**coverage, **changes}, config=config)


def records(environments=("garnet", "lock"), learners=(BC,)):
    return [
        record(environment, severity, seed, learner)
        for environment in environments
        for severity in SEVERITIES
        for seed in range(3)
        for learner in learners
    ]


def test_a_world_has_one_name_whoever_collected():
    def collected(name, size):
        (made, *_) = records()
        world = {"target": "bench.worlds.mdps.CombinationLock", "length": size}
        config = {**made.config, "dataset": {**made.config["dataset"], "environment": world}}
        return replace(made, environment=name, config=config)

    names = ("long_lock_mixed", "long_lock_random")
    worlds = worlds_of([collected(n, 9) for n in names] + [collected("lock_mixed", 3)])
    assert worlds == {**dict.fromkeys(names, "long_lock"), "lock_mixed": "lock_mixed"}


def compared_in(made):
    return comparisons(build_frame("measures", made))


def test_every_estimate_stands_beside_its_counterpart():
    compared = compared_in(records())
    assert len(compared) == 5 * 2 * 3 * 3
    for c in compared:
        made = record(c.condition.environment, c.condition.severity, c.data_seed)
        assert c.estimate == made.coverage[c.measure]
        if c.measure != "tq":
            assert c.exact == made.coverage[COUNTERPARTS[c.measure]]
        else:
            # The made-up behavior policy is 0.3 of the way to the optimum.
            assert c.exact == pytest.approx(0.3)
        assert c.world == c.condition.environment


def test_a_degraded_dataset_counts_once_whoever_learnt_from_it():
    once = compared_in(records())
    twice = compared_in(records(learners=(BC, CQL)))
    assert [c[1:] for c in once] == [c[1:] for c in twice]


def test_agreement_is_the_rank_correlation_with_and_without_what_is_exactly_zero():
    found = agreements(compared_in(records()))
    assert list(found) == list(COUNTERPARTS.items())
    neighbors, size, condition, saco, tq = found.values()
    assert (neighbors.num_datasets, neighbors.rank) == (18, pytest.approx(1))
    assert neighbors.rank_covered is None
    assert neighbors.bias == pytest.approx(0.25)
    assert (size.num_covered, size.rank_covered) == (12, pytest.approx(1))
    assert (size.rank_within, size.num_within) == (pytest.approx(1), 6)
    assert condition.rank == condition.rank_within == pytest.approx(-1)
    # What does not vary is not ranked.
    assert saco.rank is saco.rank_within is None
    assert tq.num_within == 0


@pytest.mark.parametrize("lacking", ["nearest_neighbor_support", "support_fraction"])
def test_what_lacks_one_side_is_not_compared(lacking):
    made = [record("lock", severity, 0, **{lacking: None}) for severity in SEVERITIES]
    compared = compared_in(made)
    measures = [measure for measure, _ in agreements(compared)]
    assert "nearest_neighbor_support" not in measures
    assert "effective_sample_size" in measures


def test_where_no_ratio_is_known_exactly_estimates_stand_beside_the_support_fraction():
    lacking = dict.fromkeys(("inverse_l2_concentrability", "inverse_concentrability"))
    cells = [record("garnet", severity, 0, **lacking) for severity in SEVERITIES]
    found = agreements(compared_in(cells))
    measures = list(COUNTERPARTS)[:4]
    assert list(found)[:4] == [(measure, "support_fraction") for measure in measures]
    assert all(agreement.rank_covered is None for agreement in found.values())
    assert "no density" in caption(compared_in(cells))
    # Beside tables each kind has panels of its own.
    both = agreements(compared_in(cells + records(("lock",))))
    assert ("effective_sample_size", "support_fraction") in both
    assert ("effective_sample_size", "inverse_l2_concentrability") in both
    assert len(draw(compared_in(cells + records(("lock",)))).axes) == 9


def test_runs_without_estimates_from_samples_compare_nothing():
    lacking = dict.fromkeys(list(COUNTERPARTS)[:3])
    made = [record("lock", severity, 0, **lacking) for severity in SEVERITIES]
    assert compared_in(made) == ()


def test_the_figure_shows_identity_numbers_and_every_point(tmp_path):
    compared = compared_in(records())
    figure = draw(compared)
    panels = figure.axes[:5]
    for axes, (measure, counterpart) in zip(panels, COUNTERPARTS.items(), strict=True):
        identity, *points = axes.get_lines()
        np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())
        assert sum(len(line.get_xdata()) for line in points) == 18
        low, high = axes.get_xlim()
        for line in points:
            assert low <= min(line.get_xdata()) <= max(line.get_xdata()) <= high
        assert "n = 18" in axes.get_title()
        assert axes.get_xlabel() != axes.get_ylabel()
        assert measure != counterpart
    size = agreements(compared)["effective_sample_size", "inverse_l2_concentrability"]
    assert f"exact > 0: {written(size.rank_covered)}, n = 12" in panels[1].get_title()
    legend = {text.get_text() for text in figure.findobj(Text)}
    assert {"Garnet", "Lock", "equal"} <= legend


@pytest.fixture
def few_figures(monkeypatch):
    """Draw few of the figures that are not about measures."""
    monkeypatch.setattr(regret, "PLOTS", regret.PLOTS[:1])


def test_the_command_leaves_figure_tables_and_a_chapter_of_the_report(tmp_path, few_figures):
    store([replace(r, experiment="measured") for r in records()], tmp_path)
    assert plot(tmp_path, "measured") == 0
    folder = figures(tmp_path, "measured")
    for suffix in ("png", "svg"):
        assert (folder / f"measures.{suffix}").stat().st_size > 1000
    compared = compared_in(records())
    report = (folder / "report.html").read_text()
    assert 'href="measures.png"' in report
    assert caption(compared).split(":")[0] in report
    assert measures_table(compared) == (folder / "measures.md").read_text()
    assert to_html((folder / "measures.md").read_text().rstrip()) in report
    with (folder / "measures.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 18
    for line in lines:
        made = record(line["environment"], float(line["severity"]), int(line["data_seed"]))
        for name in (*list(COUNTERPARTS), "support_fraction", "inverse_concentrability"):
            assert float(line[name]) == pytest.approx(made.coverage[name], rel=1e-5)


def test_a_figure_that_no_longer_applies_goes(tmp_path, few_figures, monkeypatch):
    monkeypatch.setattr(style, "SUFFIXES", ("svg",))
    store([replace(r, experiment="measured") for r in records()], tmp_path)
    assert plot(tmp_path, "measured") == 0
    for made in records():
        bare = replace(made, experiment="measured", coverage={"support_fraction": 0.5})
        store([bare], tmp_path)
    assert plot(tmp_path, "measured") == 0
    assert list((figures(tmp_path, "measured")).glob("measures.*")) == []


def test_an_estimate_that_is_no_number_is_a_fault(tmp_path):
    store([replace(record("lock", 0.0, 0), experiment="bad")], tmp_path)
    (path,) = (tmp_path / "runs" / "bad").glob("*.json")
    path.write_text(path.read_text().replace('"saco": 0.5', '"saco": "many"'))
    with pytest.raises(UserError, match="finite numbers"):
        plot(tmp_path, "bad")


def test_the_experiment_estimates_on_every_table_and_behavior():
    plan = commands.plan("experiment=coverage_measures", "seed=0")
    assert all(run.config.coverage_estimates == "everywhere" for run in plan.runs)
    assert all(run.config.dataset.source.facts().tabular for run in plan.runs)
    names = {run.config.dataset.name for run in plan.runs}
    assert {name.rsplit("_", 1)[1] for name in names} == {"expert", "mixed", "medium", "random"}
    assert len(plan.runs) == len(names) * (1 + 3 * 4)


def test_estimates_are_a_setting_of_their_own():
    plain, wanted = (
        commands.plan("dataset=lock", *words).runs[0]
        for words in ((), ("coverage_estimates=everywhere",))
    )
    assert plain.config.coverage_estimates == "outside_tables"
    assert plain.run_id != wanted.run_id
    (job,) = commands.settings("dataset=lock", "coverage_estimates=nowhere")
    with pytest.raises(ConfigError, match="'outside_tables' or 'everywhere'"):
        run_config(job)
