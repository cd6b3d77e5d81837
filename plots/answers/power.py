"""How many seeds a stated difference needs, from the spread that the store has."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bench.measures.statistics.power import seeds_needed
from plots.data import names as printed
from plots.data.frame import Frame
from plots.data.tasks import Field, fields

DIFFERENCES = (0.2, 0.1, 0.05, 0.02)


class Spread(NamedTuple):
    """Standard deviation over seeds of the chosen learner's difference to another, per task."""

    learner: str
    other: str
    median: float
    largest: float


def spreads(frame: Frame) -> Iterator[tuple[Field, list[Spread]]]:
    """Yield per field the spreads of paired differences to the chosen algorithm's learners.

    Without one of these, those of the first learner are taken.
    """
    algorithms = {x.label: x.algorithm for x in frame.learners}
    for field in fields(frame, frame.measure or "normalized_regret"):
        own = [x for x in field.learners if algorithms[x] == frame.chosen] or field.learners[:1]
        found = []
        for learner in own:
            for other in [x for x in field.learners if x not in own]:
                pairs = zip(field.of(learner), field.of(other), strict=True)
                deviations = [d for one, two in pairs for row in one - two if (d := _spread(row))]
                if deviations:
                    middle, largest = float(np.median(deviations)), float(np.max(deviations))
                    found.append(Spread(learner, other, middle, largest))
        if found:
            yield field, found


def sentences(frame: Frame) -> Iterator[str]:
    """Yield what to print: per field and pair how many seeds each difference needs."""
    for field, found in spreads(frame):
        yield (
            f"Over {field.num_tasks} tasks ({field.title}): seeds for a paired t-test at 5 % to "
            f"find a difference in {printed.measure(field.measure)} with a power of 80 %, in a "
            "task of median and of largest spread."
        )
        for spread in found:
            needs = "; ".join(
                f"{difference:g}: {_number(spread.median, difference)} to "
                f"{_number(spread.largest, difference)}"
                for difference in DIFFERENCES
            )
            pair = f"{printed.learner(spread.learner)} against {printed.learner(spread.other)}"
            yield f"  {pair} (spread {spread.median:.3f} to {spread.largest:.3f}): {needs}"


def _number(spread: float, difference: float) -> str:
    return str(seeds_needed(spread, difference) or "over 10000")


def _spread(differences: np.ndarray) -> float | None:
    known = differences[~np.isnan(differences)]
    return float(known.std(ddof=1)) if len(known) > 1 else None
