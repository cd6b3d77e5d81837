"""Loss terms that several algorithms share; each is one formula over a weighted batch."""

from torch import Tensor

from bench.types import Batch


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


def negative_log_likelihood(logits: Tensor, action: Tensor) -> Tensor:
    """Return ``-log softmax(logits)[action]``, ``[batch]``."""
    return logits.logsumexp(-1) - at_action(logits, action)


def bellman_target(batch: Batch, next_value: Tensor, discount: float | Tensor) -> Tensor:
    """Return ``r + discount (1 - terminated) next_value``: only termination stops the bootstrap."""
    return batch.reward + discount * (1 - batch.terminated) * next_value
