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

from algorithms.base import Algorithm, Metrics
from algorithms.distributions import TanhNormal
from algorithms.networks import Network
from algorithms.objectives import weighted_mean
from algorithms.pieces import dynamics
from algorithms.pieces import soft_actor_critic as soft
from algorithms.pieces.dynamics import Model
from algorithms.pieces.soft_actor_critic import SoftActorCritic
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


class State(NamedTuple):
    """The model of the world, and soft actor-critic in it."""

    model: Model
    learner: SoftActorCritic


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
        weight = self.initial_log_entropy_weight
        learner = soft.new_learner(spec, self.hidden_sizes, weight, generator)
        model = dynamics.new_model(spec, self.model_sizes, generator, self.num_models)
        return State(model, learner)

    def rollout(self, state: State, batch: Batch, noise: dict[str, Tensor]) -> Batch:
        """Return the batch followed by ``horizon * batch`` transitions of the model.

        Weights of the data sum to `real_share`, those of the model to the rest at most.
        """
        share = batch.weight / batch.weight.sum().clamp_min(1e-12)
        rows = [batch._replace(weight=self.real_share * share)]
        observation, alive = batch.observation, (1 - self.real_share) / self.horizon * share
        for at in range(self.horizon):
            action = state.learner.actor.policy(observation).sample(noise["action"][at])
            step = dynamics.step(
                state.model.networks, observation, action, noise["model"][at], noise["outcome"][at]
            )
            made = batch._replace(
                observation=observation,
                action=action,
                reward=step.reward - self.penalty * step.doubt,
                next_observation=step.next_observation,
                terminated=step.terminated,
                weight=alive,
            )
            rows.append(made)
            observation, alive = step.next_observation, alive * (1 - step.terminated)
        return Batch(*(torch.cat(several) for several in zip(*rows, strict=True)))

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step of the model, or one each of soft actor-critic in it."""
        learner = state.learner
        batch = batch._replace(reward=learner.reward_scale * batch.reward)
        if phase == MODEL:
            model, told = dynamics.learned(state.model, batch, self.model_learning_rate)
            return state._replace(model=model), told
        rows = self.rollout(state, batch, noise)
        # Noise is laid out as the rows are: of the data first, then of every step.
        here, onward = (noise[name].flatten(0, 1) for name in ("actor", "target"))
        target = soft.soft_target(learner, rows, onward, self.discount)
        size, scale = len(batch.reward), learner.reward_scale

        def of_data(critics: Network, values: Tensor) -> tuple[float, Metrics]:
            return 0.0, {"value": weighted_mean(values.mean(0)[:size], batch.weight) / scale}

        rates = self.learning_rate, self.learning_rate
        learner, metrics = soft.updated(learner, target, rows, here, rates, self.polyak, of_data)
        dreamt = rows.reward[size:].unflatten(0, (self.horizon, size))
        metrics["rollout_reward"] = weighted_mean(dreamt.mean(0), batch.weight) / scale
        return state._replace(learner=learner), metrics

    def policy(self, state: State, observation: Tensor) -> TanhNormal:
        """Return the actor."""
        return state.learner.actor.policy(observation)
