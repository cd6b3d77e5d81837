"""The policies of a cohort's runs, which an evaluation asks at every step of its episodes.

`vmap` takes several times as long as a small network. Where policies are asked at one shape again
and again it is traced away; the operations that are left are the same ones, and so is every bit.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from algorithms.base import Algorithm
from algorithms.distributions import ActionDistribution
from bench.programs.graphs import Program, Traced

# Calls at one shape from which on tracing pays: it takes as long as six to fifteen of them.
WORTH_TRACING = 16
ALL = slice(None)


class Policies:
    """What an algorithm's states do at observations."""

    def __init__(self, algorithm: Algorithm, hyperparameters: dict[str, Tensor]):
        """Take the algorithm and its hyperparameters ``[run]`` by name."""
        self.algorithm = algorithm
        self._settings, self._names = tree_flatten(hyperparameters)
        self._calls: Counter[torch.Size] = Counter()
        self._programs: dict[torch.Size, Program] = {}

    def __call__(
        self, leaves: list[Tensor], structure: TreeSpec, x: Tensor, runs: slice
    ) -> ActionDistribution:
        """Return the distributions of some runs at their encoded observations ``[run, ...]``.

        Of the leaves of all states: putting these together takes longer than the operations.
        """
        given, shape = [*self._settings, *leaves], x.shape
        if runs != ALL:
            given = [leaf[runs] for leaf in given]
        found: ActionDistribution
        if shape in self._programs:
            program = self._programs[shape]
            found = tree_unflatten(program.leaves([], [*given, x]), program.structure)
            return found
        count = len(self._settings)
        settings = tree_unflatten(given[:count], self._names)
        trees = settings, tree_unflatten(given[count:], structure), x
        self._calls[shape] += 1
        if self._calls[shape] == WORTH_TRACING:
            traced = Traced(lambda _, varying: (self._all_runs(*varying),), (), trees)
            self._programs[shape] = traced.as_recorded(0)
        with torch.no_grad():
            found = self._all_runs(*trees)
        return found

    def _all_runs(self, *given: Any) -> Any:
        def one_run(hyperparameters: Any, state: Any, x: Tensor) -> ActionDistribution:
            return replace(self.algorithm, **hyperparameters).policy(state, x)

        return torch.func.vmap(one_run)(*given)
