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
    pair = dataset.observation.astype(np.int64) * actions + dataset.action
    reward, ended = in_units(dataset.reward, dataset.spec), dataset.terminated
    going = pair[~ended] * states + dataset.next_observation[~ended]
    different, which = np.unique(going, return_inverse=True)
    going_rewards = np.zeros(len(different), dtype=np.float32)
    np.add.at(going_rewards, which, reward[~ended])
    rewards = np.zeros(states * actions)
    np.add.at(rewards, pair, reward)
    terminations = np.bincount(pair[ended], minlength=states * actions)
    shape = (states, actions)
    return TabularStatistics(
        pair=torch.as_tensor(different // states),
        successor=torch.as_tensor(different % states),
        number=torch.as_tensor(np.bincount(which, minlength=len(different)), dtype=torch.float32),
        rewards=torch.as_tensor(going_rewards),
        termination_counts=torch.as_tensor(terminations.reshape(shape), dtype=torch.float32),
        reward_sums=torch.as_tensor(rewards.reshape(shape), dtype=torch.float32),
    )


def padded(summaries: list[DataSummary]) -> list[DataSummary]:
    """Return the summaries with counts of one length, so that they stack."""
    tables = [summary.tabular for summary in summaries if summary.tabular is not None]
    longest = max((len(table.pair) for table in tables), default=0)

    def pad(column: Tensor) -> Tensor:
        return torch.nn.functional.pad(column, (0, longest - len(column)))

    def one(summary: DataSummary) -> DataSummary:
        table = summary.tabular
        if table is None:
            return summary
        short = ("pair", "successor", "number", "rewards")
        longer = {name: pad(getattr(table, name)) for name in short}
        return summary._replace(tabular=table._replace(**longer))

    return [one(summary) for summary in summaries]
