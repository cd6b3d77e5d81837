"""What one run leaves behind: the record that every table and figure is drawn from."""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

Status = Literal["completed", "empty", "failed"]


@dataclass(frozen=True)
class RunRecord:
    """What one run leaves behind: raw numbers only, averages are derived from them.

    Attributes:
        run_id: Hash of everything that can change the result, the seed included.
        status: ``empty`` when the degradation left no data, ``failed`` when ``error`` says why.
        config: The resolved configuration that `run_id` was computed from.
        dataset: Source, fingerprint, sizes and mean return of the data that was trained on, and a
            hash of what it was made from (``content``; of data that worse episodes come from, by
            name, ``worse``); of a file also its hash and whose reference returns scores are scaled
            by; ``reward_unit`` where learners count rewards in another unit than the world.
        coverage: Measures of what that data still covers; null ones have a reason in ``reasons``,
            ``comparator`` says whose coverage it is.
        values: Optimum, uniform, behavior and best covered value, in the environment's units.
        evaluation: What policies were evaluated in; null where nothing could be acted in, and
            `evaluation_reason` says why.
        evaluations: Per evaluation the update, the raw episode returns and the exact value.
        final: Regrets and scores of the last evaluation; all null without one.
        value_estimates: Of the last policy from data alone, where they were made; no returns and
            no regrets. What they are of and made from, and per way of acting, ``mode`` and
            ``sampling``, those of `bench/measures/value_estimates/estimation.py`.
        regret_split: Where the regret comes from (`bench/measures/splits.py`), of worlds whose MDP
            is known; empty elsewhere and in records that were made before it was.
        metrics: Per name a list of ``[update, value]``.
        timing: Updates per second of each run, and of the whole cohort and process: seconds, peak
            memory (also of the GPU, null without one) and number of runs.
        code: Fingerprint of the algorithm's code that made it, null where it is not known.
    """

    run_id: str
    experiment: str
    status: Status
    algorithm: str
    environment: str
    seed: int
    config: dict[str, Any]
    dataset: dict[str, Any] = field(default_factory=dict)
    coverage: dict[str, Any] = field(default_factory=dict)
    values: dict[str, float | None] = field(default_factory=dict)
    evaluation: str | None = None
    evaluation_reason: str | None = None
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    final: dict[str, float | None] = field(default_factory=dict)
    value_estimates: dict[str, Any] = field(default_factory=dict)
    regret_split: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, list[list[float]]] = field(default_factory=dict)
    timing: dict[str, float | None] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    code: str | None = None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record that `to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Return the record as JSON; NaN and infinities raise ``ValueError``."""
        return json.dumps(asdict(self), allow_nan=False, indent=1)


def shortened(record: RunRecord) -> RunRecord:
    """Return a record whose evaluations before the last have their returns as means.

    Raises:
        TypeError: If its evaluations are no lists of numbers.
    """
    early, last = record.evaluations[:-1], record.evaluations[-1:]
    return replace(record, evaluations=[*map(_with_means, early), *last])


def _with_means(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Return an evaluation, every list in it as a list of its mean alone."""
    if not isinstance(evaluation, dict):
        return evaluation  # whoever reads it says so
    lists = {name: values for name, values in evaluation.items() if isinstance(values, list)}
    means = {name: [sum(values) / len(values)] if values else [] for name, values in lists.items()}
    return {**evaluation, **means}
