"""Spearman's rank correlation."""

import numpy as np
import pytest
from scipy import stats

from bench.measures.statistics.ranks import rank_correlation


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
