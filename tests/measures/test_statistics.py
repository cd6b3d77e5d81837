"""Tests of the interquartile mean and its bootstrap interval."""

import numpy as np
import pytest
from scipy import stats

from bench.measures.statistics import (
    bootstrap_interquartile_mean,
    interquartile_mean,
    rank_correlation,
)


def bootstrap(*strata, seed=0, **settings):
    scores = [np.asarray(scores, dtype=float) for scores in strata]
    return bootstrap_interquartile_mean(scores, np.random.default_rng(seed), **settings)


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


def test_the_same_generator_gives_the_same_interval():
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
        bootstrap_interquartile_mean([rng.normal(3.0, 1.0, 30)], rng, num_resamples=400)
        for _ in range(200)
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


def test_rank_correlation_is_the_correlation_of_mean_ranks():
    def ranks(column):
        return [np.mean([np.sum(column < x) + 1, np.sum(column <= x)]) for x in column]

    rng = np.random.default_rng(0)
    for _ in range(10):
        left, right = rng.integers(5, size=(2, 20))
        expected = np.corrcoef(ranks(left), ranks(right))[0, 1]
        assert rank_correlation(left, right) == pytest.approx(expected)
        assert rank_correlation(left, right) == pytest.approx(stats.spearmanr(left, right)[0])


def test_what_does_not_vary_has_no_rank_correlation():
    varied, flat = np.arange(4.0), np.ones(4)
    assert rank_correlation(varied, flat) is None
    assert rank_correlation(flat, varied) is None
    assert rank_correlation(varied[:2], varied[:2]) is None
    assert rank_correlation(varied, varied**3) == pytest.approx(1)
