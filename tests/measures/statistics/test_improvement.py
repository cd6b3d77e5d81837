"""How often one learner is better than another, paired by seed."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from bench.measures.statistics.improvement import (
    EXACT_SEEDS,
    holm,
    probability_of_improvement,
    sign_flip_p_value,
)


def pairs(seed=0, seeds=8, shift=0.3):
    rng = np.random.default_rng(seed)
    both = []
    for _ in range(3):
        first = rng.standard_normal((2, seeds)).round(1)
        both.append((first, (first + rng.normal(shift, 0.5, first.shape)).round(1)))
    return both


def test_the_probability_is_counted_pair_by_pair():
    both = pairs()
    slow = [
        np.mean([1.0 if x < y else 0.5 if x == y else 0.0 for x, y in zip(*rows, strict=True)])
        for first, second in both
        for rows in zip(first, second, strict=True)
    ]
    found = probability_of_improvement(both)
    assert found.probability == pytest.approx(np.mean(slow), abs=1e-12)
    assert found.low <= found.probability <= found.high
    assert found.num_pairs == 48


def test_the_other_way_round_it_is_the_rest():
    one = probability_of_improvement(pairs())
    other = probability_of_improvement([(second, first) for first, second in pairs()])
    assert one.probability + other.probability == pytest.approx(1, abs=1e-12)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-12)
    assert one.p_value == other.p_value


def test_over_all_pairings_of_seeds_it_is_rliables():
    # Theirs compares every run with every other; ours a seed with itself. Over all shifts of the
    # second learner's seeds every run meets every other once.
    both = pairs()
    n = both[0][0].shape[1]
    shifted = [
        probability_of_improvement([(a, np.roll(b, k, axis=1)) for a, b in both]).probability
        for k in range(n)
    ]
    tasks = [rows for a, b in both for rows in zip(a, b, strict=True)]
    theirs = [stats.mannwhitneyu(y, x).statistic / n**2 for x, y in tasks]
    assert np.mean(shifted) == pytest.approx(np.mean(theirs), abs=1e-12)


def test_a_pair_that_lacks_a_run_does_not_count():
    first, second = np.array([[0.0, 0.0, np.nan]]), np.array([[1.0, np.nan, 1.0]])
    found = probability_of_improvement([(first, second)])
    assert (found.probability, found.num_pairs) == (1.0, 1)
    with pytest.raises(ValueError, match="at least one pair"):
        probability_of_improvement([(first * np.nan, second)])


def test_the_p_value_is_that_of_all_sign_patterns():
    effects = np.array([0.5, 0.5, -0.5, 0.25, 0.5])
    patterns = np.array(list(product((-1, 1), repeat=5)))
    expected = np.mean(np.abs(patterns @ effects) >= abs(effects.sum()) - 1e-12)
    assert sign_flip_p_value(effects) == expected
    assert sign_flip_p_value(np.ones(5)) == 2 / 2**5
    assert sign_flip_p_value(np.zeros(3)) == 1
    theirs = stats.permutation_test(
        (effects, np.zeros(5)),
        lambda x, y, axis: np.sum(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=np.inf,
    )
    assert sign_flip_p_value(effects) == pytest.approx(theirs.pvalue)


def test_of_many_seeds_the_p_value_is_a_sample_of_the_patterns():
    effects = np.concatenate([np.full(10, 0.5), np.full(4, -0.5)])
    assert effects.size > EXACT_SEEDS
    exact = stats.binomtest(10, 14).pvalue
    assert sign_flip_p_value(effects) == pytest.approx(exact, abs=0.02)


def test_where_nothing_differs_few_p_values_are_small():
    rng = np.random.default_rng(0)
    p_values = np.array(
        [probability_of_improvement([tuple(rng.standard_normal((2, 1, 8)))]).p_value
         for _ in range(400)]
    )  # fmt: skip
    assert np.mean(p_values <= 0.05) <= 0.07


def test_holm_is_the_step_down_procedure():
    p_values = [0.01, 0.04, 0.03, 0.005]
    # 4 * .005, 3 * .01, 2 * .03, then no less than the one before.
    assert holm(p_values) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
