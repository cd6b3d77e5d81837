"""What every engine does: it takes orders and tells how they ended. The rest is its own affair."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from bench.engines.orders import Died, Order, Outcome, Task

# How long `collect` waits for something to end, so that a Ctrl-C is noticed in between.
WAIT_SECONDS = 0.2

Finished = tuple[Order, Outcome | Died]


@dataclass(eq=False)
class Engine(ABC):
    """Settings of an engine, and the orders it has in hand.

    An engine moves work to where it is done and knows nothing of training. It is opened once,
    given orders, asked what has ended for as long as it is busy, and closed whatever happens.
    """

    def worker_threads(self) -> int | None:
        """Return the threads that an operation of a worker may use; None leaves it to torch."""
        return None

    def sharers(self, device: str) -> int:
        """Return how many workers share the memory of one machine (or of one GPU)."""
        del device
        return 1

    @property
    def elsewhere(self) -> bool:
        """Whether workers may run on another machine, with another GPU, than this one."""
        return False

    def check(self) -> None:  # noqa: B027  (most engines work everywhere)
        """Do nothing if the engine can work here.

        Raises:
            ConfigError: If it cannot; the sentence says what is missing.
        """

    @abstractmethod
    def open(self, task: Task, device: str, folder: str) -> None:
        """Get ready to do `task` on orders, on a `device`; `folder` is for files of its own.

        Raises:
            ConfigError: If the engine cannot be reached.
        """

    @abstractmethod
    def submit(self, order: Order) -> None:
        """Take an order; returns at once."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether there are orders whose end has not been told."""

    @abstractmethod
    def collect(self) -> list[Finished]:
        """Return the orders that have ended, after waiting for a moment if there are none."""

    @abstractmethod
    def stop(self) -> str | None:
        """Drop what has not begun and ask the rest to stop; may be called again and again.

        Returns a sentence if something goes on all the same.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back processes and whatever else is held; what still runs is ended."""
