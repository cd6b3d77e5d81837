"""MOPO (Yu et al. 2020): soft actor-critic in a learned model whose doubts are taken off rewards.

    model:   N networks p_i, normal in (s' - s, r), with a chance of termination
             loss = sum_i E_data[ -log p_i(s' - s, r | s, a) - log p_i(terminated | s, a) ]
    rollout: from the batch's states `horizon` steps of a ~ pi(s), each by one of the p_i at random
             reward r - penalty max_i |std_i(s, a)|, of (s' - s, r) as the norm of a vector
    critics: loss = sum_i E[ (y - Q_i(s, a))^2 ],   E = `real_share` data, the rest rollouts
             y    = r + discount (1 - terminated) (min_i Q_slow_i(s', a') - w log pi(a'|s'))
    actor:   loss = E[ w log pi(b|s) - min_i Q_i(s, b) ],   b ~ pi(s)
    w:       tuned so that the entropy becomes minus the number of dimensions

The model learns in the first `model_updates` updates and then stands still. A state that was rolled
out is not kept: every update rolls out its own, in a loop of fixed length in which rows that have
terminated lose their weight.

Differences from the paper: all networks are rolled out, not the best by held-out loss; they are
trained for a fixed time; termination is learned instead of known. Rewards are scaled by the world
(`objectives.reward_scale`), observations standardised: `penalty` is per unit of these.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from algorithms import critics as twins
from algorithms import entropy, networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import TanhNormal, standard_normal
from algorithms.networks import Network
from algorithms.objectives import bellman_target, reward_scale, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import (
    ActionKind,
    Batch,
    Count,
    DataSummary,
    EnvSpec,
    NonNegative,
    Positive,
    PositiveFraction,
    Updates,
)

MODEL, POLICY = 0, 1
# Of a prediction's log-std: narrower than the first is sure of noise, wider than all data no use.
NARROWEST, WIDEST = -5.0, 1.0


class State(NamedTuple):
    """The model, soft actor-critic, what moves them, and the scale of rewards."""

    model: Network
    actor: Network
    log_entropy_weight: Tensor
    critics: Network
    target_critics: Network
    model_optimizer: AdamState
    actor_optimizer: AdamState
    entropy_optimizer: AdamState
    critic_optimizer: AdamState
    reward_scale: Tensor


class Prediction(NamedTuple):
    """What every network says of ``(s' - s, r)``: ``[models, batch, ...]``, and of termination."""

    mean: Tensor
    log_std: Tensor
    ended: Tensor


@dataclass(frozen=True)
class MOPO(Algorithm):
    """Short rollouts of the policy in models of the world, penalised by what these do not know."""

    learning_rate: Positive
    model_learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    model_sizes: tuple[Count, ...]
    num_models: Count
    model_updates: Updates
    horizon: Count
    penalty: NonNegative
    real_share: PositiveFraction
    initial_log_entropy_weight: float
    polyak: PositiveFraction

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def noise_shapes(self, spec: EnvSpec, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the noise in rollouts and in the policy's actions on all rows."""
        steps = self.horizon
        # Of the data first, then of every step: the padding of a batch shifts none of it.
        everywhere = (1 + steps, batch_size, spec.action_size)
        return {
            "action": (steps, batch_size, spec.action_size),
            "model": (steps, batch_size),
            "outcome": (steps, batch_size, spec.observation_size + 1),
            "actor": everywhere,
            "target": everywhere,
        }

    def phase(self, step: int) -> int:
        """Return whether the model learns at this update, or the policy in it."""
        return MODEL if step < self.model_updates else POLICY

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return random networks, the slow critics equal to the others."""
        size, width = spec.observation_size, spec.action_size
        actor = networks.feed_forward((size, *self.hidden_sizes, 2 * width), generator)
        critics = twins.twin_critics(spec, self.hidden_sizes, generator)
        sizes = (size + width, *self.model_sizes, 2 * (size + 1) + 1)
        drawn = [networks.feed_forward(sizes, generator) for _ in range(self.num_models)]
        model = twins.side_by_side(drawn)
        weight = torch.full((), float(self.initial_log_entropy_weight))
        optimizers = adam_init(model), adam_init(actor), adam_init(weight), adam_init(critics)
        return State(model, actor, weight, critics, critics, *optimizers, reward_scale(spec))

    def model_loss(self, model: Network, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the networks' surprise at the data, summed, and their mean squared error."""
        found = _predict(model, batch.observation, batch.action)
        change = batch.next_observation - batch.observation
        error = torch.cat([change, batch.reward.unsqueeze(-1)], -1) - found.mean
        # Minus the log-density, but for a constant.
        surprise = (0.5 * (error * (-found.log_std).exp()) ** 2 + found.log_std).sum(-1)
        ends = batch.terminated.expand(found.ended.shape)
        surprise = surprise + binary_cross_entropy_with_logits(found.ended, ends, reduction="none")
        squared = weighted_mean((error**2).mean((0, -1)), batch.weight)
        return weighted_mean(surprise.sum(0), batch.weight), squared

    def rollout(self, state: State, batch: Batch, noise: dict[str, Tensor]) -> Batch:
        """Return the batch followed by ``horizon * batch`` transitions of the model.

        Weights of the data sum to `real_share`, those of the model to the rest at most.
        """
        share = batch.weight / batch.weight.sum().clamp_min(1e-12)
        rows = [batch._replace(weight=self.real_share * share)]
        observation, alive = batch.observation, (1 - self.real_share) / self.horizon * share
        for step in range(self.horizon):
            action = _policy(state.actor, observation).sample(noise["action"][step])
            found = _predict(state.model, observation, action)
            doubt = (2 * found.log_std).exp().sum(-1).sqrt().amax(0)
            chosen = (self.num_models * noise["model"][step]).long()
            mean, log_std = (_of_model(x, chosen) for x in (found.mean, found.log_std))
            outcome = mean + log_std.exp() * standard_normal(noise["outcome"][step])
            following = observation + outcome[..., :-1]
            ended = (_of_model(found.ended.unsqueeze(-1), chosen)[..., 0] > 0).to(alive.dtype)
            made = batch._replace(
                observation=observation,
                action=action,
                reward=outcome[..., -1] - self.penalty * doubt,
                next_observation=following,
                terminated=ended,
                weight=alive,
            )
            rows.append(made)
            observation, alive = following, alive * (1 - ended)
        return Batch(*(torch.cat(several) for several in zip(*rows, strict=True)))

    def target(self, state: State, batch: Batch, noise: Tensor) -> Tensor:
        """Return what both critics are fitted to ``[batch]``, for uniform noise."""
        policy = _policy(state.actor, batch.next_observation)
        following, log_prob = policy.sample_with_log_prob(noise)
        value = twins.values(state.target_critics, batch.next_observation, following).amin(0)
        value = value - state.log_entropy_weight.exp() * log_prob
        return bellman_target(batch, value, self.discount)

    def critic_loss(self, critics: Network, target: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return both critics' mean squared errors, summed, and their values ``[2, batch]``."""
        values = twins.values(critics, batch.observation, batch.action)
        return weighted_mean(((values - target) ** 2).sum(0), batch.weight), values

    def actor_loss(
        self, actor: Network, state: State, batch: Batch, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the entropy's worth less the value of the policy, and its mean log-density."""
        action, log_prob = _policy(actor, batch.observation).sample_with_log_prob(noise)
        value = twins.values(state.critics, batch.observation, action).amin(0)
        loss = state.log_entropy_weight.exp() * log_prob - value
        return weighted_mean(loss, batch.weight), weighted_mean(log_prob, batch.weight)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of the model, or one each of soft actor-critic in it."""
        batch = batch._replace(reward=state.reward_scale * batch.reward)
        if phase == MODEL:
            gradient, (loss, error) = torch.func.grad_and_value(self.model_loss, has_aux=True)(
                state.model, batch
            )
            model, optimizer = adam(
                gradient, state.model_optimizer, state.model, self.model_learning_rate
            )
            moved = state._replace(model=model, model_optimizer=optimizer)
            return moved, {"model_loss": loss, "model_error": error}
        rows = self.rollout(state, batch, noise)
        target = self.target(state, rows, noise["target"].flatten(0, 1))
        gradient, (loss, values) = torch.func.grad_and_value(self.critic_loss, has_aux=True)(
            state.critics, target, rows
        )
        critics, critic_optimizer = adam(
            gradient, state.critic_optimizer, state.critics, self.learning_rate
        )
        gradient, log_prob = torch.func.grad(self.actor_loss, has_aux=True)(
            state.actor, state, rows, noise["actor"].flatten(0, 1)
        )
        actor, actor_optimizer = adam(
            gradient, state.actor_optimizer, state.actor, self.learning_rate
        )
        wanted = -batch.action.shape[-1]
        weight, entropy_optimizer = entropy.tuned(
            state.log_entropy_weight, -log_prob, wanted, state.entropy_optimizer, self.learning_rate
        )
        size, scale = len(batch.reward), state.reward_scale
        dreamt = rows.reward[size:].unflatten(0, (self.horizon, size))
        metrics = {
            "bellman_loss": loss,
            "value": weighted_mean(values.mean(0)[:size], batch.weight) / scale,
            "rollout_reward": weighted_mean(dreamt.mean(0), batch.weight) / scale,
            "entropy": -log_prob,
            "entropy_weight": weight.exp(),
        }
        state = state._replace(
            actor=actor,
            log_entropy_weight=weight,
            critics=critics,
            target_critics=networks.polyak_average(state.target_critics, critics, self.polyak),
            actor_optimizer=actor_optimizer,
            entropy_optimizer=entropy_optimizer,
            critic_optimizer=critic_optimizer,
        )
        return state, metrics

    def policy(self, state: State, observation: Tensor) -> TanhNormal:
        """Return the actor."""
        return _policy(state.actor, observation)


def _policy(actor: Network, observation: Tensor) -> TanhNormal:
    return TanhNormal.of(networks.apply(actor, observation))


def _predict(model: Network, observation: Tensor, action: Tensor) -> Prediction:
    outputs = networks.apply(model, torch.cat([observation, action], -1))
    width = observation.shape[-1] + 1
    # Not clamped, so that a network that was too sure can come back.
    log_std = NARROWEST + (WIDEST - NARROWEST) * outputs[..., width:-1].sigmoid()
    return Prediction(outputs[..., :width], log_std, outputs[..., -1])


def _of_model(values: Tensor, chosen: Tensor) -> Tensor:
    """Return ``values[chosen[i], i]``, ``[batch, width]`` of ``[models, batch, width]``."""
    at = chosen[None, :, None].expand(1, *values.shape[1:])
    return values.gather(0, at).squeeze(0)
