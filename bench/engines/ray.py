"""Orders as tasks of a Ray cluster, by address, or of one that is started on this machine."""

import importlib
import os
import signal
import threading
from dataclasses import dataclass, field
from typing import Any

from bench.engines import stopping
from bench.engines.base import WAIT_SECONDS, Engine, Finished
from bench.engines.orders import Died, Order, Outcome, Task
from bench.settings.typed import ConfigError
from bench.types import NonNegative, Positive


@dataclass(eq=False)
class Ray(Engine):
    """One Ray task per order; all machines must see the store under one path.

    Attributes:
        address: Of a running cluster, as in ``ray://head:10001``; None starts one here.
        cpus: Cores that an order reserves, which are its threads too.
        gpus: GPUs that it reserves; may be a fraction.
    """

    address: str | None
    cpus: Positive
    gpus: NonNegative
    _ray: Any = field(init=False, repr=False, default=None)
    _do: Any = field(init=False, repr=False)
    _task: Any = field(init=False, repr=False)
    _orders: dict[Any, Order] = field(init=False, default_factory=dict, repr=False)

    def worker_threads(self) -> int:
        """Return the cores of an order."""
        return max(1, int(self.cpus))

    def sharers(self, device: str) -> int:
        """Return how many orders fit on a machine like this one, or on one GPU."""
        if device != "cpu" and self.gpus > 0:
            return max(1, int(1 / self.gpus))
        return max(1, int((os.cpu_count() or 1) / self.cpus))

    @property
    def elsewhere(self) -> bool:
        """Tasks run wherever the cluster puts them."""
        return self.address is not None

    def check(self) -> None:
        """Import Ray."""
        # A warning of a later default, and a message home.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            self._ray = importlib.import_module("ray")
        except ImportError:
            raise ConfigError(
                "launcher=ray needs Ray, which is not installed: "
                'pip install "stackelberg-bench[ray]".'
            ) from None

    def open(self, task: Task, device: str, folder: str) -> None:
        """Connect to the cluster, or start one that ends with this process."""
        del device, folder
        handlers = {number: signal.getsignal(number) for number in stopping.SIGNALS}
        try:
            self._ray.init(
                address=self.address,
                include_dashboard=None if self.address else False,
                log_to_driver=False,
                logging_level="error",
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            cause = " ".join(str(error).split())
            raise ConfigError(f"launcher.address is {self.address!r}: {cause}") from None
        finally:
            # Ray would end this process with a trace of its own where it is asked to stop.
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        # What to do again is decided by whoever launches.
        remote = self._ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)
        self._do, self._task = remote(_do), self._ray.put(task)

    def submit(self, order: Order) -> None:
        """Give the order to Ray, which queues it."""
        self._orders[self._do.remote(self._task, order)] = order

    @property
    def busy(self) -> bool:
        """Whether tasks are queued or running."""
        return bool(self._orders)

    def collect(self) -> list[Finished]:
        """Return what has ended."""
        ended, _ = self._ray.wait(list(self._orders), num_returns=1, timeout=WAIT_SECONDS)
        return [(self._orders.pop(answer), self._end(answer)) for answer in ended]

    def stop(self) -> None:
        """Cancel what is queued; what is running gets an interrupt."""
        for answer in self._orders:
            self._ray.cancel(answer, force=False)

    def close(self) -> None:
        """Leave the cluster, or end the one that was started here."""
        self._orders.clear()
        if self._ray is not None:
            self._ray.shutdown()

    def _end(self, answer: Any) -> Outcome | Died:
        try:
            outcome: Outcome = self._ray.get(answer)
        except self._ray.exceptions.TaskCancelledError:
            return Outcome(stopped=True)
        except Exception as error:
            return Died(f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}")
        return outcome


def _do(task: Task, order: Order) -> Outcome:
    with stopping.listening():
        return task(order)
