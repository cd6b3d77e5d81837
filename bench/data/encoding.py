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
STD_EPSILON = 1e-3


class Encoder:
    """Encodes raw observations of several runs, each with its own statistics."""

    def __init__(self, spec: EnvSpec, means: list[np.ndarray], stds: list[np.ndarray]):
        """Take per run the mean and the std to standardise with, ``[observation_size]`` each."""
        self.spec = spec
        self.mean = torch.as_tensor(np.stack(means), dtype=torch.float32)
        self.scale = torch.as_tensor(np.stack(stds), dtype=torch.float32) + STD_EPSILON

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
    """Return the mean and std ``[observation_size]`` that a run standardises with."""
    size = dataset.spec.observation_size
    if dataset.spec.observation_kind == "discrete" or normalization == "none":
        return np.zeros(size), np.full(size, 1 - STD_EPSILON)
    return moments(dataset if normalization == "data" else full)


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
