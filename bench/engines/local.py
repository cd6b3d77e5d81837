"""Orders one after the other in the launching process."""

from dataclasses import dataclass, field

from bench.engines.base import Engine, Finished
from bench.engines.orders import Order, Task
from bench.types import Count


@dataclass(eq=False)
class Local(Engine):
    """The engine without anything to move.

    Attributes:
        threads: Threads of an operation.
    """

    threads: Count
    _task: Task = field(init=False, repr=False)
    _orders: list[Order] = field(init=False, default_factory=list, repr=False)

    def worker_threads(self) -> int:
        """Return the threads of an operation."""
        return self.threads

    def open(self, task: Task, device: str, folder: str) -> None:
        """Take the task."""
        del device, folder
        self._task = task

    def submit(self, order: Order) -> None:
        """Put the order into the queue."""
        self._orders.append(order)

    @property
    def busy(self) -> bool:
        """Whether the queue has orders."""
        return bool(self._orders)

    def collect(self) -> list[Finished]:
        """Do the first order and return how it ended."""
        if not self._orders:
            return []
        order = self._orders.pop(0)
        return [(order, self._task(order))]

    def stop(self) -> None:
        """Drop the queue; the order in training is in this very process, which was asked."""
        self._orders.clear()

    def close(self) -> None:
        """Do nothing."""
