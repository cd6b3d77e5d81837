"""Models of a world with continuous actions: networks side by side, each of which can step.

Each is normal in ``(s' - s, r)``, with a chance of termination; a state of the ensemble is one
network with a leading axis, as in `algorithms.critics`.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from algorithms import critics as ensembles
from algorithms import networks
from algorithms.distributions import standard_normal
from algorithms.networks import Network
from algorithms.objectives import weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import Batch, EnvSpec

# Of a prediction's log-std: narrower than the first is sure of noise, wider than all data no use.
NARROWEST, WIDEST = -5.0, 1.0


class Model(NamedTuple):
    """The networks and what moves them."""

    networks: Network
    optimizer: AdamState


class Prediction(NamedTuple):
    """What every network says of ``(s' - s, r)``: ``[models, batch, ...]``, and of termination."""

    mean: Tensor
    log_std: Tensor
    ended: Tensor


class Step(NamedTuple):
    """What a model makes of states and actions: ``[batch, ...]``.

    Attributes:
        next_observation: Where it leads.
        reward: Of it, nothing taken off.
        terminated: 1 where a chance above one half says so, else 0.
        doubt: The largest norm of the networks' standard deviations of ``(s' - s, r)``.
    """

    next_observation: Tensor
    reward: Tensor
    terminated: Tensor
    doubt: Tensor


def new_model(
    spec: EnvSpec, hidden_sizes: tuple[int, ...], generator: torch.Generator, number: int
) -> Model:
    """Return a model of so many random networks."""
    size = spec.observation_size
    sizes = (size + spec.action_size, *hidden_sizes, 2 * (size + 1) + 1)
    drawn = [networks.feed_forward(sizes, generator) for _ in range(number)]
    side_by_side = ensembles.side_by_side(drawn)
    return Model(side_by_side, adam_init(side_by_side))


def learned(
    model: Model, batch: Batch, learning_rate: float | Tensor
) -> tuple[Model, dict[str, Tensor]]:
    """Return the model after one Adam step towards the data, and metrics."""
    gradient, (loss, error) = torch.func.grad_and_value(surprise, has_aux=True)(
        model.networks, batch
    )
    moved = adam(gradient, model.optimizer, model.networks, learning_rate)
    return Model(*moved), {"model_loss": loss, "model_error": error}


def predict(ensemble: Network, observation: Tensor, action: Tensor) -> Prediction:
    """Return what all networks say of observations and actions ``[batch, ...]``."""
    outputs = networks.apply(ensemble, torch.cat([observation, action], -1))
    width = observation.shape[-1] + 1
    # Not clamped, so that a network that was too sure can come back.
    log_std = NARROWEST + (WIDEST - NARROWEST) * outputs[..., width:-1].sigmoid()
    return Prediction(outputs[..., :width], log_std, outputs[..., -1])


def surprise(ensemble: Network, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return minus the log-likelihood of the data but for a constant, summed over networks.

    And their mean squared error; both ``[]``.
    """
    found = predict(ensemble, batch.observation, batch.action)
    change = batch.next_observation - batch.observation
    error = torch.cat([change, batch.reward.unsqueeze(-1)], -1) - found.mean
    lost = (0.5 * (error * (-found.log_std).exp()) ** 2 + found.log_std).sum(-1)
    ends = batch.terminated.expand(found.ended.shape)
    lost = lost + binary_cross_entropy_with_logits(found.ended, ends, reduction="none")
    squared = weighted_mean((error**2).mean((0, -1)), batch.weight)
    return weighted_mean(lost.sum(0), batch.weight), squared


def step(
    ensemble: Network, observation: Tensor, action: Tensor, which: Tensor, outcome: Tensor
) -> Step:
    """Return a step of one of the networks for each row.

    Args:
        ensemble: All of them.
        observation: ``[batch, observation_size]``.
        action: ``[batch, action_size]``.
        which: Uniform noise ``[batch]`` for the choice of a network.
        outcome: Uniform noise ``[batch, observation_size + 1]`` for what it draws.
    """
    found = predict(ensemble, observation, action)
    doubt = (2 * found.log_std).exp().sum(-1).sqrt().amax(0)
    chosen = (found.mean.shape[0] * which).long()
    mean, log_std = (_of_model(x, chosen) for x in (found.mean, found.log_std))
    drawn = mean + log_std.exp() * standard_normal(outcome)
    ended = _of_model(found.ended.unsqueeze(-1), chosen)[..., 0] > 0
    following = observation + drawn[..., :-1]
    return Step(following, drawn[..., -1], ended.to(drawn.dtype), doubt)


def _of_model(values: Tensor, chosen: Tensor) -> Tensor:
    """Return ``values[chosen[i], i]``, ``[batch, width]`` of ``[models, batch, width]``."""
    at = chosen[None, :, None].expand(1, *values.shape[1:])
    return values.gather(0, at).squeeze(0)
