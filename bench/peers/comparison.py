"""Our cohorts and the same updates by others, timed in turn on one core.

Both sides take the same data, networks, batch and number of runs and draw minibatches and noise of
their own. Blocks alternate, so that what slows the machine down for a while slows both, and time
is the processor's, so that whoever else runs counts little.
"""

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from algorithms.base import Algorithm
from bench.cohorts.cohort import Cohort, Member
from bench.cohorts.timing import SEED, finish, machine, pace, ready
from bench.errors import UserError
from bench.peers.transitions import Transitions, transitions
from bench.programs.compilation import Mode
from bench.settings.run import RunConfig

WIDTHS = (64, 256)
COHORTS = (1, 8)
BATCH_SIZE = 256
# Measurements of each side, in turn.
BLOCKS = 5
# Updates of a call into JAX.
AT_ONCE = 10

Advance = Callable[[int], object]


class Row(NamedTuple):
    """Run-updates per second of ours and a peer's, medians over blocks, and the blocks' ratios."""

    algorithm: str
    world: str
    width: int
    runs: int
    peer: str
    ours: float
    others: float
    ratios: list[float]


def known() -> list[str]:
    """Return the names of the learners that there is an update in JAX for."""
    here = Path(__file__).parent
    files = [path for kind in ("discrete", "continuous") for path in (here / kind).glob("[!_]*.py")]
    return sorted({path.stem for path in files})


def check(chosen: list[str], device: str) -> None:
    """Refuse what cannot be compared.

    Raises:
        UserError: If a library is missing, a learner has no peer, or not the CPU is asked for.
    """
    if absent := [name for name in ("jax", "optax") if importlib.util.find_spec(name) is None]:
        raise UserError(f'--peers needs {" and ".join(absent)}: `pip install -e ".[peers]"`.')
    if device != "cpu":
        raise UserError("--peers compares on one core of the CPU: leave out --device.")
    if lonely := [name for name in chosen if name not in known()]:
        raise UserError(f"{lonely[0]} has no peer; those with one are: {', '.join(known())}.")


def compare(
    configs: Iterable[tuple[str, str, RunConfig]], seconds: float, mode: Mode
) -> Iterator[Row]:
    """Yield a row for each learner and world with a peer, width, number of runs and peer."""
    for name, world, config in configs:
        data = config.dataset
        kind = data.source.facts().action_kind
        if importlib.util.find_spec(f"bench.peers.{kind}.{name}") is None:
            continue
        task = data.source.load(data.name, SEED, data.discount, None)
        for width in WIDTHS:
            sized: dict[str, Any] = {"hidden_sizes": (width, width)}
            algorithm = replace(config.algorithm, **sized)
            columns = transitions(Member(algorithm, SEED, task.data, task.data))
            for runs in COHORTS:
                cohort = ready(algorithm, task, runs, BATCH_SIZE, mode, "cpu", config.num_updates)
                for peer, advance in _peers(name, kind, algorithm, cohort, columns):
                    pairs = alternating(partial(finish, cohort), advance, seconds)
                    ours, others = (runs * median(side) for side in zip(*pairs, strict=True))
                    ratios = [one / other for one, other in pairs]
                    yield Row(name, world, width, runs, peer, ours, others, ratios)


def alternating(ours: Advance, others: Advance, seconds: float) -> list[tuple[float, float]]:
    """Return the updates per second of both sides, block by block."""
    # Compiles whatever is compiled.
    ours(AT_ONCE)
    others(AT_ONCE)
    return [(_pace(ours, seconds), _pace(others, seconds)) for _ in range(BLOCKS)]


def versions() -> str:
    """Return what was measured with, machine and libraries, in a line."""
    names = [name for name in ("torch", "jax", "optax", "d3rlpy") if importlib.util.find_spec(name)]
    return ", ".join([machine(), *(f"{name} {version(name)}" for name in names)])


def untimed() -> str:
    """Return which peer could be timed too and how to install it, or nothing."""
    if importlib.util.find_spec("d3rlpy"):
        return ""
    return (
        "d3rlpy is not installed; it asks for gymnasium 1.0.0, older than this project's, so that "
        "it takes `pip install --no-deps d3rlpy` after "
        "`pip install gym structlog colorama dataclasses-json click tqdm`."
    )


def _pace(advance: Advance, seconds: float) -> float:
    return pace(advance, seconds, time.process_time, AT_ONCE)


def _peers(
    name: str, kind: str, algorithm: Algorithm, cohort: Cohort, data: Transitions
) -> Iterator[tuple[str, Advance]]:
    """Yield the peers that are installed, by name, with what makes updates of theirs."""
    # Not above: whoever asks for no peers need not have them.
    from bench.peers.in_jax import JaxRuns

    update = importlib.import_module(f"bench.peers.{kind}.{name}")
    yield "jax", JaxRuns(update, algorithm, cohort, data, BATCH_SIZE).train
    if cohort.num_runs == 1 and importlib.util.find_spec("d3rlpy"):
        from bench.peers.with_d3rlpy import NAMES, D3rlpyRun

        yield "d3rlpy", D3rlpyRun(NAMES[name, kind], algorithm, data, BATCH_SIZE).train
