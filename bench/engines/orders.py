"""What travels between the launching process and whoever trains: an order, and how it ended."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.settings.spec import RunSpec


@dataclass(frozen=True, eq=False)
class Order:
    """Runs to be trained together.

    Attributes:
        runs: The runs in the order in which they are stacked.
        wanted: Ids of those to be recorded. In a cohort that goes on from a checkpoint others may
            be recorded already; they are computed along, since results are those of the whole.
        replaced: Of wanted runs that have a record, which failed or is stale, when the newest was
            written (``st_mtime_ns``): a newer one is somebody else's who was faster.
    """

    runs: tuple[RunSpec, ...]
    wanted: frozenset[str]
    replaced: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Outcome:
    """How an order ended; whoever does it fills it in.

    Attributes:
        recorded: Ids of the runs whose records were written for this order.
        held: Ids of the runs that another sweep is training.
        stopped: Whether the process was asked to stop before the order's end.
        problem: Why records or data cannot be written, which ends the sweep.
        lack: What the machine lacks for the runs that were not recorded; others go on.
        notes: Sentences for the user about what cost no result.
        traceback: Of the last run that failed by an exception.
    """

    recorded: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    stopped: bool = False
    problem: str | None = None
    lack: str | None = None
    notes: list[str] = field(default_factory=list)
    traceback: str | None = None


@dataclass(frozen=True)
class Died:
    """The process that an order was given to has ended without an answer."""

    cause: str


Task = Callable[[Order], Outcome]
