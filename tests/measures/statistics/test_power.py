"""How many seeds a difference needs."""

import numpy as np
import pytest
from scipy import stats

from bench.measures.statistics.power import MOST_SEEDS, power_of, seeds_needed


@pytest.mark.parametrize(("spread", "difference"), [(1.0, 1.0), (0.3, 0.1), (1.0, 3.0)])
def test_so_many_seeds_find_the_difference_and_one_fewer_too_rarely(spread, difference):
    needed = seeds_needed(spread, difference)
    assert power_of(needed, spread, difference) >= 0.8
    assert needed == 2 or power_of(needed - 1, spread, difference) < 0.8
    rng = np.random.default_rng(0)
    samples = rng.normal(difference, spread, (4000, needed))
    found = np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05)
    assert found == pytest.approx(power_of(needed, spread, difference), abs=0.025)


def test_many_seeds_are_those_of_the_normal_approximation():
    z = stats.norm.ppf([0.975, 0.8]).sum()
    assert seeds_needed(1.0, 0.1) == pytest.approx((z / 0.1) ** 2, abs=3)


def test_ends():
    assert seeds_needed(0.0, 0.1) == 2
    assert seeds_needed(1e6, 0.1) is None
    assert power_of(MOST_SEEDS, 1e-9, 1.0) == 1
    with pytest.raises(ValueError, match="above 0"):
        seeds_needed(1.0, 0.0)
