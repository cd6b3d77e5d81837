"""Which worlds and learners are drawn, where a command names some of them."""

from collections.abc import Callable, Sequence

from bench import CONF
from bench.store.labels import learner_labels
from bench.store.record import RunRecord
from plots.data.records import UnusableRecords

Names = Callable[[RunRecord], tuple[str, ...]]


def chosen_records(
    records: Sequence[RunRecord], worlds: str | None, learners: str | None
) -> list[RunRecord]:
    """Return the records in the worlds and of the learners that are named, all where none is.

    Args:
        records: Those of one experiment.
        worlds: Names of environments, commas between them; without who collects it is all who do.
        learners: Algorithms or labels of figures, commas between them.

    Raises:
        UnusableRecords: If a name is none of the experiment's.
    """
    present = {record.environment for record in records}

    def of_world(record: RunRecord) -> tuple[str, ...]:
        world = _world(record.environment)
        # Where the bare name is a dataset of its own, it is that one alone.
        return (record.environment,) if world in present else (record.environment, world)

    kept = _named(records, worlds, "world", of_world)
    if learners is None:
        return kept
    labels = learner_labels(records)
    return _named(kept, learners, "learner", lambda r: (r.algorithm, labels[r.run_id]))


def check_chosen(records: Sequence[RunRecord], chosen: str) -> None:
    """Refuse an algorithm that no record is of.

    Raises:
        UnusableRecords: If none is.
    """
    _named(records, chosen, "learner", lambda r: (r.algorithm,))


def _world(environment: str) -> str:
    """Return an environment's name without the behavior that its data is of."""
    endings = (f"_{path.stem}" for path in (CONF / "behavior").glob("*.yaml"))
    # `medium_replay` is not `replay`, and no ending of another.
    longest = max((e for e in endings if environment.endswith(e)), key=len, default="")
    return environment.removesuffix(longest)


def _named(
    records: Sequence[RunRecord], words: str | None, kind: str, names: Names
) -> list[RunRecord]:
    if words is None:
        return list(records)
    wanted = {word.strip() for word in words.split(",")}
    known = {name for record in records for name in names(record)}
    if unknown := sorted(wanted - known):
        raise UnusableRecords(
            f"There is no {kind} {unknown[0]!r} here; there are {', '.join(sorted(known))}."
        )
    return [record for record in records if wanted & set(names(record))]
