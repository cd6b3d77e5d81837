"""Which conditions can tell methods apart: those where something better than chance can be had."""

from collections.abc import Iterable, Mapping

import numpy as np

INFORMATIVE_SHARE = 0.1


def tells_apart(
    values: Iterable[Mapping[str, float | None]], name: str = "best_covered"
) -> bool | None:
    """Return whether the named value gains enough over the uniform policy's, None if not known.

    Enough is `INFORMATIVE_SHARE` of what the optimum gains, both as means over the runs.

    Args:
        values: Per run of a condition ``optimum``, ``uniform`` and the named value.
        name: The best that can be had there.
    """
    found = [[run.get(key) for key in (name, "uniform", "optimum")] for run in values]
    known = [run for run in found if None not in run]
    if not known:
        return None
    best, uniform, optimum = np.mean(np.array(known, dtype=float), axis=0)
    return bool(best - uniform >= INFORMATIVE_SHARE * (optimum - uniform))
