"""Which runs are trained together, and in which order: no core shall wait for another at the end.

The groups depend on the plan alone, not on how many workers there are: a run's rounding depends on
the runs beside it, and records shall be the same wherever they are made.
"""

import math
from itertools import pairwise

from bench.settings.run import RunConfig
from bench.settings.spec import RunSpec
from bench.training.parts import equal_parts

# Rough seconds of one core, good enough to tell long from short: an update of a run costs what its
# operations do in company, and what the products of its networks do.
SECONDS_OF_UPDATE = 1e-5
PRODUCTS_PER_SECOND = 1.5e9
# A cohort that would take longer is divided, as long as enough runs share the cost of operations.
LONGEST_SECONDS = 20.0
FEWEST_RUNS = 8


def cohorts(runs: list[RunSpec], at_most: int) -> list[list[RunSpec]]:
    """Return the runs in cohorts of at most so many, the longest first."""
    groups: dict[str, list[RunSpec]] = {}
    for run in runs:
        groups.setdefault(run.cohort_key, []).append(run)
    parts = [part for group in groups.values() for part in _divided(group, at_most)]
    return sorted(parts, key=lambda part: -sum(map(seconds, part)))


def seconds(run: RunSpec) -> float:
    """Return about how long a core needs for a run in company."""
    config = run.config
    return config.num_updates * (SECONDS_OF_UPDATE + _products(config) / PRODUCTS_PER_SECOND)


def _products(config: RunConfig) -> float:
    """Return the multiplications of one pass of an update's batch through its networks."""
    hidden = getattr(config.algorithm, "hidden_sizes", ())
    rows = config.batch_size
    if rows == "full":
        rows = getattr(config.dataset.source, "num_transitions", 10_000)
    return float(rows * sum(a * b for a, b in pairwise(hidden))) if len(hidden) > 1 else 0.0


def _divided(group: list[RunSpec], at_most: int) -> list[list[RunSpec]]:
    """Return a group in as few consecutive parts, equal up to one, as are short enough."""
    wanted = math.ceil(sum(map(seconds, group)) / LONGEST_SECONDS)
    number = max(min(wanted, len(group) // FEWEST_RUNS), math.ceil(len(group) / at_most))
    return equal_parts(group, number)
