"""Behavior cloning of numbered actions (Pomerleau 1991), optionally on the best episodes only.

    loss = E_data[ -log pi(a | s) ]

The top-fraction variant ("%BC", Chen et al. 2021, section 5) keeps the transitions of the episodes
whose return as collected is within the best `top_fraction`.

Differences from the papers: none for the loss; %BC selects by quantile of the return over the
episodes that are left in the data, ties included.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Categorical
from algorithms.networks import Network
from algorithms.objectives import best_episodes, negative_log_likelihood, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import Batch, Count, DataSummary, EnvSpec, Positive, PositiveFraction


class State(NamedTuple):
    """Policy logits and their optimiser."""

    actor: Network
    optimizer: AdamState


@dataclass(frozen=True)
class BehaviorCloning(Algorithm):
    """Cross-entropy on the data's actions."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    top_fraction: PositiveFraction

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return a policy near the uniform one."""
        actor = networks.action_network(spec, self.hidden_sizes, generator)
        return State(actor, adam_init(actor))

    def loss(self, actor: Network, summary: DataSummary, batch: Batch) -> Tensor:
        """Return the mean negative log-likelihood of the actions of the best episodes."""
        logits = networks.apply(actor, batch.observation)
        weight = best_episodes(batch, summary, self.top_fraction)
        return weighted_mean(negative_log_likelihood(logits, batch.action), weight)

    def update(
        self, state: State, summary: DataSummary, batch: Batch, noise: dict[str, Tensor], phase: int
    ) -> tuple[State, Metrics]:
        """Take one Adam step on the cross-entropy."""
        gradient, loss = torch.func.grad_and_value(self.loss)(state.actor, summary, batch)
        actor, optimizer = adam(gradient, state.optimizer, state.actor, self.learning_rate)
        return State(actor, optimizer), {"loss": loss}

    def policy(self, state: State, observation: Tensor) -> Categorical:
        """Return the cloned policy."""
        return Categorical(networks.apply(state.actor, observation))
