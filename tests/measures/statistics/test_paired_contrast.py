"""The paired bootstrap of one method against the best and the median of the others."""

import numpy as np
import pytest

from bench.measures.statistics.paired import paired_contrast


def contrast(*cells, seed=0, **settings):
    scores = [np.asarray(scores, dtype=float) for scores in cells]
    return paired_contrast(scores, np.random.default_rng(seed), **settings)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def assert_same(left, right):
    np.testing.assert_allclose(np.array(left), np.array(right), atol=1e-12)


def test_of_two_methods_it_is_the_bootstrap_of_paired_differences():
    scores = normal(2, 20)
    found = contrast(scores, num_resamples=20000)
    differences = scores[0] - scores[1]
    assert found.best == found.median
    assert found.best.point == pytest.approx(differences.mean())
    assert found.best.num_runs == 20
    draws = np.random.default_rng(1).choice(differences, size=(20000, 20)).mean(axis=1)
    expected = np.quantile(draws, [0.025, 0.975])
    np.testing.assert_allclose(found.best[1:3], expected, atol=0.015)


def test_two_seeds_by_hand():
    # A resample holds either difference twice, or both: mean 0, 1 or 0.5.
    found = contrast([[0.0, 1.0], [0.0, 0.0]])
    assert found.best == (0.5, 0.0, 1.0, 2)


def test_the_point_is_against_the_lowest_and_the_median_of_the_means():
    found = contrast([[2.0, 4.0], [1.0, 1.0], [5.0, 7.0], [2.0, 0.0], [9.0, 9.0]])
    # Means 3 against 1, 6, 1 and 9.
    assert (found.best.point, found.median.point) == (2.0, -0.5)


def test_what_a_seed_does_to_all_methods_alike_changes_nothing():
    scores = normal(4, 15)
    assert_same(contrast(scores), contrast(scores + 100 * normal(15, seed=1)))


def test_pairing_takes_the_noise_that_methods_share():
    shared = 10 * normal(20)
    found = contrast(np.stack([shared + 1, shared]))
    assert_same(found.best, (1.0, 1.0, 1.0, 20))


def test_the_order_of_the_others_does_not_matter():
    scores = normal(4, 15)
    assert_same(contrast(scores), contrast(scores[[0, 3, 1, 2]]))


def test_a_clearly_worse_method_does_not_move_the_best():
    scores = normal(2, 15)
    assert_same(contrast(scores).best, contrast(np.vstack([scores, scores[1] + 50])).best)


def test_resampling_matches_the_slow_way():
    scores = normal(4, 12)
    rng = np.random.default_rng(5)
    slow = []
    for _ in range(4000):
        means = scores[:, rng.integers(12, size=12)].mean(axis=1)
        slow.append(means[0] - np.array([means[1:].min(), np.median(means[1:])]))
    expected = np.quantile(slow, [0.025, 0.975], axis=0)
    found = contrast(scores, num_resamples=4000)
    np.testing.assert_allclose(found.best[1:3], expected[:, 0], atol=0.06)
    np.testing.assert_allclose(found.median[1:3], expected[:, 1], atol=0.06)


def simulate(truth, num_trials=300):
    """Return per trial the contrast to the best, methods having these true means."""
    rng = np.random.default_rng(3)
    truth = np.array(truth)[:, None]
    return np.array(
        [
            paired_contrast(
                [truth + rng.standard_normal((len(truth), 20))], rng, num_resamples=300
            ).best[:3]
            for _ in range(num_trials)
        ]
    )


@pytest.mark.parametrize("truth", [(0.5, 0.0), (0.5, 0.0, 3.0, 3.0)])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(truth):
    _, low, high = simulate(truth).T
    assert 0.88 <= np.mean((low <= 0.5) & (high >= 0.5)) <= 0.98


def test_among_equals_the_best_of_the_others_looks_better_than_it_is():
    point, low, high = simulate([0.0] * 6).T
    # The lowest of five means lies 1.16 standard errors low; the interval errs to the same side.
    assert point.mean() == pytest.approx(1.163 / np.sqrt(20), abs=0.05)
    assert ((low + high) / 2 > point).mean() > 0.7
    assert (high < 0).mean() <= 0.01


def test_cells_with_the_same_seeds_are_resampled_together():
    scores = normal(3, 20)
    one = contrast(scores)
    # A copy adds no information, as it would if it were resampled on its own.
    assert_same(contrast(scores, scores), one)
    mirrored = contrast(scores[:2], scores[[1, 0]])
    assert_same(mirrored.best, (0.0, 0.0, 0.0, 20))


def test_a_cell_may_lack_seeds_and_counts_as_much():
    many = np.zeros((2, 10))
    few = np.full((2, 10), np.nan)
    few[:, :2] = [[1.0, 1.0], [0.0, 0.0]]
    found = contrast(many, few)
    assert found.best.point == 0.5
    # Resamples without a seed of the second cell know of the first alone.
    assert (found.best.low, found.best.high) == (0.0, 0.5)
    assert found.best.num_runs == 10


def test_a_seed_that_no_cell_completed_is_none():
    scores = normal(3, 8)
    half = np.column_stack([scores, [np.nan, 1.0, 1.0]])
    assert contrast(half) == contrast(scores)


def test_nothing_to_compare_is_refused():
    for cells in ((), (np.zeros((1, 5)),), (np.full((2, 5), np.nan),)):
        with pytest.raises(ValueError, match="at least one"):
            contrast(*cells)
