"""A round of the game against a follower that answers exactly: a table or linear in features."""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.networks import Network
from algorithms.objectives import at_action
from algorithms.stackelberg.followers import linear as linear_follower
from algorithms.stackelberg.followers import squared_table
from algorithms.stackelberg.followers import table as table_follower
from algorithms.stackelberg.followers.squared_table import TransitionWeights
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import (
    BatchGame,
    OnTable,
    Points,
    TableGame,
    Units,
    batch_game,
    table_game,
    transition_game,
)
from algorithms.stackelberg.game.implicit import LeaderGradient, cosine, leader_gradient
from algorithms.stackelberg.game.terms import Terms, outside
from bench.types import Batch, DataSummary


class LinearMemory(NamedTuple):
    """What a linear follower remembers."""

    features: data_moments.Features
    moments: data_moments.Moments


class TableRound(NamedTuple):
    """A leader's policy on a table and the follower's answer to it."""

    table: TableGame
    game: OnTable
    weights: table_follower.Weights
    points: Points
    response: table_follower.Response

    @property
    def policy(self) -> Tensor:
        """The leader's probabilities, ``[states, actions]``."""
        return self.points.observation


def _policy_on_states(actor: Network, table: TableGame) -> Points:
    states = torch.arange(len(table.share), device=table.share.device)
    return table_follower.on_states(networks.apply(actor, states).double().softmax(-1))


def _table_round(terms: Terms, actor: Network, summary: DataSummary, scale: Units) -> TableRound:
    assert summary.tabular is not None
    table = table_game(summary.tabular, summary.initial_observations, terms.discount, scale.width)
    weights: table_follower.Weights = table_follower.cell_weights(
        terms.kernel, table, terms.bandwidth
    )
    game: OnTable = table
    if terms.squared:
        game = transition_game(summary.tabular, table, terms.discount, scale.width)
        weights = TransitionWeights(game.weight)
    points = _policy_on_states(actor, table)
    number = summary.num_transitions.double()
    response = table_follower.best_response(
        game, terms.aims, weights, points.observation, scale.v_min,
        multiplier=None if terms.constrained else terms.multiplier(number),
        allowed_loss=terms.allowed_loss(number),
    )  # fmt: skip
    return TableRound(table, game, weights, points, response)


def against_table(
    terms: Terms, actor: Network, summary: DataSummary, scale: Units
) -> tuple[LeaderGradient, dict[str, Tensor]]:
    """Return the leader's gradient against a table, and what to log."""
    table, game, weights, points, response = played = _table_round(terms, actor, summary, scale)
    moves = table_follower.direction(
        game, weights, played.policy, response, ridge=terms.ridge, constrained=terms.constrained
    )
    reply = table_follower.reply(game, weights, played.policy, response, moves)
    metrics = terms.metrics(game, points, reply, response.multiplier, scale)
    metrics |= table_follower.metrics(
        game, terms.aims, weights, played.policy, response, moves, terms.discount, terms.ridge
    )
    metrics["out_of_range"] = (outside(response.q, scale) * game.share).sum()

    def policy_of(actor: Network) -> Points:
        return _policy_on_states(actor, table)

    return leader_gradient(terms.aims, game, policy_of, actor, reply), metrics


def diagnose_table(
    terms: Terms, actor: Network, summary: DataSummary, scale: Units
) -> dict[str, Tensor]:
    """Return what is too dear to log at every update, of a table's answer to the leader."""
    assert summary.tabular is not None
    table, game, weights, points, response = _table_round(terms, actor, summary, scale)
    # The squared residual is nothing but its diagonal.
    share = torch.ones_like(response.multiplier)
    if isinstance(weights, table_follower.CellWeights):
        error = game.residual(points, table_follower.on_states(response.q))
        whole = (error * weights.weigh(error)).sum()
        singly = transition_game(summary.tabular, table, terms.discount, scale.width)
        diagonal = squared_table.diagonal_loss(
            singly, weights.own(), points.observation, response.q
        )
        tiny = torch.finfo(whole.dtype).tiny
        share = diagonal / summary.num_transitions.double() / whole.clamp_min(tiny)
    smallest = table_follower.smallest_curvature(
        game, weights, points.observation, response.multiplier
    )
    return {"kernel_diagonal_share": share, "smallest_curvature": smallest}


class LinearRound(NamedTuple):
    """A leader's policy on a batch and the answer of a follower linear in features.

    Attributes:
        game: The game on the batch.
        places: Its observations.
        policy: The leader's probabilities there.
        seen: The features there.
        moments: Of all batches so far, this one included.
        loss: The kernel loss that they make.
        starts: Derivatives of what the players are after.
        number: ``[]``, transitions that the loss counts for.
        response: The follower's answer.
    """

    game: BatchGame
    places: Points
    policy: Points
    seen: data_moments.Seen
    moments: data_moments.Moments
    loss: linear_follower.Loss
    starts: linear_follower.Starts
    number: Tensor
    response: linear_follower.Response


def _policy_at(actor: Network, places: Points) -> Points:
    return Points(*(networks.apply(actor, x).double().softmax(-1) for x in places))


def _linear_round(
    terms: Terms,
    actor: Network,
    memory: LinearMemory,
    summary: DataSummary,
    batch: Batch,
    scale: Units,
    moment_rate: float | Tensor,
) -> LinearRound:
    game = batch_game(batch, terms.discount, scale.width)
    places = Points(batch.observation, batch.next_observation, summary.initial_observations)
    policy = _policy_at(actor, places)
    seen = data_moments.features_of(memory.features, terms.kernel, terms.bandwidth, places)
    rows = batch.weight.double().sum()
    now = data_moments.moments_of(game, seen, policy, scale.v_min, rows)
    if terms.squared:
        now = data_moments.squares_of(now, game, seen, policy, scale.v_min)
    moments = data_moments.running_mean(memory.moments, now, moment_rate)
    loss = linear_follower.quadratic(terms.kernel, moments, terms.squared)
    initial = data_moments.per_action(policy.initial, seen.initial).mean(0)
    starts = linear_follower.starts(terms.aims, moments, initial)
    # A loss estimated on fewer transitions than there are deserves less weight.
    number = torch.minimum(summary.num_transitions.double(), 1 / moments.inverse_size)
    if terms.constrained:
        response = linear_follower.constrained_response(
            loss, starts.follower, terms.regularization, terms.allowed_loss(number), number
        )
    else:
        response = linear_follower.best_response(
            loss, starts.follower, terms.regularization, terms.multiplier(number)
        )
    return LinearRound(game, places, policy, seen, moments, loss, starts, number, response)


def against_linear(
    terms: Terms,
    actor: Network,
    memory: LinearMemory,
    summary: DataSummary,
    batch: Batch,
    scale: Units,
    moment_rate: float | Tensor,
) -> tuple[LeaderGradient, LinearMemory, dict[str, Tensor]]:
    """Return the leader's gradient against a linear critic, its memory, and what to log."""
    played = _linear_round(terms, actor, memory, summary, batch, scale, moment_rate)
    game, policy, response = played.game, played.policy, played.response
    moves, residual = linear_follower.direction(
        played.loss,
        response,
        played.starts.leader,
        ridge=terms.ridge,
        constrained=terms.constrained,
    )
    reply = linear_follower.reply(
        game,
        policy,
        played.seen,
        played.loss,
        response,
        moves,
        scale.v_min,
        policy.initial.shape[-1],
    )
    metrics = terms.metrics(game, policy, reply, response.multiplier, scale)
    metrics |= linear_follower.metrics(played.loss, response, played.starts, terms)
    taken = at_action(reply.q.observation, batch.action)
    metrics["out_of_range"] = (outside(taken, scale) * game.weight).sum()
    metrics["solver_residual"] = residual

    def policy_of(actor: Network) -> Points:
        return _policy_at(actor, played.places)

    gradient = leader_gradient(terms.aims, game, policy_of, actor, reply)
    return gradient, LinearMemory(memory.features, played.moments), metrics


def diagnose_linear(
    terms: Terms,
    actor: Network,
    memory: LinearMemory,
    summary: DataSummary,
    batch: Batch,
    scale: Units,
    moment_rate: float | Tensor,
) -> dict[str, Tensor]:
    """Return what is too dear to log at every update, of an answer to the leader on a batch.

    `cosine_batches` is that of the implicit terms that an update would take on either half of the
    batch alone: what the moments remember of other batches is the same for both.
    """
    played = _linear_round(terms, actor, memory, summary, batch, scale, moment_rate)
    # The squared residual is nothing but its diagonal.
    share = torch.ones_like(played.number)
    if isinstance(played.loss, linear_follower.Quadratic):
        q = linear_follower.values(
            played.seen, played.response.weights, scale.v_min, played.policy.initial.shape[-1]
        )
        share = linear_follower.diagonal_share(
            played.game,
            played.seen,
            played.loss,
            played.game.residual(played.policy, q),
            played.loss.value(played.response.weights),
            played.number,
        )
    first, second = (
        against_linear(terms, actor, memory, summary, half, scale, moment_rate)[0].implicit
        for half in halves(batch)
    )
    return {
        "kernel_diagonal_share": share,
        "smallest_curvature": linear_follower.smallest_curvature(played.response),
        "cosine_batches": cosine(first, second),
    }


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """Return a batch twice, either half of its weight 0: its first rows and all others.

    By weight and not by position, since the end of a batch may be nothing but padding.
    """
    behind = batch.weight.double().cumsum(0)
    early = (behind <= behind[-1] / 2).to(batch.weight.dtype)
    return (
        batch._replace(weight=batch.weight * early),
        batch._replace(weight=batch.weight * (1 - early)),
    )
