"""Variants of a learner are ranked by mean regret over the conditions that they share."""

import csv
import io
from dataclasses import replace

import pytest

from plots.data.frame import build_frame
from plots.look.links import unlinked
from plots.sections.comparisons.ranking import ranking, ranking_table, section
from tests.plots.sections.test_sensitivity import record


def ranked(runs, exact=True):
    """Return the ranking of runs that differ in their conservatism."""
    value = 0.5 if exact else None
    last = [{"update": 10, "returns": [0.5], "exact_value": value}]
    return ranking(build_frame("x", [replace(run, evaluations=last) for run in runs]))


def test_the_lowest_mean_comes_first_and_conditions_count_alike():
    runs = [record(0.1, 0, seed, regret) for seed, regret in enumerate([0.2, 0.4])]
    runs += [record(0.1, 0, 0, 0.9, severity=0.9)]
    runs += [record(1.0, 0, seed, regret) for seed, regret in enumerate([0.5, 0.5])]
    runs += [record(1.0, 0, 0, 0.5, severity=0.9)]
    first, second = ranked(runs)
    assert (first.label, first.place, first.regret) == (
        "stackelberg (conservatism=1)",
        1,
        pytest.approx(0.5),
    )
    assert (second.regret, second.num_conditions, second.num_runs) == (pytest.approx(0.6), 2, 3)
    # Of the first condition: variance 0.02 of two runs; the second has one run and tells nothing.
    assert second.error == pytest.approx(0.01**0.5 / 2)


def test_a_condition_that_one_variant_lacks_judges_none():
    runs = [record(0.1, 0, 0, 0.2), record(1.0, 0, 0, 0.5), record(1.0, 0, 0, 0.0, severity=0.9)]
    assert [r.regret for r in ranked(runs)] == [0.2, 0.5]


def test_a_single_variant_has_no_ranking():
    assert ranked([record(0.1, 0, seed, 0.5) for seed in range(3)]) == ()


def test_tables_and_others_are_ranked_apart():
    runs = [record(c, 0, 0, c) for c in (0.1, 1.0)]
    assert {r.kind for r in ranked(runs, exact=False)} == {"networks"}
    assert {r.kind for r in ranked(runs)} == {"tables"}
    for run in runs:
        run.config["algorithm"]["target"] = "algorithms.continuous.cql.ConservativeQLearning"
    assert {r.kind for r in ranked(runs)} == {"continuous"}
    for run in runs:
        run.config["algorithm"]["target"] = "algorithms.stackelberg.learner.StackelbergLearner"
        run.config["dataset"]["environment"] = {"target": "bench.worlds.continuous.lqr.LQR"}
    assert {r.kind for r in ranked(runs)} == {"continuous"}


def test_the_table_shows_the_best_and_the_worst_and_the_file_all():
    runs = [record(float(c), 0, 0, c / 10) for c in range(1, 7)]
    assert ranking_table(ranked(runs), unlinked).count(" of 6 ") == 4
    (file,) = section(build_frame("x", runs)).files
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [row["place"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert rows[2]["regret"] == "0.3"
