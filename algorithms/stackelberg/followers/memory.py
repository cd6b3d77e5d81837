"""What a neural follower remembers, and how it sees a batch."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.networks import Network
from algorithms.optimizers import AdamState, adam_init
from algorithms.stackelberg.followers.base import Turn
from algorithms.stackelberg.game import moments
from algorithms.stackelberg.game.game import BatchGame, Points, batch_game
from algorithms.stackelberg.game.kernels import random_features
from algorithms.stackelberg.game.moments import Features
from algorithms.stackelberg.responses import neural as response
from bench.types import Batch

# Of the running mean of the kernel features' second moments.
GRAM_RATE = 0.01


class Memory(NamedTuple):
    """What a neural follower remembers.

    Attributes:
        critic: Its parameters.
        slow_critic: Their Polyak average, whose values are targets.
        anchor: Those that `regularization` draws them to, as the warm start left them.
        optimizer: The critic's.
        features: Random features of the kernel.
        gram: ``[num_actions, kernel features, kernel features]``, their running second moments of
            each action.
        along: w, shaped like the critic, float64.
        log_multiplier: ``[]``, of the constraint form, in units of n.
        solver_residual: ``[]``, of the last solve for w.
    """

    critic: Network
    slow_critic: Network
    anchor: Network
    optimizer: AdamState
    features: Features
    gram: Tensor
    along: Network
    log_multiplier: Tensor
    solver_residual: Tensor


def remember(critic: Network, features: Features, num_actions: int) -> Memory:
    """Return the memory before the first update."""
    size = features.kernel_phase.shape[-1]
    zero = torch.zeros((), dtype=torch.float64)
    along = tree_map(lambda x: torch.zeros_like(x, dtype=torch.float64), critic)
    gram = torch.eye(size, dtype=torch.float64).repeat(num_actions, 1, 1)
    return Memory(critic, critic, critic, adam_init(critic), features, gram, along, zero, zero)


class Sample(NamedTuple):
    """A batch as the follower sees it."""

    game: BatchGame
    places: Points
    pairs: response.Pairs


def sample_of(turn: Turn, batch: Batch) -> Sample:
    """Return a batch (without minibatches) with the features of its pairs."""
    terms, summary = turn.terms, turn.summary
    game = batch_game(batch, terms.discount, turn.scale.width)
    places = Points(batch.observation, batch.next_observation, summary.initial_observations)
    rows = batch.weight.double().sum()
    features = _kernel_features(turn, batch.observation)
    roots = moments.whitening(terms.kernel, turn.memory.gram, 1 / summary.num_transitions.double())
    return Sample(game, places, response.pairs(game, features, rows, roots))


def sample_of_half(turn: Turn, half: int) -> Sample:
    """Return the first (0) or second (1) half of minibatches ``[minibatches, batch, ...]``."""
    assert turn.batch is not None
    size = len(turn.batch.weight) // 2
    first = half * size
    if size == 1:  # Written as the follower's own steps take it, so that a trace makes it once.
        return sample_of(turn, Batch(*(x[first] for x in turn.batch)))
    joined = Batch(*(x[first : first + size].flatten(0, 1) for x in turn.batch))
    return sample_of(turn, joined)


def observe(turn: Turn, batch: Batch) -> Turn:
    """Return the turn with a batch in the second moments of the kernel's features."""
    memory = turn.memory
    features = _kernel_features(turn, batch.observation)
    weight = batch.weight.double() / batch.weight.sum().clamp_min(1e-12)
    weighted = weight.unsqueeze(-1) * moments.of_action(batch.action, len(memory.gram))
    now = (weighted.T.unsqueeze(-1) * features).mT @ features
    gram = memory.gram + GRAM_RATE * (now - memory.gram)
    return turn._replace(memory=memory._replace(gram=gram))


def policy_at(actor: Network, places: Points) -> Points:
    """Return the leader's probabilities at observations, float64."""
    return Points(*(networks.apply(actor, x).double().softmax(-1) for x in places))


def number_of(turn: Turn, rows: Tensor) -> Tensor:
    """Return how many transitions the loss may count for: a V-statistic is biased by 1 / rows."""
    number = turn.summary.num_transitions.double()
    return torch.minimum(number, rows) if turn.terms.kernel_loss == "v" else number


def answer_of(
    turn: Turn, rows: Tensor, regularization: float | Tensor, residual_weight: float | Tensor
) -> response.Answer:
    """Return the numbers of the follower's objective."""
    terms, number = turn.terms, number_of(turn, rows)
    multiplier = terms.multiplier(number)
    if terms.constrained:
        multiplier = number * turn.memory.log_multiplier.exp()
    return response.Answer(
        terms.aims, terms.kernel_loss, multiplier, regularization, residual_weight
    )


def _kernel_features(turn: Turn, observation: Tensor) -> Tensor:
    features = turn.memory.features
    return random_features(
        observation, features.kernel_frequency, features.kernel_phase, turn.terms.bandwidth
    )
