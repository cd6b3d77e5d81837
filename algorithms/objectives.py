"""Loss terms that several algorithms share; each is one formula over a weighted batch."""

from typing import Literal

import torch
from torch import Tensor

from bench.types import Batch, DataSummary, EnvSpec

WeightForm = Literal["exp", "binary"]
# The largest weight of an action that is cloned by its advantage.
LARGEST_WEIGHT = 20.0
# What the uniform policy's regret is worth to critics whose rewards are scaled.
REWARD_UNITS = 10.0


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of ``values[batch]`` under ``weight[batch]``; 0 if all weights are 0."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-12)


def at_action(values: Tensor, action: Tensor) -> Tensor:
    """Return ``values[batch, num_actions]`` at ``action[batch]``."""
    return values.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def huber(error: Tensor) -> Tensor:
    """Return ``error^2 / 2`` up to 1 and ``|error| - 1/2`` beyond.

    Its derivative is the clipped error, here as a constant factor: right to first order alone, and
    cheaper than choosing between two formulas.
    """
    slope = error.detach().clamp(-1, 1)
    return slope * (error - 0.5 * slope)


def expectile_loss(difference: Tensor, expectile: float | Tensor) -> Tensor:
    """Return ``|expectile - 1(difference < 0)| difference^2``, differences target minus value."""
    weight = (expectile - (difference < 0).to(difference.dtype)).abs()
    return weight * difference**2


def advantage_weight(
    advantage: Tensor, form: WeightForm, inverse_temperature: float | Tensor
) -> Tensor:
    """Return how much an action of that advantage is cloned, without a gradient.

    By ``min(exp(inverse_temperature advantage), 20)``, or 1 where the advantage is above 0, else 0.
    """
    advantage = advantage.detach()
    if form == "binary":
        return (advantage > 0).to(advantage.dtype)
    return (inverse_temperature * advantage).exp().clamp_max(LARGEST_WEIGHT)


def negative_log_likelihood(logits: Tensor, action: Tensor) -> Tensor:
    """Return ``-log softmax(logits)[action]``, ``[batch]``."""
    return logits.logsumexp(-1) - at_action(logits, action)


def bellman_target(batch: Batch, next_value: Tensor, discount: float | Tensor) -> Tensor:
    """Return ``r + discount (1 - terminated) next_value``: only termination stops the bootstrap."""
    return batch.reward + discount * (1 - batch.terminated) * next_value


def best_episodes(batch: Batch, summary: DataSummary, top_fraction: float | Tensor) -> Tensor:
    """Return the weights ``[batch]`` of a batch, 0 outside the best `top_fraction` of episodes.

    By quantile of the return over the episodes that are left in the data, ties included.
    """
    percentiles = summary.return_quantiles
    # Rounded down to a whole percentile: never fewer episodes than asked for. The small number
    # keeps (1 - 0.9) * 100 at 10 in float32.
    position = (1 - torch.as_tensor(top_fraction)) * (percentiles.shape[-1] - 1)
    index = (position + 1e-4).floor().long()
    threshold = percentiles.gather(-1, index.reshape(1)).squeeze(-1)
    return batch.weight * (batch.episode_return >= threshold)


def reward_scale(spec: EnvSpec) -> Tensor:
    """Return what rewards are multiplied by for critics, ``[]``; 1 where the world says nothing.

    Worlds differ in the size of their values by orders of magnitude, and one learning rate suits
    critics of one size. The scale is the world's, never the data's: it would change with coverage,
    and then nobody could tell a change of the learner from one of its data.
    """
    if spec.uniform_regret is None or spec.uniform_regret <= 0:
        return torch.ones(())
    return torch.tensor(REWARD_UNITS / spec.uniform_regret)
