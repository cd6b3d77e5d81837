"""Performance profiles of regrets."""

import numpy as np
import pytest

from bench.measures.statistics.profiles import performance_profile

THRESHOLDS = np.linspace(-0.5, 1.5, 41)


def strata(seed=0, seeds=6):
    rng = np.random.default_rng(seed)
    return [rng.normal(0.4, 0.4, (2, seeds)) for _ in range(3)]


def test_a_profile_is_the_share_of_runs_counted_one_by_one():
    scores = strata()
    found = performance_profile(scores, THRESHOLDS)
    matrix = np.concatenate(scores)
    slow = [np.mean([np.mean([x <= t for x in task]) for task in matrix]) for t in THRESHOLDS]
    np.testing.assert_allclose(found.share, slow, atol=1e-12)
    assert (found.low <= found.share).all()
    assert (found.share <= found.high).all()


def test_a_profile_is_rliables():
    library = pytest.importorskip("rliable.library", reason="rliable is not installed")
    matrix = np.concatenate(strata()).T
    # Of scores 1 - regret the share above tau; at no threshold does a run lie.
    theirs = library.run_score_deviation(1 - matrix, 1 - THRESHOLDS)
    np.testing.assert_allclose(performance_profile(strata(), THRESHOLDS).share, theirs, atol=1e-12)


def test_a_band_is_that_of_resampling_the_slow_way():
    scores, rng = strata(1), np.random.default_rng(3)
    slow = []
    for _ in range(3000):
        picks = [rng.integers(0, s.shape[1], s.shape[1]) for s in scores]
        drawn = np.concatenate([s[:, p] for s, p in zip(scores, picks, strict=True)])
        slow.append([np.mean(drawn <= t) for t in THRESHOLDS])
    low, high = np.quantile(slow, [0.025, 0.975], axis=0)
    found = performance_profile(scores, THRESHOLDS)
    np.testing.assert_allclose(found.low, low, atol=0.06)
    np.testing.assert_allclose(found.high, high, atol=0.06)


def test_a_task_counts_alike_however_many_of_its_runs_lack():
    full = [np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, np.nan, np.nan]])]
    assert performance_profile(full, np.array([0.5])).share == [0.5]
