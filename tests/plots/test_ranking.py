"""Variants of a learner are ranked by mean regret over the conditions that they share."""

import csv
import io

import pytest

from plots.records import condition
from plots.sections.base import ranking_table
from plots.sections.ranking import ranking, ranking_csv
from tests.plots.test_heatmap import record


def ranked(runs, exact=True):
    """Return the ranking of runs whose label is their conservatism."""
    labels = {r.run_id: f"C={r.config['algorithm']['conservatism']}" for r in runs}
    conditions = {r.run_id: condition(r) for r in runs}
    return ranking(runs, labels, conditions, {r.environment: exact for r in runs})


def test_the_lowest_mean_comes_first_and_conditions_count_alike():
    runs = [record(0.1, 0, seed, regret) for seed, regret in enumerate([0.2, 0.4])]
    runs += [record(0.1, 0, 0, 0.9, severity=0.9)]
    runs += [record(1.0, 0, seed, regret) for seed, regret in enumerate([0.5, 0.5])]
    runs += [record(1.0, 0, 0, 0.5, severity=0.9)]
    first, second = ranked(runs)
    assert (first.label, first.place, first.regret) == ("C=1.0", 1, pytest.approx(0.5))
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


def test_the_table_shows_the_best_and_the_worst_and_the_file_all():
    ranks = ranked([record(float(c), 0, 0, c / 10) for c in range(1, 7)])
    assert ranking_table(ranks).count(" of 6 ") == 4
    rows = list(csv.DictReader(io.StringIO(ranking_csv(ranks))))
    assert [row["place"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert rows[2]["regret"] == "0.3"
