"""Orders as jobs of a Slurm cluster, by submitit; the same jobs run as processes in tests."""

import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any, Literal

import submitit

from bench.engines import stopping
from bench.engines.base import WAIT_SECONDS, Engine, Finished
from bench.engines.orders import Died, Order, Outcome, Task
from bench.settings.typed import ConfigError
from bench.types import Count, Natural

# A training may outlast its job's time limit this many times.
NEW_JOBS = 1000


@dataclass(eq=False)
class Slurm(Engine):
    """One job of an array per order.

    Jobs outlive the launching process: they record their runs themselves, and the same command
    finds what they have recorded. A job that reaches its time limit goes on in a new one.

    Attributes:
        cluster: ``auto`` for Slurm, ``local`` for the same jobs as processes of this machine.
        partition: Where to queue; None is the cluster's default.
        time: Minutes that a job may take.
        cpus: Cores of a job, which are its threads too.
        gpus: GPUs of a job; used with ``device=cuda`` or ``auto``.
        array_size: Jobs at a time.
        folder: For submitit's files; None is a folder beside the records.
    """

    cluster: Literal["auto", "local"]
    partition: str | None
    time: Count
    cpus: Count
    gpus: Natural
    array_size: Count
    folder: str | None
    _task: "_Requeued" = field(init=False, repr=False)
    _executor: Any = field(init=False, repr=False)
    _orders: list[Order] = field(init=False, default_factory=list, repr=False)
    _jobs: list[tuple[Any, Order]] = field(init=False, default_factory=list, repr=False)

    def worker_threads(self) -> int:
        """Return the cores of a job."""
        return self.cpus

    @property
    def elsewhere(self) -> bool:
        """Jobs run wherever the cluster puts them."""
        return self.cluster != "local"

    def check(self) -> None:
        """Look for the cluster's command."""
        if self.cluster == "auto" and shutil.which("sbatch") is None:
            raise ConfigError(
                "launcher=slurm needs Slurm's sbatch, which is not on this machine; "
                "launcher.cluster=local runs the same jobs here."
            )

    def open(self, task: Task, device: str, folder: str) -> None:
        """Tell submitit what jobs need."""
        del device
        self._task = _Requeued(task)
        self._executor = submitit.AutoExecutor(
            folder=self.folder or folder,
            cluster="local" if self.cluster == "local" else "slurm",
            slurm_max_num_timeout=NEW_JOBS,
            local_max_num_timeout=NEW_JOBS,
        )
        more = {} if self.partition is None else {"slurm_partition": self.partition}
        self._executor.update_parameters(
            name="stackelberg-bench",
            timeout_min=self.time,
            cpus_per_task=self.cpus,
            gpus_per_node=self.gpus,
            slurm_array_parallelism=self.array_size,
            stderr_to_stdout=True,
            **more,
        )

    def submit(self, order: Order) -> None:
        """Keep the order for the next array."""
        self._orders.append(order)

    @property
    def busy(self) -> bool:
        """Whether jobs are queued or running."""
        return bool(self._orders or self._jobs)

    def collect(self) -> list[Finished]:
        """Submit what is waiting as one array and return what has ended."""
        self._submit_waiting()
        sleep(WAIT_SECONDS)
        ended = [(job, order) for job, order in self._jobs if job.done()]
        self._jobs = [pair for pair in self._jobs if pair not in ended]
        return [(order, self._end(job)) for job, order in ended]

    def stop(self) -> str | None:
        """Drop what was not submitted; jobs of a cluster go on, processes of this machine stop."""
        self._orders.clear()
        if self.cluster == "local":
            self._terminate()
            return None
        names = sorted({job.job_id.split("_")[0] for job, _ in self._jobs})
        going = len(self._jobs)
        self._jobs.clear()
        if not going:
            return None
        return f"{going} jobs go on in the queue; scancel {' '.join(names)} ends them."

    def close(self) -> None:
        """End what runs on this machine."""
        if self.cluster == "local":
            self._terminate()
        self._jobs.clear()

    def _submit_waiting(self) -> None:
        room = len(self._orders)
        if self.cluster == "local":
            # A cluster queues what is too much; here it would all start at once.
            at_most = min(self.array_size, max(1, (os.cpu_count() or 1) // self.cpus))
            room = at_most - len(self._jobs)
        batch, self._orders = self._orders[:room], self._orders[room:]
        if not batch:
            return
        with stopping.deaf_to_interrupts():
            jobs = self._executor.map_array(self._task, batch)
        self._jobs += zip(jobs, batch, strict=True)

    def _terminate(self) -> None:
        """Ask jobs on this machine to stop: the signal is passed on to what does the work."""
        for job, _ in self._jobs:
            if not job.done():
                os.kill(int(job.job_id), signal.SIGTERM)

    def _end(self, job: Any) -> Outcome | Died:
        paths = job.paths
        if self.cluster == "local" and not paths.result_pickle.exists():
            # submitit would wait for a slow file system, which this is not.
            return Died("its job left no result")
        try:
            outcome: Outcome = job.result()
        except Exception as error:
            return Died(str(error).strip().splitlines()[-1])
        for path in (paths.submitted_pickle, paths.result_pickle, paths.stdout, paths.stderr):
            Path(path).unlink(missing_ok=True)
        return outcome


@dataclass(frozen=True)
class _Requeued:
    """The task of a job, which goes on in a new job at its time limit or when preempted."""

    task: Task

    def __call__(self, order: Order) -> Outcome:
        """Do the order; on the signal that time is up save first, then let submitit requeue."""
        requeue = signal.getsignal(signal.SIGUSR2)
        with stopping.listening(signal.SIGUSR2):
            outcome = self.task(order)
            out_of_time = stopping.signal_number() == signal.SIGUSR2
        if outcome.stopped and out_of_time and callable(requeue):
            requeue(signal.SIGUSR2, None)
        return outcome

    def checkpoint(self, order: Order) -> Any:
        """Return what submitit puts into the queue: the same order, which finds its checkpoint."""
        return submitit.helpers.DelayedSubmission(self, order)
