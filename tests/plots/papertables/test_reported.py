"""Published scores: what their sources say of them as a whole comes out of the single numbers."""

import pytest

from bench.files.references import d4rl_table
from bench.settings.groups import known_names
from plots.papertables.reported import RULES, DamagedTable, checked, reported_scores
from plots.papertables.reported import _rows as rows

# "Locomotion" of these sources: nine datasets.
LOCOMOTION = [
    f"{world}-{data}-v2"
    for world in ("halfcheetah", "hopper", "walker2d")
    for data in ("medium", "medium-replay", "medium-expert")
]


def of(source, learner, rule):
    """Return the locomotion scores of one published column."""
    found = [
        r
        for r in reported_scores()
        if (r.source.source, r.learner, r.rule) == (source, learner, rule)
    ]
    return [r.score for r in found if r.dataset_id in LOCOMOTION]


@pytest.mark.parametrize(
    ("learner", "rule", "average"),
    [
        # CORL's own averages.
        ("BC", "last", 50.40),
        ("10%BC", "last", 69.29),
        ("TD3+BC", "last", 76.45),
        ("CQL", "last", 78.28),
        ("IQL", "last", 81.63),
        ("BC", "best", 70.15),
        ("TD3+BC", "best", 84.83),
        ("CQL", "best", 84.68),
        ("IQL", "best", 86.28),
    ],
)
def test_corls_averages_are_those_of_its_cells(learner, rule, average):
    scores = of("corl", learner, rule)
    assert len(scores) == 9
    assert sum(scores) / 9 == pytest.approx(average, abs=0.006)


@pytest.mark.parametrize(
    ("learner", "total"),
    [("BC", 466.7), ("DT", 672.6), ("Onestep", 684.6), ("TD3+BC", 677.4), ("CQL", 698.5),
     ("IQL", 692.4)],
)  # fmt: skip
def test_the_iql_papers_totals_are_those_of_its_cells(learner, total):
    # Cells have one digit behind the point, so that nine of them may be off by .45.
    assert sum(of("iql_paper", learner, None)) == pytest.approx(total, abs=0.45)


def test_the_best_evaluation_is_never_below_the_last():
    by_key = {
        (r.source.source, r.dataset_id, r.learner, r.rule): r.score for r in reported_scores()
    }
    pairs = [
        (score, by_key[(*rest, "last")])
        for (*rest, rule), score in by_key.items()
        if rule == "best"
    ]
    assert len(pairs) == 36
    assert all(best >= last for best, last in pairs)


def test_every_dataset_is_one_of_d4rls_and_most_learners_are_here():
    assert {r.dataset_id for r in reported_scores()} <= d4rl_table().keys()
    assert {r.data_version for r in reported_scores()} == {"v0", "v1", "v2"}
    here = {r.algorithm for r in reported_scores()} & set(known_names("algorithm"))
    assert {"bc", "td3_bc", "iql", "cql", "bcq"} <= here
    assert {r.rule for r in reported_scores()} == {*RULES, None}


def test_a_population_std_becomes_that_of_a_sample():
    iql = next(r for r in reported_scores() if (r.learner, r.std_ddof) == ("IQL", 0))
    # Two values, -1 and 1: 1 of the population, the root of 2 of a sample.
    assert iql.sample_std == pytest.approx(iql.std * (4 / 3) ** 0.5)
    unknown = next(r for r in reported_scores() if r.std is not None and r.std_ddof is None)
    assert unknown.sample_std == unknown.std


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("score", "nan", "score"),
        ("score", "4240", "score"),
        ("std", "-1", "std"),
        ("std", "", "ddof"),
        ("rule", "mean", "rule"),
        ("seeds", "1", "seeds"),
        ("source", "hearsay", "hearsay"),
    ],
)
def test_a_line_that_cannot_be_is_refused_by_its_number(column, value, said):
    sources = {r.source.source: r.source for r in reported_scores()}
    good = rows("reported_scores.csv")[:3]
    assert len(checked(good, sources)) == 3
    with pytest.raises(DamagedTable, match=rf"Line 3 .*{said}"):
        checked([good[0], good[1] | {column: value}, good[2]], sources)
    with pytest.raises(DamagedTable, match=r"Line 5 .*repeats"):
        checked([*good, good[2]], sources)
