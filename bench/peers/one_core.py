"""One core and one thread for all that is timed, whichever library computes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# JAX reads these when it first computes anything in a process.
XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false"


@contextmanager
def one_core() -> Iterator[None]:
    """Keep what runs within to one thread on one core, where the system can pin it.

    On the last of those that the process may use: `taskset` chooses another.
    """
    threads, flags = torch.get_num_threads(), os.environ.get("XLA_FLAGS")
    pinned = hasattr(os, "sched_setaffinity")
    cores = os.sched_getaffinity(0) if pinned else set()
    torch.set_num_threads(1)
    os.environ["XLA_FLAGS"] = " ".join(filter(None, (flags, XLA_FLAGS)))
    try:
        if pinned:
            os.sched_setaffinity(0, {max(cores)})
        yield
    finally:
        if pinned:
            os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)
        os.environ.pop("XLA_FLAGS")
        if flags is not None:
            os.environ["XLA_FLAGS"] = flags
