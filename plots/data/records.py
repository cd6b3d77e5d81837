"""Records of one experiment, read from the store and checked before anything is drawn."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import isfinite
from typing import Any, get_args

from bench.errors import UserError
from bench.garbage import all_of_it_stays
from bench.store.conditions import Condition as Condition
from bench.store.conditions import condition as condition
from bench.store.conditions import degradation_of
from bench.store.conditions import flatten as flatten
from bench.store.conditions import replicate as replicate
from bench.store.record import RunRecord, Status
from bench.store.records import RunStore

# Numbers are drawn, written and kept with so many significant digits, episode returns and all that
# no figure shows with fewer: what is drawn from kept records is what is drawn from the store.
DIGITS, RETURN_DIGITS, SIDE_DIGITS = 9, 5, 4
# Values of JSON without a fraction: most of a record.
EXACT = frozenset((str, int, bool, type(None)))


class UnusableRecords(UserError):
    """Nothing can be drawn; the message is one sentence for the person at the terminal."""


@all_of_it_stays()
def read_records(store: RunStore, experiment: str) -> list[RunRecord]:
    """Return the records of `experiment`, each fit to be drawn.

    Raises:
        UnusableRecords: If the store is empty, does not hold the experiment, holds a file that is
            no run record, or if none of the runs completed.
    """
    known = store.experiments()
    if not known:
        raise UnusableRecords(f"There is no run record under {store.root}.")
    if experiment not in known:
        raise UnusableRecords(
            f"There is no experiment {experiment!r} under {store.root}; it has {', '.join(known)}."
        )
    try:
        place = f"{store.root}/{experiment}/{{}}.json"
        # One after the other: of a hundred thousand there is no room for two copies.
        found = [rounded(record) for record in usable(store.summaries(experiment), place)]
    except ValueError as error:
        raise UnusableRecords(f"{error}.") from error
    return some_completed(found, experiment)


def usable(records: Iterable[RunRecord], place: str) -> Iterator[RunRecord]:
    """Yield records that are fit to be drawn; ``{}`` in their place is their run id.

    Raises:
        UnusableRecords: At one that lacks what is drawn.
    """
    for record in records:
        if fault := _fault(record):
            where = place.replace("{}", record.run_id)
            raise UnusableRecords(f"{where} is no usable record: {fault}.")
        yield record


def some_completed(found: list[RunRecord], experiment: str) -> list[RunRecord]:
    """Return the records of one experiment.

    Raises:
        UnusableRecords: If none of them completed.
    """
    if not any(record.status == "completed" for record in found):
        raise UnusableRecords(_none_completed(found, experiment))
    return found


def rounded(record: RunRecord) -> RunRecord:
    """Return a record with as many digits as figures and reference results need."""
    coverage = significant(record.coverage, DIGITS)
    if "by_policy" in coverage:
        coverage["by_policy"] = significant(coverage["by_policy"], SIDE_DIGITS)
    return replace(
        record,
        dataset=significant(record.dataset, DIGITS),
        coverage=coverage,
        values=significant(record.values, DIGITS),
        evaluations=[
            *(significant(evaluation, SIDE_DIGITS) for evaluation in record.evaluations[:-1]),
            *(
                {
                    name: significant(value, RETURN_DIGITS if isinstance(value, list) else DIGITS)
                    for name, value in evaluation.items()
                }
                for evaluation in record.evaluations[-1:]
            ),
        ],
        final=significant(record.final, DIGITS),
        value_estimates=significant(record.value_estimates, RETURN_DIGITS),
        regret_split=significant(record.regret_split, RETURN_DIGITS),
        metrics=significant(record.metrics, SIDE_DIGITS),
        timing=significant(record.timing, SIDE_DIGITS),
    )


def error_line(record: RunRecord) -> str:
    """Return the last line of a run's error, which says what happened; empty without an error."""
    lines = (record.error or "").strip().splitlines()
    return lines[-1] if lines else ""


def significant(value: Any, digits: int) -> Any:
    """Return a value of JSON, every number with a fraction in it rounded to so many digits."""
    return _significant(value, f"%.{digits}g")


def _significant(value: Any, form: str) -> Any:
    """Return a value of JSON, every number with a fraction in it as a format writes it."""
    if isinstance(value, float):
        return float(form % value)
    # Without a call for each of the others: it would cost more than all else here.
    if isinstance(value, dict):
        return {k: v if type(v) in EXACT else _significant(v, form) for k, v in value.items()}
    if isinstance(value, list):
        return [v if type(v) in EXACT else _significant(v, form) for v in value]
    return value


def _fault(record: RunRecord) -> str | None:
    """Return what makes a record unfit for drawing, None if nothing does."""
    if record.status not in get_args(Status):
        return f"its status is {record.status!r} instead of one of {', '.join(get_args(Status))}"
    for name in ("run_id", "algorithm", "environment"):
        if not isinstance(getattr(record, name), str):
            return f"its `{name}` is not a name"
    named = ("config", "dataset", "coverage", "values", "final", "value_estimates", "regret_split")
    for name in named:
        if not isinstance(getattr(record, name), dict):
            return f"its `{name}` is not a mapping"
    for name in ("algorithm", "coverage", "dataset"):
        if not isinstance(record.config.get(name, {}), dict):
            return f"its `config.{name}` is not a mapping"
    degradation, severity = degradation_of(record)
    if not isinstance(degradation, str) or not isinstance(severity, int | float):
        return "it does not say which degradation of its data at which severity it ran on"
    described = ("comparator", "by_policy", "reasons")
    coverages = [value for name, value in record.coverage.items() if name not in described]
    numbers = [*record.values.values(), *record.final.values(), *coverages]
    if not all(v is None or (isinstance(v, int | float) and isfinite(v)) for v in numbers):
        return "its `values`, `final` or `coverage` hold something other than finite numbers"
    if not all(isinstance(evaluation, dict) for evaluation in record.evaluations):
        return "its `evaluations` are not mappings"
    if record.status == "completed" and "normalized_regret" not in record.final:
        return "it completed without a `final.normalized_regret`"
    return None


def _none_completed(records: list[RunRecord], experiment: str) -> str:
    failed = [record for record in records if record.status == "failed"]
    sentence = (
        f"None of the {len(records)} runs of {experiment!r} completed: "
        f"{len(failed)} failed and {len(records) - len(failed)} were left without data"
    )
    errors = [line for record in failed if (line := error_line(record))]
    return f"{sentence}; one error says: {errors[0]}" if errors else f"{sentence}."
