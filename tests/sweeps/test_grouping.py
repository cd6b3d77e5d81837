"""Runs that are trained together: alike, few enough, of equal number, the longest first."""

import pytest

from bench.sweeps import grouping
from bench.training.parts import equal_parts
from tests.support.commands import plan
from tests.support.sweeps import TINY

SMALL = tuple(word for word in TINY if not word.startswith(("dataset=", "launcher=")))


def cohorts(*words, at_most=128):
    """Return the cohorts that a plan's runs are trained in."""
    runs = plan(*words).runs
    found = grouping.cohorts(list(runs), at_most)
    assert sorted(r.run_id for c in found for r in c) == sorted(r.run_id for r in runs)
    return found


def test_only_what_shares_its_operations_is_trained_together():
    found = cohorts("algorithm=bc,cql", "dataset=lock,garnet", "seed=range(3)", *SMALL)
    assert len(found) == 4
    for cohort in found:
        assert len({run.cohort_key for run in cohort}) == 1


@pytest.mark.parametrize(("at_most", "sizes"), [(128, [10]), (4, [3, 3, 4]), (1, [1] * 10)])
def test_no_cohort_has_more_runs_than_allowed_and_none_many_fewer_than_another(at_most, sizes):
    found = cohorts("algorithm=bc", "dataset=lock", "seed=range(10)", *SMALL, at_most=at_most)
    assert sorted(map(len, found)) == sizes


def test_a_long_cohort_is_divided_and_a_short_one_is_not():
    words = ("algorithm=cql", "dataset=cartpole", "seed=range(64)")
    longer = cohorts(*words, "num_updates=20000")
    assert {len(c) for c in longer} == {grouping.FEWEST_RUNS}
    assert [len(c) for c in cohorts(*words, "num_updates=20")] == [64]


def test_the_longest_comes_first():
    found = cohorts("algorithm=bc", "dataset=cartpole,lock", "num_updates=10,1000", "seed=0,1")
    times = [sum(map(grouping.seconds, cohort)) for cohort in found]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) > 2


def test_cohorts_do_not_depend_on_how_many_workers_there_are():
    words = ("algorithm=bc,cql", "dataset=lock", "seed=range(9)", *SMALL)
    found = [
        [[run.run_id for run in cohort] for cohort in plan(*words, *launcher).cohorts]
        for launcher in (["launcher=local"], ["launcher=processes", "launcher.workers=3"])
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(("count", "number"), [(1, 1), (7, 3), (128, 7), (5, 5)])
def test_parts_are_equal_up_to_one(count, number):
    parts = equal_parts(list(range(count)), number)
    assert [item for part in parts for item in part] == list(range(count))
    sizes = [len(part) for part in parts]
    assert len(sizes) == number
    assert max(sizes) - min(sizes) <= 1
