"""Observations as algorithms see them: states by their number, vectors standardised.

The same encoder serves training and evaluation, so a normalisation fitted on what is left of the
data wraps the evaluation by construction.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bench.data.datasets import OfflineDataset
from bench.types import EnvSpec

Normalization = Literal["data", "full", "none"]
# Added to the standard deviation of a column of ordinary size; below `ORDINARY_STD` it soon goes to
# 0, since it is in the data's own units and would swallow a column of small numbers.
STD_EPSILON = 1e-3
ORDINARY_STD = 2e-3
# What varies less than this, as a share of its mean, is constant but for the rounding of float32.
ROUNDING = 4 * float(np.finfo(np.float32).eps)


class Encoder:
    """Encodes raw observations of several runs, each with its own statistics."""

    def __init__(self, spec: EnvSpec, means: list[np.ndarray], scales: list[np.ndarray]):
        """Take per run what is subtracted and what divides, ``[observation_size]`` each."""
        self.spec = spec
        self.mean = torch.as_tensor(np.stack(means), dtype=torch.float32)
        self.scale = torch.as_tensor(np.stack(scales), dtype=torch.float32)

    @property
    def standardises(self) -> bool:
        """Whether observations are vectors; a state's number stays what it is."""
        return self.spec.observation_kind == "vector"

    def to(self, device: torch.device) -> "Encoder":
        """Move the statistics to a device and return the encoder."""
        self.mean, self.scale = self.mean.to(device), self.scale.to(device)
        return self

    def __call__(self, observation: Tensor, runs: slice = slice(None)) -> Tensor:
        """Return ``[run, ..., dim]`` float32 of raw vectors, ``[run, ...]`` int64 of states.

        The observations are those of some of the runs, by default of all.
        """
        if not self.standardises:
            return observation.long()
        mean, scale = self.mean[runs], self.scale[runs]
        shape = (len(mean), *[1] * (observation.ndim - 2), self.spec.observation_size)
        return (observation.float() - mean.view(shape)) / scale.view(shape)


def statistics(
    dataset: OfflineDataset, full: OfflineDataset, normalization: Normalization
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a run subtracts from observations and divides them by, ``[observation_size]``."""
    size = dataset.spec.observation_size
    if dataset.spec.observation_kind == "discrete" or normalization == "none":
        return np.zeros(size), np.ones(size)
    mean, std = moments(dataset if normalization == "data" else full)
    return mean, standard_scale(mean, std.astype(np.float32))


def standard_scale(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return what columns are divided by to be standardised, ``[dim]``.

    Whatever units a column is in, that is its standard deviation and at most half of it more. It is
    infinite for a column that is constant, which thereby is 0, whatever else is met there later:
    nothing says how large a difference would be.
    """
    small = np.minimum(std, ORDINARY_STD) / ORDINARY_STD
    varies = std > ROUNDING * np.abs(mean)
    scale: np.ndarray = np.where(varies, std + STD_EPSILON * small**4, np.inf).astype(std.dtype)
    return scale


def moments(dataset: OfflineDataset) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and std ``[observation_size]`` of raw vectors, or of states one-hot."""
    if dataset.spec.observation_kind == "discrete":
        visits = np.bincount(dataset.observation, minlength=dataset.spec.observation_size)
        share = visits / len(dataset)
        return share, np.sqrt(share * (1 - share))
    # A part at a time: the column may be larger than memory.
    parts = [
        (chunk.mean(0), chunk.var(0), len(chunk) / len(dataset))
        for chunk in (
            # In float32 the sums of many rows far from the origin lose all their digits.
            part.astype(np.float64)
            for part in dataset.chunks("observation")
        )
    ]
    mean = sum(share * of_part for of_part, _, share in parts)
    variance = sum(share * (var + (of_part - mean) ** 2) for of_part, var, share in parts)
    return mean, np.sqrt(variance)
