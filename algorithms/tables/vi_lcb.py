"""Value iteration with lower confidence bounds (Rashidinejad 2021, alg. 3; Li 2024, alg. 1).

    Q_{k+1}(s, a) = mean over the data's (s, a, r, s') of r + discount (1 - terminated) max Q_k(s')
                    - conservatism b(s, a)

clipped to what values can be; a pair without data has the lowest. With L = log(pairs / delta) and
R the width of the range of values, b is a radius within which a mean of n targets lies,

    hoeffding   R sqrt(L / 2n)
    bernstein   sqrt(2 var L' / n) + 7 R L' / (3 (n - 1)),  L' = L + log 2   (Maurer, Pontil 2009)

where delta = 1 - `confidence`. With conservatism 1 Hoeffding's values are at most the optimal ones
with that probability, given what was visited: Q_{k+1} is below the mean of targets with V* minus b,
hence below Q*, as soon as V_k is below V*. One update is one iteration.

Differences from the papers: the data is not split between iterations (Rashidinejad does, to bound
the policy's own value; here that is seen in simulation alone); constants are those of the
inequalities and not of the proofs, so `conservatism` is what scales them.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from algorithms.empirical import PessimisticIteration, Range, expected, log_pairs, variance
from bench.types import Confidence, NonNegative, TabularStatistics


@dataclass(frozen=True)
class LowerConfidenceValueIteration(PessimisticIteration):
    """Value iteration whose every mean is lowered by how uncertain it is."""

    bonus: Literal["hoeffding", "bernstein"]
    conservatism: NonNegative
    confidence: Confidence

    dense_counts: ClassVar[bool] = False

    def lowered(self, counts: TabularStatistics, value: Tensor, values: Range) -> Tensor:
        """Return the data's means less the bonus."""
        bonus = self.conservatism * self.radius(counts, value, values)
        return expected(counts, value, self.discount) - bonus

    def radius(self, counts: TabularStatistics, value: Tensor, values: Range) -> Tensor:
        """Return b ``[states, actions]`` for targets with a value ``[states]``."""
        number, cost = counts.visits.clamp_min(1), log_pairs(counts, self.confidence)
        if self.bonus == "hoeffding":
            return values.width * (cost / (2 * number)).sqrt()
        twice = cost + torch.log(torch.tensor(2.0))
        spread = (2 * variance(counts, value, self.discount) * twice / number).sqrt()
        # A single visit, which has no variance, counts as two whose targets are the same.
        return spread + 7 * values.width * twice / (3 * (number - 1).clamp_min(1))
