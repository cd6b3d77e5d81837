"""What a neural follower remembers, and how it sees a batch."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.networks import Network
from algorithms.optimizers import AdamState, adam_init
from algorithms.stackelberg.followers import neural as follower
from algorithms.stackelberg.game import moments
from algorithms.stackelberg.game.game import BatchGame, Points, Units, batch_game
from algorithms.stackelberg.game.kernels import random_features
from algorithms.stackelberg.game.moments import Features
from algorithms.stackelberg.game.terms import Terms
from bench.types import Batch, DataSummary

# Of the running mean of the kernel features' second moments.
GRAM_RATE = 0.01


class Memory(NamedTuple):
    """What a neural follower remembers.

    Attributes:
        critic: Its parameters.
        anchor: Those that `regularization` draws them to, as the warm start left them.
        optimizer: The critic's.
        features: Random features of the kernel.
        gram: ``[kernel features, kernel features]``, their running second moments.
        along: w, shaped like the critic, float64.
        log_multiplier: ``[]``, of the constraint form, in units of n.
        solver_residual: ``[]``, of the last solve for w.
    """

    critic: Network
    anchor: Network
    optimizer: AdamState
    features: Features
    gram: Tensor
    along: Network
    log_multiplier: Tensor
    solver_residual: Tensor


class Settings(NamedTuple):
    """The terms of the game and what only a neural follower has to know of a learner."""

    terms: Terms
    statistic: follower.Statistic
    ridge: float | Tensor
    curvature: Literal["gauss_newton", "exact"]
    solver: follower.Solver
    learning_rate: float | Tensor
    multiplier_rate: float | Tensor


def remember(critic: Network, features: Features, num_actions: int) -> Memory:
    """Return the memory before the first update."""
    size = num_actions * features.kernel_phase.shape[-1]
    zero = torch.zeros((), dtype=torch.float64)
    along = tree_map(lambda x: torch.zeros_like(x, dtype=torch.float64), critic)
    gram = torch.eye(size, dtype=torch.float64)
    return Memory(critic, critic, adam_init(critic), features, gram, along, zero, zero)


class Sample(NamedTuple):
    """A batch as the follower sees it."""

    game: BatchGame
    places: Points
    pairs: follower.Pairs


def sample_of(
    settings: Settings, memory: Memory, summary: DataSummary, batch: Batch, scale: Units
) -> Sample:
    """Return a batch (without minibatches) with the features of its pairs."""
    game = batch_game(batch, settings.terms.discount, scale.width)
    places = Points(batch.observation, batch.next_observation, summary.initial_observations)
    rows = batch.weight.double().sum()
    features = _kernel_features(settings, memory, batch.observation)
    root = moments.whitening(
        settings.terms.kernel, memory.gram, 1 / summary.num_transitions.double()
    )
    return Sample(game, places, follower.pairs(game, features, root, rows))


def observe(settings: Settings, memory: Memory, batch: Batch) -> Memory:
    """Return the memory with a batch in the second moments of the kernel's features."""
    features = _kernel_features(settings, memory, batch.observation)
    num_actions = len(memory.gram) // features.shape[-1]
    weight = batch.weight.double() / batch.weight.sum().clamp_min(1e-12)
    weighted = weight.unsqueeze(-1) * moments.of_action(batch.action, num_actions)
    blocks = (weighted.T.unsqueeze(-1) * features).mT @ features
    now = moments.block_diagonal(blocks.flatten(0, 1), num_actions)
    return memory._replace(gram=memory.gram + GRAM_RATE * (now - memory.gram))


def _kernel_features(settings: Settings, memory: Memory, observation: Tensor) -> Tensor:
    features = memory.features
    return random_features(
        observation, features.kernel_frequency, features.kernel_phase, settings.terms.bandwidth
    )


def policy_at(actor: Network, places: Points) -> Points:
    """Return the leader's probabilities at observations, float64."""
    return Points(*(networks.apply(actor, x).double().softmax(-1) for x in places))


def number_of(settings: Settings, summary: DataSummary, rows: Tensor) -> Tensor:
    """Return how many transitions the loss may count for: a V-statistic is biased by 1 / rows."""
    number = summary.num_transitions.double()
    return torch.minimum(number, rows) if settings.statistic == "v" else number


def answer_of(
    settings: Settings, memory: Memory, summary: DataSummary, rows: Tensor
) -> follower.Answer:
    """Return the numbers of the follower's objective."""
    number = number_of(settings, summary, rows)
    multiplier = settings.terms.multiplier(number)
    if settings.terms.constrained:
        multiplier = number * memory.log_multiplier.exp()
    terms = settings.terms
    return follower.Answer(terms.aims, settings.statistic, multiplier, terms.regularization)
