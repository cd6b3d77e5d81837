"""How updates are made: as written, traced, or compiled, the longer a training the more."""

import shutil
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch

Mode = Literal["plain", "traced", "compiled"]
# Tracing took 0.7 to 6 s and paid for itself within 25 to 190 updates (five learners on tables and
# vectors, cohorts of 2 to 64, one thread).
WORTH_TRACING = 200
# Compiling an update took 3 to 6 s and saved 0.3 to 0.9 ms of each (width 64, batch 256, two
# cores; `python -m bench speed --compile`), so that a shorter training does not pay for it.
WORTH_COMPILING = 20_000


def chosen(setting: Literal["auto", "on", "off"], num_updates: int, device: str = "cpu") -> Mode:
    """Return how a training's updates are made: by its length, never by the runs beside it.

    `auto` compiles a long one where, on a CPU, there is a C++ compiler.
    """
    at_hand = device == "cuda" or any(map(shutil.which, ("g++", "clang++")))
    if setting == "on" or (setting == "auto" and at_hand and num_updates >= WORTH_COMPILING):
        return "compiled"
    return "traced" if num_updates >= WORTH_TRACING else "plain"


def compile_graph(graph: torch.fx.GraphModule) -> Callable[..., Any]:
    """Return the compiled graph, or one that runs as it is if this machine cannot compile it.

    Shapes are static, since a cohort's never change.
    """
    compiled = torch.compile(graph, dynamic=False, fullgraph=True)
    chosen: Callable[..., Any] | None = None

    def run(*tensors: torch.Tensor) -> Any:
        nonlocal chosen
        if chosen is not None:
            return chosen(*tensors)
        # The first call compiles, so only it can find that something on the machine is missing.
        try:
            result = compiled(*tensors)
        except Exception as error:
            cause = str(error).splitlines()[0]
            warnings.warn(f"Updates run uncompiled, since compiling failed: {cause}", stacklevel=2)
            chosen = graph
            return graph(*tensors)
        chosen = compiled
        return result

    return run
