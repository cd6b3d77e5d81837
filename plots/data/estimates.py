"""Estimates of policies' values in records, each beside what the policy was found to be worth."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from plots.data.frame import Frame
from plots.data.records import Condition, replicate

# Ways of acting, with the final number that says what acting so was worth.
WAYS = {"mode": "value", "sampling": "sampled_value"}


class Estimated(NamedTuple):
    """One policy: a run's, by one way of acting.

    Attributes:
        data: What tells the degraded dataset apart from others of its condition.
        value: What the policy was found to be worth, None where it was not evaluated.
        scale: Optimum minus uniform, None where they are not known.
        found: The estimates by name, those that say nothing None or absent.
        about: What the record says of all its estimates.
    """

    place: Condition
    data: str
    learner: str
    way: str
    value: float | None
    scale: float | None
    found: Mapping[str, Any]
    about: Mapping[str, Any]


def estimated(frame: Frame) -> Iterator[Estimated]:
    """Yield every policy of a completed run whose value was estimated."""
    for record in frame.completed():
        optimum, uniform = (record.values.get(name) for name in ("optimum", "uniform"))
        known = optimum is not None and uniform is not None and optimum != uniform
        about = {k: v for k, v in record.value_estimates.items() if k not in WAYS}
        for way, truth in WAYS.items():
            if way in record.value_estimates:
                yield Estimated(
                    frame.places[record.run_id],
                    str(replicate(record)),
                    frame.labels[record.run_id],
                    way,
                    record.final.get(truth),
                    float(optimum or 0) - float(uniform or 0) if known else None,
                    record.value_estimates[way],
                    about,
                )
