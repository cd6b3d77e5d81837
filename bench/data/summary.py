"""DataSummary: what a run may know of its own data beyond a minibatch."""

import numpy as np
import torch
from scipy.spatial.distance import pdist
from torch import Tensor

from bench import seeding
from bench.data.datasets import OfflineDataset
from bench.data.encoding import Encoder, moments
from bench.data.units import in_units
from bench.types import DataSummary, TabularStatistics

NUM_INITIAL = 256


def summarize(
    dataset: OfflineDataset, mean: np.ndarray, scale: np.ndarray, with_counts: bool
) -> DataSummary:
    """Return the summary of one run's data, encoded with its `mean` and `scale`.

    Counts are made only where asked for, they are large.
    """
    spec = dataset.spec
    rng = seeding.numpy_generator("summary", int(dataset.provenance["seed"]))
    encoder = Encoder(spec, [mean], [scale])

    def sample(positions: np.ndarray) -> Tensor:
        chosen = positions[rng.integers(len(positions), size=NUM_INITIAL)]
        drawn = dataset.rows("observation", chosen)
        return encoder(torch.as_tensor(drawn)[None])[0]

    # A degradation may have removed every first step; what is left must then stand in for them.
    everywhere = np.arange(len(dataset))
    initial = np.flatnonzero(dataset.initial) if dataset.initial.any() else everywhere
    raw_mean, raw_std = moments(dataset)
    distances = pdist(_points(sample(everywhere)))
    return DataSummary(
        num_transitions=torch.tensor(float(len(dataset))),
        initial_observations=sample(initial),
        observation_mean=torch.as_tensor(raw_mean, dtype=torch.float32),
        observation_std=torch.as_tensor(raw_std, dtype=torch.float32),
        bandwidth=torch.tensor(median_distance(distances)),
        return_quantiles=torch.as_tensor(
            return_quantiles(in_units(dataset.episode_returns, spec)), dtype=torch.float32
        ),
        tabular=tabular_statistics(dataset) if with_counts else None,
    )


def _points(encoded: Tensor) -> np.ndarray:
    """Return observations as points ``[n, dim]``; numbered states are all equally far apart."""
    if encoded.dim() > 1:
        return encoded.numpy()
    found: np.ndarray = np.eye(int(encoded.max()) + 1)[encoded.numpy()]
    return found


def median_distance(distances: np.ndarray) -> float:
    """Return the median of the distances between distinct points; 1 if there are none."""
    apart = distances[distances > 0]
    return float(np.median(apart)) if len(apart) else 1.0


def return_quantiles(returns: np.ndarray) -> np.ndarray:
    """Return per percentile p the return that the best ``100 - p`` percent of episodes reach.

    At least one episode, and never fewer than the percentage: of ``[episodes]`` returns,
    ``ceil((100 - p) / 100 * episodes)`` are at or above entry p of ``[101]`` (ties aside).
    """
    count = len(returns)
    best = -(-(100 - np.arange(101)) * count // 100)
    return np.sort(returns)[np.minimum(count - best, count - 1)]


def tabular_statistics(dataset: OfflineDataset) -> TabularStatistics:
    """Return the counts and reward sums of a tabular dataset."""
    states, actions = dataset.spec.observation_size, dataset.spec.num_actions
    at = (dataset.observation, dataset.action)
    ended = dataset.terminated
    successors = np.zeros((states, actions, states), dtype=np.float32)
    going = (*(column[~ended] for column in at), dataset.next_observation[~ended])
    np.add.at(successors, going, 1)
    going_rewards = np.zeros(successors.shape, dtype=np.float32)
    reward = in_units(dataset.reward, dataset.spec)
    np.add.at(going_rewards, going, reward[~ended])
    terminations = np.zeros((states, actions), dtype=np.float32)
    np.add.at(terminations, tuple(column[ended] for column in at), 1)
    rewards = np.zeros((states, actions))
    np.add.at(rewards, at, reward)
    return TabularStatistics(
        torch.as_tensor(successors),
        torch.as_tensor(terminations),
        torch.as_tensor(rewards, dtype=torch.float32),
        torch.as_tensor(going_rewards),
    )
