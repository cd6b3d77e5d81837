"""Actions from a world's units to learners' and back."""

import gymnasium
import numpy as np
import pytest

from bench.worlds.spaces import bounds, from_unit, to_unit

BOX = ((-2.0, 0.0, 1.0), (2.0, 0.5, 9.0))


def test_bounds_become_one_and_the_middle_zero():
    np.testing.assert_array_equal(to_unit(np.array(BOX[0]), BOX), [-1, -1, -1])
    np.testing.assert_array_equal(to_unit(np.array(BOX[1]), BOX), [1, 1, 1])
    np.testing.assert_array_equal(to_unit(np.array([0.0, 0.25, 5.0]), BOX), [0, 0, 0])


def test_there_and_back_is_where_one_was():
    action = np.random.default_rng(0).uniform(*np.array(BOX), (7, 5, 3))
    unit = to_unit(action, BOX)
    assert np.abs(unit).max() <= 1
    np.testing.assert_allclose(from_unit(unit, BOX), action, rtol=1e-15)


def test_data_beyond_a_bound_stays_beyond_and_a_learners_action_does_not():
    assert to_unit(np.array([3.0, 0.0, 1.0]), BOX)[0] == 1.5
    np.testing.assert_array_equal(from_unit(np.array([1.5, -7.0, 0.0]), BOX), [2, 0, 5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_rounding_leads_beyond_a_bound(dtype):
    rng = np.random.default_rng(0)
    low = rng.normal(size=1000).astype(dtype)
    high = low + rng.exponential(size=1000).astype(dtype)
    box = tuple(low.tolist()), tuple(high.tolist())
    np.testing.assert_array_equal(from_unit(np.ones(1000, dtype), box), high)
    np.testing.assert_array_equal(from_unit(-np.ones(1000, dtype), box), low)
    assert np.abs(to_unit(low, box)).max() <= 1


def test_open_dimensions_and_those_of_one_value_stay_as_they_are():
    box = ((-np.inf, 0.0, 3.0), (np.inf, np.inf, 3.0))
    action = np.array([-7.0, 12.0, 3.0])
    np.testing.assert_array_equal(to_unit(action, box), action)
    np.testing.assert_array_equal(from_unit(action, box), action)


def test_the_widest_bounds_do_not_overflow():
    largest = np.finfo(np.float64).max
    assert to_unit(np.array([largest]), ((-largest,), (largest,))) == 1


def test_a_box_of_gymnasium_has_such_bounds():
    box = bounds(gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32))
    assert from_unit(np.array([0.5]), box) == 1.0
