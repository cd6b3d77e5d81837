"""Behavior cloning of continuous actions (Pomerleau 1991), optionally on the best episodes only.

    likelihood: loss = E_data[ -log pi(a | s) ],    pi a normal distribution squashed by tanh
    mse:        loss = E_data[ |a - pi(s)|^2 ],     pi deterministic

The top-fraction variant ("%BC", Chen et al. 2021, section 5) keeps the transitions of the episodes
whose return as collected is within the best `top_fraction`.

Differences from the papers: none for the losses; an action nearer to a bound than .001 has the
likelihood of the nearest that is not (its inverse tanh is up to infinite). %BC selects by quantile
of the return over the episodes that are left in the data, ties included.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Deterministic, TanhNormal
from algorithms.networks import Network
from algorithms.objectives import best_episodes, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import ActionKind, Batch, Count, DataSummary, EnvSpec, Positive, PositiveFraction


class State(NamedTuple):
    """The policy's network and its optimiser."""

    actor: Network
    optimizer: AdamState


@dataclass(frozen=True)
class BehaviorCloning(Algorithm):
    """The data's actions by likelihood, or by squared error."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    top_fraction: PositiveFraction
    objective: Literal["likelihood", "mse"]

    action_kinds: ClassVar[tuple[ActionKind, ...]] = ("continuous",)

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return a policy near the middle of the bounds."""
        outputs = (2 if self.objective == "likelihood" else 1) * spec.action_size
        sizes = (spec.observation_size, *self.hidden_sizes, outputs)
        actor = networks.feed_forward(sizes, generator)
        return State(actor, adam_init(actor))

    def loss(self, actor: Network, summary: DataSummary, batch: Batch) -> Tensor:
        """Return the mean loss of the actions of the best episodes."""
        policy = self.distribution(actor, batch.observation)
        if isinstance(policy, TanhNormal):
            losses = -policy.log_prob(batch.action)
        else:
            losses = ((policy.action - batch.action) ** 2).sum(-1)
        return weighted_mean(losses, best_episodes(batch, summary, self.top_fraction))

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step on the loss."""
        gradient, loss = torch.func.grad_and_value(self.loss)(state.actor, summary, batch)
        actor, optimizer = adam(gradient, state.optimizer, state.actor, self.learning_rate)
        return State(actor, optimizer), {"loss": loss}

    def policy(self, state: State, observation: Tensor) -> TanhNormal | Deterministic:
        """Return the cloned policy."""
        return self.distribution(state.actor, observation)

    def distribution(self, actor: Network, observation: Tensor) -> TanhNormal | Deterministic:
        """Return the policy that a network's outputs are the parameters of."""
        outputs = networks.apply(actor, observation)
        if self.objective == "mse":
            return Deterministic(outputs.tanh())
        return TanhNormal.of(outputs)
