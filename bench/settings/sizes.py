"""Sizes that no run could be finished with, found before anything is collected or trained."""

import math
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from bench.data.sources import Facts
from bench.settings.run import RunConfig
from bench.settings.typed import ConfigError

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
# Action, reward, episode and the like, beside the two observations of a transition.
NUMBERS_OF_ROW = 6
# Of counts a learner holds transitions and their rewards; an exact world its tables in float64.
BYTES_OF_COUNT = 8
BYTES_OF_NUMBER = 4
UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def memory_here() -> int:
    """Return the bytes of memory of this machine, or of the container that this process is in."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([total, *_container_limits()])


def check_sizes(config: RunConfig, memory: int) -> None:
    """Refuse a run of which a single part would not fit into so many bytes of memory.

    Raises:
        ConfigError: With the setting, its size, and the memory that there is.
    """
    facts = config.dataset.source.facts()
    for what, size in _sizes(config, facts):
        if size > memory:
            raise ConfigError(
                f"{what}, which take{'s' if what[-1] != 's' else ''} {bytes_in_words(size)} of "
                f"memory, but there are {bytes_in_words(memory)} here."
            )


def bytes_in_words(size: int) -> str:
    """Return a number of bytes as people say it: ``3.2 GB``."""
    step = min(len(UNITS) - 1, int(math.log(max(size, 1), 1000)))
    return f"{size / 1000**step:.3g} {UNITS[step]}" if size < 10**21 else "more than 1,000,000 PB"


def _sizes(config: RunConfig, facts: Facts) -> Iterator[tuple[str, int]]:
    """Yield what a run holds in memory, in words, and its bytes."""
    names = config.dataset.sensing.names(facts.observation_names) if facts.observation_names else ()
    row = 2 * max(1, len(names)) + NUMBERS_OF_ROW
    if facts.collected:
        yield (
            f"dataset.num_transitions is {facts.num_transitions:,}",
            facts.num_transitions * row * BYTES_OF_NUMBER,
        )
    if config.batch_size != "full":
        yield (
            f"batch_size is {config.batch_size:,}",
            config.batch_size * row * BYTES_OF_NUMBER,
        )
    yield (
        f"eval_episodes is {config.eval_episodes:,}",
        config.eval_episodes * row * BYTES_OF_NUMBER,
    )
    hidden = getattr(config.algorithm, "hidden_sizes", ())
    weights = sum(a * b for a, b in pairwise((1, *hidden, 1)))
    yield f"algorithm.hidden_sizes is {list(hidden)}", weights * BYTES_OF_NUMBER
    if facts.table_shape is not None:
        states, actions = facts.table_shape
        yield (
            f"dataset={config.dataset.name} has {states:,} states x {actions:,} actions",
            states * actions * BYTES_OF_NUMBER,
        )
    if facts.table_shape is not None and facts.tabular:
        states, actions = facts.table_shape
        yield (
            f"dataset={config.dataset.name} needs tables of {states:,} states x {actions:,} "
            f"actions x {states:,} states",
            states * actions * states * BYTES_OF_COUNT,
        )
    shape = largest_table(config.algorithm, facts.table_shape)
    if shape:
        yield (
            f"algorithm={config.algorithm_name} needs tables of {shape_in_words(shape)}",
            math.prod(size for _, size in shape) * BYTES_OF_COUNT,
        )


def largest_table(
    algorithm: object, table_shape: tuple[int, int] | None
) -> tuple[tuple[str, int], ...]:
    """Return the axes, names and sizes, of the largest table that a learner makes of counts.

    Who needs counts (`tabular_only`) makes tables of successors, unless it says that it does not
    (``dense_counts = False``), and then perhaps of states (``dense_states = True``). Empty where
    there is nothing as large.
    """
    if table_shape is None or not getattr(algorithm, "tabular_only", False):
        return ()
    states, actions = (("states", table_shape[0]), ("actions", table_shape[1]))
    if getattr(algorithm, "dense_counts", True):
        return states, actions, states
    return (states, states) if getattr(algorithm, "dense_states", False) else ()


def shape_in_words(shape: tuple[tuple[str, int], ...]) -> str:
    """Return axes as ``716 states x 25 actions x 716 states``."""
    return " x ".join(f"{size:,} {name}" for name, size in shape)


def _container_limits() -> list[int]:
    found = []
    for path in LIMITS:
        try:
            text = Path(path).read_text("utf-8").strip()
        except OSError:
            continue
        if text.isdigit():
            found.append(int(text))
    return found
