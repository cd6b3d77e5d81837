"""What a neural follower remembers, and how it sees a batch."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from algorithms.networks import Network
from algorithms.optimizers import AdamState, adam_init
from algorithms.stackelberg.followers.base import Turn
from algorithms.stackelberg.game import moments
from algorithms.stackelberg.game.moments import Features
from algorithms.stackelberg.responses import neural as response
from algorithms.stackelberg.responses.samples import Pairs, pairs
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


def minibatch(turn: Turn, index: int) -> Turn:
    """Return the turn with one of its minibatches ``[minibatches, batch, ...]``."""
    assert turn.batch is not None
    batch = Batch(*(x[index] for x in turn.batch))
    return turn._replace(batch=batch, noise={name: x[index] for name, x in turn.noise.items()})


def half(turn: Turn, which: int) -> Turn:
    """Return the turn with the first (0) or second (1) half of its minibatches as one."""
    assert turn.batch is not None
    size = len(turn.batch.weight) // 2
    first = which * size
    if size == 1:  # Written as the follower's own steps take it, so that a trace makes it once.
        return minibatch(turn, first)

    def joined(x: Tensor) -> Tensor:
        return x[first : first + size].flatten(0, 1)

    noise = {name: joined(x) for name, x in turn.noise.items()}
    return turn._replace(batch=Batch(*map(joined, turn.batch)), noise=noise)


class Seen(NamedTuple):
    """What a kernel knows of a batch's pairs.

    Attributes:
        features: ``[batch, kernel features per action]``.
        which: ``[batch, num_actions]``, 1 at the action that each is of; one column for vectors.
    """

    features: Tensor
    which: Tensor


def observe(memory: Memory, batch: Batch, seen: Seen) -> Memory:
    """Return the memory with a batch in the second moments of the kernel's features."""
    weight = batch.weight.double() / batch.weight.sum().clamp_min(1e-12)
    weighted = weight.unsqueeze(-1) * seen.which
    now = (weighted.T.unsqueeze(-1) * seen.features).mT @ seen.features
    return memory._replace(gram=memory.gram + GRAM_RATE * (now - memory.gram))


def weighed(turn: Turn, weight: Tensor, seen: Seen) -> Pairs:
    """Return what weighs a batch's residuals, given their weight in its game."""
    assert turn.batch is not None
    roots = moments.whitening(
        turn.terms.kernel, turn.memory.gram, 1 / turn.summary.num_transitions.double()
    )
    return pairs(weight, *seen, turn.batch.weight.double().sum(), roots)


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
