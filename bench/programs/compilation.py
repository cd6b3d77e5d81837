"""How updates are made: as written, traced, or compiled, the longer a training the more."""

import copy
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal

import torch

Mode = Literal["plain", "traced", "compiled"]
# Tracing took 0.7 to 6 s and paid for itself within 25 to 190 updates (five learners on tables and
# vectors, cohorts of 2 to 64, one thread).
WORTH_TRACING = 200
# Compiling takes 2 to 65 s of processor time, most of it g++'s, and pays for itself within 4,300 to
# 63,000 updates, where the cache has what g++ made within 1,000 to 6,800 (cql, td3_bc, stackelberg;
# cohorts of 1 and 20, one thread; with Python calling the kernels, C++ makes it less). One number
# for all and no measurement of the moment: which way updates are made decides a run's last digits,
# which must not hang on how busy a machine is or on what is in its cache.
WORTH_COMPILING = 20_000


def chosen(setting: Literal["auto", "on", "off"], num_updates: int, device: str = "cpu") -> Mode:
    """Return how a training's updates are made: by its length, never by the runs beside it.

    `auto` compiles a long one where there is what compiles: Triton for a GPU, else for C++.
    """
    if device == "cuda":
        at_hand = find_spec("triton") is not None
    else:
        at_hand = any(map(shutil.which, ("g++", "clang++")))
    if setting == "on" or (setting == "auto" and at_hand and num_updates >= WORTH_COMPILING):
        return "compiled"
    return "traced" if num_updates >= WORTH_TRACING else "plain"


def compile_graph(
    graph: torch.fx.GraphModule, examples: Sequence[torch.Tensor]
) -> Callable[..., Any]:
    """Return the compiled graph, or one that runs as it is if this machine cannot compile it.

    By Inductor alone and for one layout in memory, that of examples of its last inputs: all else
    about a cohort's tensors never changes, so that what `torch.compile` asks of them at every call,
    a fifth of a small update's time, need not be asked. Others are laid out like them first: those
    that a training begins with, and a few where an update's phases alternate.
    """
    # What is the same for all runs may lie in memory once, where nothing can be copied to.
    laid = [x.contiguous() if 0 in x.stride() else x for x in examples]
    strides = [example.stride() for example in laid]
    compiled: Callable[..., Any] | None = None

    def run(*tensors: torch.Tensor) -> Any:
        nonlocal compiled, strides
        given = tensors[len(tensors) - len(strides) :]
        if [tensor.stride() for tensor in given] != strides:
            kept = tensors[: len(tensors) - len(strides)]
            given = tuple(map(_laid_out, given, strides))
            tensors = (*kept, *given)
            strides = [tensor.stride() for tensor in given]
        if compiled is None:
            compiled = _for_these(graph, tensors)
        return compiled(*tensors)

    return run


def _laid_out(tensor: torch.Tensor, stride: tuple[int, ...]) -> torch.Tensor:
    """Return the tensor itself if its elements lie so: along an axis of one any stride is right."""
    apart = zip(tensor.shape, tensor.stride(), stride, strict=True)
    if all(size == 1 or own == wanted for size, own, wanted in apart):
        return tensor
    new = torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype, device=tensor.device)
    return new.copy_(tensor)


def _for_these(graph: torch.fx.GraphModule, tensors: Sequence[torch.Tensor]) -> Callable[..., Any]:
    """Return the graph compiled for tensors like these."""
    # Only now: it takes seconds, which nobody should wait for who compiles nothing.
    from torch import _inductor

    own = torch.fx.GraphModule(graph, copy.deepcopy(graph.graph))  # Which compiling may change.
    # What calls the kernels is C++ too: Python took a quarter of a small update's time to do it.
    options = {"cpp_wrapper": all(tensor.device.type == "cpu" for tensor in tensors)}
    try:
        with _saying_less():
            found: Callable[..., Any] = _inductor.compile(own, list(tensors), options)
    except Exception as error:
        cause = str(error).splitlines()[0]
        warnings.warn(f"Updates run uncompiled, since compiling failed: {cause}", stacklevel=3)
        return graph
    return found


@contextmanager
def _saying_less() -> Iterator[None]:
    """Let Inductor keep to itself that some operations, solves above all, are called by Python."""
    logger = logging.getLogger("torch._inductor.ir")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
