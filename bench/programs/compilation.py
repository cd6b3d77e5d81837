"""Compiling a traced update, where a compiler is at hand and the run is long enough."""

import shutil
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch

# Compiling an update took 3 to 6 s and saved 0.3 to 0.9 ms of each (width 64, batch 256, two
# cores; `python -m bench.speed --compile`), so that a shorter training does not pay for it.
WORTHWHILE_UPDATES = 20_000


def wanted(setting: Literal["auto", "on", "off"], num_updates: int, device: str = "cpu") -> bool:
    """Return whether to compile; `auto` needs a long training and, on a CPU, a C++ compiler."""
    if setting != "auto":
        return setting == "on"
    at_hand = device == "cuda" or any(map(shutil.which, ("g++", "clang++")))
    return at_hand and num_updates >= WORTHWHILE_UPDATES


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
