"""Tests of the interquartile mean and its bootstrap interval."""

import numpy as np
import pytest
from scipy import stats

from bench.measures.statistics.aggregates import (
    AGGREGATES,
    interquartile_mean,
    mean_of_tasks,
    median_of_tasks,
    optimality_gap,
    pooled_interquartile_mean,
)
from bench.measures.statistics.intervals import Resampled


def bootstrap(*strata, confidence=0.95, **settings):
    scores = [np.asarray(scores, dtype=float) for scores in strata]
    return Resampled(scores, **settings).percentile(pooled_interquartile_mean, confidence)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 3.0], 2.0),
        ([1.0, 2.0, 6.0], 3.0),
        ([-100.0, 1.0, 3.0, 900.0], 2.0),
        # Of five scores one is cut at either end, of eight two.
        ([5.0, 100.0, 1.0, 3.0, -50.0], 3.0),
        ([8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 4.5),
    ],
)
def test_interquartile_mean_by_hand(scores, expected):
    assert interquartile_mean(np.array(scores)) == pytest.approx(expected)


def test_interquartile_mean_is_scipys_along_any_axis():
    scores = np.random.default_rng(0).standard_normal((7, 12))
    for axis in (0, 1, None):
        expected = stats.trim_mean(scores, 0.25, axis=axis)
        np.testing.assert_allclose(interquartile_mean(scores, axis=axis), expected)
    by_sorting = np.sort(scores, axis=1)[:, 3:9].mean(1)
    np.testing.assert_allclose(interquartile_mean(scores, axis=1), by_sorting)


def test_the_estimate_is_the_interquartile_mean_of_all_runs():
    estimate = bootstrap([1.0, 2.0, 3.0], [10.0, 20.0])
    assert estimate.point == pytest.approx((2 + 3 + 10) / 3)
    assert estimate.num_runs == 5
    assert estimate.low <= estimate.point <= estimate.high


def test_the_same_seed_gives_the_same_interval():
    scores = np.random.default_rng(0).standard_normal(10)
    assert bootstrap(scores, seed=3) == bootstrap(scores, seed=3)
    assert bootstrap(scores, seed=3) != bootstrap(scores, seed=4)


def test_identical_scores_have_an_interval_of_no_width():
    assert bootstrap([0.25] * 6) == (0.25, 0.25, 0.25, 6)
    assert bootstrap([0.5]) == (0.5, 0.5, 0.5, 1)


def test_no_score_is_refused():
    for strata in ((), ([],), ([], [])):
        with pytest.raises(ValueError, match="at least one score"):
            bootstrap(*strata)


def test_an_empty_stratum_adds_nothing():
    scores = np.arange(6.0)
    assert bootstrap(scores, []) == bootstrap(scores)


def test_the_interval_shrinks_with_runs_and_grows_with_confidence():
    scores = np.random.default_rng(1).standard_normal(400)
    few, many = bootstrap(scores[:10]), bootstrap(scores)
    assert many.high - many.low < 0.4 * (few.high - few.low)
    wide, narrow = bootstrap(scores, confidence=0.99), bootstrap(scores, confidence=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    # The interquartile mean of a symmetric distribution is its center.
    estimates = [
        bootstrap(rng.normal(3.0, 1.0, 30), num_resamples=400, seed=seed) for seed in range(200)
    ]
    covered = np.mean([estimate.low <= 3.0 <= estimate.high for estimate in estimates])
    assert 0.88 <= covered <= 0.99


def test_the_interval_agrees_with_scipys_bootstrap():
    scores = np.random.default_rng(3).standard_normal(20)
    ours = bootstrap(scores, num_resamples=20000)
    theirs = stats.bootstrap(
        (scores,),
        interquartile_mean,
        n_resamples=20000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_runs_are_resampled_within_their_stratum():
    # Within either stratum all runs agree: whatever is drawn, the pool is the same.
    assert bootstrap([0.0] * 4, [1.0] * 4) == (0.5, 0.5, 0.5, 8)
    pooled = bootstrap([0.0] * 4 + [1.0] * 4)
    assert pooled.low < 0.5 < pooled.high


def test_stratified_resampling_matches_the_slow_way():
    strata = [np.array([0.0, 1.0, 5.0]), np.array([2.0, 2.5, 9.0, 4.0])]
    rng = np.random.default_rng(4)
    slow = [
        interquartile_mean(np.concatenate([rng.choice(s, s.size) for s in strata]))
        for _ in range(4000)
    ]
    fast = bootstrap(*strata, num_resamples=4000)
    np.testing.assert_allclose((fast.low, fast.high), np.quantile(slow, [0.025, 0.975]), atol=0.25)


def tasks(seed=0):
    """Return regrets of three environments with two conditions each, and as one matrix."""
    rng = np.random.default_rng(seed)
    strata = [rng.gamma(1.0, size=(2, 6)) - 0.2 for _ in range(3)]
    return strata, np.concatenate(strata)


def test_aggregates_are_those_of_rliable_written_out():
    strata, matrix = tasks()
    found = {name: float(f([s[None] for s in strata])[0]) for name, f in AGGREGATES.items()}
    scores = 1 - matrix  # higher is better there, and matrices are runs by tasks
    assert found == pytest.approx(
        {
            "interquartile mean": 1 - stats.trim_mean(scores, 0.25, axis=None),
            "mean": 1 - np.mean(np.mean(scores, axis=1)),
            "median": 1 - np.median(np.mean(scores, axis=1)),
            "optimality gap": 1.0 - np.mean(np.minimum(scores, 1.0)),
        },
        abs=1e-12,
    )


def test_aggregates_are_rliables():
    metrics = pytest.importorskip("rliable.metrics", reason="rliable is not installed")
    strata, matrix = tasks()
    scores, batch = 1 - matrix.T, [s[None] for s in strata]
    assert pooled_interquartile_mean(batch)[0] == pytest.approx(1 - metrics.aggregate_iqm(scores))
    assert mean_of_tasks(batch)[0] == pytest.approx(1 - metrics.aggregate_mean(scores))
    assert median_of_tasks(batch)[0] == pytest.approx(1 - metrics.aggregate_median(scores))
    gap = metrics.aggregate_optimality_gap(scores)
    assert optimality_gap(batch)[0] == pytest.approx(gap)


@pytest.mark.parametrize("aggregate", AGGREGATES.values(), ids=AGGREGATES)
def test_a_lacking_run_is_as_if_it_had_not_been(aggregate):
    whole = [np.array([[[1.0, 4.0, 2.0, 8.0]]]), np.array([[[3.0, 5.0]]])]
    lacking = [np.array([[[1.0, np.nan, 4.0, 2.0, 8.0]]]), np.array([[[3.0, 5.0, np.nan]]])]
    np.testing.assert_allclose(aggregate(lacking), aggregate(whole), rtol=1e-14)


def test_a_median_is_of_the_tasks_that_have_runs():
    rng = np.random.default_rng(6)
    scores = np.where(rng.random((50, 7, 1)) < 0.4, np.nan, rng.normal(size=(50, 7, 1)))
    scores[0] = np.nan
    assert np.isnan(median_of_tasks([scores])[0])
    expected = np.nanmedian(scores[1:, :, 0], axis=1)
    np.testing.assert_array_equal(median_of_tasks([scores[1:, :3], scores[1:, 3:]]), expected)


@pytest.mark.parametrize("aggregate", AGGREGATES.values(), ids=AGGREGATES)
@pytest.mark.parametrize("ours", [Resampled.percentile, Resampled.bca])
def test_intervals_are_scipys_to_the_last_digits(aggregate, ours):
    rng = np.random.default_rng(5)
    strata = [rng.gamma(1.0, size=n) for n in (6, 9, 12)]

    def statistic(*samples, axis):
        return aggregate([s if s.ndim > 1 else s[None] for s in samples]).squeeze()[()]

    method = "percentile" if ours is Resampled.percentile else "BCa"
    theirs = stats.bootstrap(
        strata, statistic, n_resamples=999, method=method, rng=np.random.default_rng(7), axis=-1
    )
    drawn = Resampled(strata, num_resamples=999, seed=7)
    Resampled.percentile(drawn, mean_of_tasks)  # what else is estimated changes nothing
    found = ours(drawn, aggregate)
    expected = theirs.confidence_interval
    assert found[1:3] == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_corrected_intervals_of_what_does_not_vary_have_no_width():
    assert Resampled([np.full(5, 0.5)]).bca(mean_of_tasks)[:3] == (0.5, 0.5, 0.5)
    assert Resampled([np.array([0.5])]).bca(mean_of_tasks).low == 0.5


# How often nominal 95 % intervals hold the truth, of regrets as they come: most small, some large.
# The bounds are what n runs are worth; README.md and plots/README.md repeat them.
COVERED = {5: (0.80, 0.91), 10: (0.85, 0.95), 20: (0.89, 0.97)}


@pytest.mark.parametrize("num_seeds", COVERED)
@pytest.mark.parametrize("interval", [Resampled.percentile, Resampled.bca])
def test_nominal_intervals_of_few_seeds_cover_less_than_they_say(interval, num_seeds):
    rng = np.random.default_rng(num_seeds)
    covered = 0
    for seed in range(400):
        strata = [np.minimum(rng.gamma(1.0, 0.3, (1, num_seeds)), 1.0) for _ in range(2)]
        found = interval(Resampled(strata, 500, seed), mean_of_tasks)
        covered += found.low <= 0.3 * (1 - np.exp(-1 / 0.3)) <= found.high
    low, high = COVERED[num_seeds]
    assert low <= covered / 400 <= high
