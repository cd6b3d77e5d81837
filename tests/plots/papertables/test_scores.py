"""A run's score by each rule, from its evaluations alone."""

import pytest

from bench.store.record import RunRecord
from plots.papertables.scores import scores


def record(values, key="returns", optimum=200.0):
    """Return a run with an evaluation per value; 100 is the uniform policy's, 200 the optimum."""
    told = [
        {"update": n, **({key: [v - 1, v + 1]} if key != "exact_value" else {key: v})}
        for n, v in enumerate(values)
    ]
    score = values[-1] - 100 if values and optimum else None
    return RunRecord(
        "id", "table_x", "completed", "bc", "world", 0, {}, evaluations=told,
        values={"uniform": 100.0, "optimum": optimum}, final={"normalized_score": score},
    )  # fmt: skip


@pytest.mark.parametrize("key", ["returns", "discounted_returns", "exact_value"])
def test_every_rule_by_hand(key):
    values = [190.0, 100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0, 180.0, 150.0]
    found = scores(record(values, key=key))
    # The first of eleven is none of the last ten: 0, 10, ..., 80 and 50.
    assert found == {"last": 50.0, "best": 90.0, "last10": pytest.approx(41.0)}


def test_the_mean_of_ten_needs_ten():
    assert scores(record([110.0] * 9))["last10"] is None
    assert scores(record([110.0] * 10))["last10"] == pytest.approx(10.0)


def test_without_a_score_there_is_none_by_any_rule():
    nothing = {"last": None, "best": None, "last10": None}
    assert scores(record([])) == nothing
    assert scores(record([110.0] * 10, optimum=None)) == nothing


def test_discounted_returns_count_where_there_are_both():
    one = record([150.0] * 10, key="discounted_returns")
    for evaluation in one.evaluations:
        evaluation["returns"] = [900.0]
    assert scores(one)["best"] == 50.0
