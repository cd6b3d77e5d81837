"""How many seeds a difference needs, by the power of a two-sided paired t-test."""

import numpy as np
from scipy import stats

MOST_SEEDS = 10_000


def seeds_needed(
    spread: float, difference: float, power: float = 0.8, significance: float = 0.05
) -> int | None:
    """Return the fewest seeds with which a paired t-test finds a difference often enough.

    Args:
        spread: Standard deviation over seeds of the difference between two learners.
        difference: The true mean difference that is to be found.
        power: How often it is to be found.
        significance: How often one is found where there is none.

    Returns:
        At least 2, since one pair has no spread; None where `MOST_SEEDS` are not enough.

    Raises:
        ValueError: If the difference is not above 0 or the spread is below it.
    """
    if difference <= 0 or spread < 0:
        raise ValueError("The difference should be above 0 and the spread not below it.")
    if spread == 0:
        return 2
    few, many = 2, MOST_SEEDS
    if power_of(many, spread, difference, significance) < power:
        return None
    while few < many:
        middle = (few + many) // 2
        if power_of(middle, spread, difference, significance) >= power:
            many = middle
        else:
            few = middle + 1
    return few


def power_of(num_seeds: int, spread: float, difference: float, significance: float = 0.05) -> float:
    """Return how often a paired t-test of so many seeds finds the difference."""
    freedom, shift = num_seeds - 1, np.sqrt(num_seeds) * difference / spread
    critical = stats.t.ppf(1 - significance / 2, freedom)
    found = stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift)
    # Far out the noncentral distribution underflows to NaN, where all is found.
    return float(found) if np.isfinite(found) else 1.0
