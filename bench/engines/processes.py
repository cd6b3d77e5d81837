"""Orders spread over the processor cores of this machine, by the processes of joblib's loky."""

import multiprocessing
import os
import re
import signal
import threading
import time
import warnings
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

import joblib
import torch
from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend.process import LokyProcess

from bench.engines import stopping
from bench.engines.base import WAIT_SECONDS, Engine, Finished
from bench.engines.orders import Died, Order, Outcome, Task
from bench.types import Count


@dataclass(eq=False)
class Processes(Engine):
    """One worker per process; where there would be one alone, this process is the worker.

    Every worker is a pool of its own: when the process of one dies, loky gives up its whole pool,
    and the orders of the others must neither end nor be suspected.

    Attributes:
        workers: Processes at a time; None is one per `threads` cores, or per GPU with one.
        threads: Threads of an operation. One process per core with one thread each
            is faster than fewer with more.
    """

    workers: Count | None
    threads: Count
    _task: Task = field(init=False, repr=False)
    _orders: list[Order] = field(init=False, default_factory=list, repr=False)
    _slots: list["_Slot"] = field(init=False, default_factory=list, repr=False)
    _alone: bool | None = field(init=False, default=None, repr=False)

    def worker_threads(self) -> int:
        """Return the threads of a worker."""
        return self.threads

    def sharers(self, device: str) -> int:
        """Return how many workers there are, on a machine or for each GPU."""
        gpus = _gpus(device)
        return -(-self._count(gpus) // len(gpus)) if gpus else self._count(gpus)

    def open(self, task: Task, device: str, folder: str) -> None:
        """Start nothing yet: a process is started for the first order that it gets."""
        del folder
        self._task = task
        # A worker that keeps datasets grows, and loky replaces it after an order.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        gpus = _gpus(device)
        count = self._count(gpus)
        cores = _cores()
        # Fewer workers than cores stay free to move: another sweep would choose the same ones.
        pinned = count * self.threads >= len(cores) > 1
        for number in range(count):
            environment = {
                name: str(self.threads)
                for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
            }
            if gpus:
                environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
            first = number * self.threads
            own = [cores[(first + i) % len(cores)] for i in range(self.threads)] if pinned else []
            self._slots.append(_Slot(environment, own))

    def submit(self, order: Order) -> None:
        """Put the order into the queue; a free worker takes it."""
        self._orders.append(order)

    @property
    def busy(self) -> bool:
        """Whether orders are waiting or being done."""
        return bool(self._orders) or any(slot.order for slot in self._slots)

    def collect(self) -> list[Finished]:
        """Give orders to free workers and return what has ended."""
        if self._alone is None:
            # Decided once: an order that comes again has ended the process it was given to.
            self._alone = len(self._slots) == 1 or len(self._orders) == 1
        if self._alone and self._orders:
            order = self._orders.pop(0)
            return [(order, self._task(order))]
        for slot in self._slots:
            if slot.order is None and self._orders:
                slot.begin(self._task, self._orders.pop(0))
        wait([s.future for s in self._slots if s.future], WAIT_SECONDS, "FIRST_COMPLETED")
        return [slot.end() for slot in self._slots if slot.future and slot.future.done()]

    def stop(self) -> None:
        """Drop the queue and ask every worker to stop."""
        self._orders.clear()
        for child in multiprocessing.active_children():
            if isinstance(child, LokyProcess):
                child.terminate()

    def close(self) -> None:
        """End the processes."""
        for slot in self._slots:
            slot.close()
        self._slots.clear()

    def _count(self, gpus: list[str]) -> int:
        if self.workers is not None:
            return self.workers
        if gpus:
            return len(gpus)
        return max(1, joblib.cpu_count() // self.threads)


class _Slot:
    """One worker and the order that it has, if any."""

    def __init__(self, environment: dict[str, str], cores: list[int]):
        self.environment, self.cores = environment, cores
        self.pool: Any = None
        self.order: Order | None = None
        self.future: Future[Outcome] | None = None

    def begin(self, task: Task, order: Order) -> None:
        if self.pool is None:
            self.pool = ProcessPoolExecutor(
                1, initializer=_begin, initargs=(os.getpid(), self.cores), env=self.environment
            )
        with stopping.deaf_to_interrupts():
            self.order, self.future = order, self.pool.submit(_do, task, order)

    def end(self) -> Finished:
        """Return the order and how it ended; a worker that died is replaced."""
        assert self.future is not None
        assert self.order is not None
        order, error = self.order, self.future.exception()
        how = self.future.result() if error is None else Died(_cause(error))
        self.order = self.future = None
        if error is not None:
            self.close()
        return order, how

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, kill_workers=self.order is not None)
            self.pool = None


class _Busy:
    """Whether this process has an order in hand."""

    now = False


def _begin(parent: int, cores: list[int]) -> None:
    """Make a fresh process one that stops when asked and when the launching one has gone.

    It keeps to some cores, if any are given.
    """
    if cores:
        os.sched_setaffinity(0, cores)
    stopping.leave_with(parent)
    threading.Thread(target=_leave_when_orphaned, daemon=True).start()


def _leave_when_orphaned() -> None:
    # A worker without an order would wait for one for ever: it holds both ends of its own queue.
    while _Busy.now or not stopping.orphaned():
        time.sleep(WAIT_SECONDS)
    os._exit(128 + signal.SIGTERM)


def _do(task: Task, order: Order) -> Outcome:
    _Busy.now = True
    try:
        return task(order)
    finally:
        _Busy.now = False


def _cause(error: BaseException) -> str:
    """Return why an order got no answer; of a process that died, its exit code."""
    code = re.search(r"\{(.+?)\}", str(error))
    return code[1] if code else " ".join(f"{type(error).__name__}: {error}".split())


def _cores() -> list[int]:
    """Return the cores that this process may use; none where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _gpus(device: str) -> list[str]:
    """Return the names of the GPUs that workers may use."""
    if device == "cpu" or not torch.cuda.is_available():
        return []
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return given.split(",") if given else [str(i) for i in range(torch.cuda.device_count())]
