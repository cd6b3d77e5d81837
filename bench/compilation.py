"""Compiling a traced update, where a compiler is at hand and the run is long enough."""

import shutil
from collections.abc import Callable
from typing import Any, Literal

import torch

# Compiling one update takes about this many seconds and saves at most half of its time, so a
# shorter training does not pay for it.
WORTHWHILE_UPDATES = 50_000


def wanted(setting: Literal["auto", "on", "off"], num_updates: int) -> bool:
    """Return whether to compile; `auto` needs a C++ compiler (or a GPU) and a long training."""
    if setting != "auto":
        return setting == "on"
    at_hand = torch.cuda.is_available() or any(map(shutil.which, ("g++", "clang++")))
    return at_hand and num_updates >= WORTHWHILE_UPDATES


def compile_graph(graph: torch.fx.GraphModule) -> Callable[..., Any]:
    """Return the compiled graph; static shapes, since a cohort's never change."""
    return torch.compile(graph, dynamic=False, fullgraph=True)
