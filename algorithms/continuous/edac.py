"""EDAC (An et al. 2021): SAC-N with critics that are kept apart, so that fewer do.

    critics: loss of SAC-N + diversity E_data[ sum_{i != j} g_i . g_j ] / (N - 1)   (equation 5)
             g_i  = the direction of d Q_i(s, a) / d a, of length 1

With aligned directions all critics rise together off the data, and their minimum rises with them.
As in the authors' code the sum is divided by N - 1, which is N times the paper's mean, since
critics' errors are summed as well.

Differences from the paper: those of `sac_n`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from algorithms import critics as ensembles
from algorithms.continuous.sac_n import SACN
from algorithms.networks import Network
from algorithms.objectives import weighted_mean
from bench.types import Batch, NonNegative


@dataclass(frozen=True)
class EDAC(SACN):
    """An ensemble whose critics' slopes in the action are driven apart."""

    diversity: NonNegative

    def __post_init__(self) -> None:
        """Refuse a single critic.

        Raises:
            ValueError: If there are not two to keep apart.
        """
        if self.num_critics < 2:
            raise ValueError("num_critics is 1, but should be at least 2 to be kept apart")

    def penalty(self, critics: Network, batch: Batch) -> Tensor:
        """Return how aligned the critics' slopes are, times `diversity`."""
        # Each critic has actions of its own, so that one derivative has all of their slopes.
        observation, action = (
            x.expand(self.num_critics, *x.shape) for x in (batch.observation, batch.action)
        )

        def total(action: Tensor) -> Tensor:
            return ensembles.values(critics, observation, action).sum()

        slopes = torch.func.grad(total)(action)
        size = (slopes**2).sum(-1, keepdim=True).clamp_min(1e-20).sqrt()
        unit = slopes / size
        # sum over i != j of g_i . g_j is what is left of |sum_i g_i|^2.
        aligned = (unit.sum(0) ** 2).sum(-1) - (unit**2).sum((0, -1))
        return self.diversity * weighted_mean(aligned, batch.weight) / (self.num_critics - 1)
