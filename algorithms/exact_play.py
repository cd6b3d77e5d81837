"""A round of the game against a follower that answers exactly: a table or linear in features."""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import linear_follower, networks, table_follower
from algorithms import moments as data_moments
from algorithms.game import OnTable, Points, Units, batch_game, table_game, transition_game
from algorithms.implicit import LeaderGradient, leader_gradient
from algorithms.networks import Network
from algorithms.objectives import at_action
from algorithms.squared_table import TransitionWeights
from algorithms.terms import Terms, outside
from bench.types import Batch, DataSummary


class LinearMemory(NamedTuple):
    """What a linear follower remembers."""

    features: data_moments.Features
    moments: data_moments.Moments


def against_table(
    terms: Terms, actor: Network, summary: DataSummary, scale: Units
) -> tuple[LeaderGradient, dict[str, Tensor]]:
    """Return the leader's gradient against a table, and what to log."""
    assert summary.tabular is not None
    table = table_game(summary.tabular, summary.initial_observations, terms.discount, scale.width)
    weights: table_follower.Weights = table_follower.cell_weights(
        terms.kernel, table, terms.bandwidth
    )
    game: OnTable = table
    if terms.squared:
        game = transition_game(summary.tabular, table, terms.discount, scale.width)
        weights = TransitionWeights(game.weight)
    states = torch.eye(len(table.share), device=table.share.device)

    def policy_of(actor: Network) -> Points:
        return table_follower.on_states(networks.apply(actor, states).double().softmax(-1))

    points = policy_of(actor)
    policy, number = points.observation, summary.num_transitions.double()
    response = table_follower.best_response(
        game, terms.aims, weights, policy, scale.v_min,
        multiplier=None if terms.constrained else terms.multiplier(number),
        allowed_loss=terms.allowed_loss(number),
    )  # fmt: skip
    moves = table_follower.direction(
        game, weights, policy, response, ridge=terms.ridge, constrained=terms.constrained
    )
    reply = table_follower.reply(game, weights, policy, response, moves)
    metrics = terms.metrics(game, points, reply, response.multiplier, scale)
    metrics |= table_follower.metrics(
        game, terms.aims, weights, policy, response, moves, terms.discount
    )
    metrics["out_of_range"] = (outside(response.q, scale) * game.share).sum()
    return leader_gradient(terms.aims, game, policy_of, actor, reply), metrics


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
    game = batch_game(batch, terms.discount, scale.width)
    places = Points(batch.observation, batch.next_observation, summary.initial_observations)

    def policy_of(actor: Network) -> Points:
        return Points(*(networks.apply(actor, x).double().softmax(-1) for x in places))

    policy = policy_of(actor)
    num_actions = policy.initial.shape[-1]
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
    moves, residual = linear_follower.direction(
        loss, response, starts.leader, ridge=terms.ridge, constrained=terms.constrained
    )
    reply = linear_follower.reply(
        game, policy, seen, loss, response, moves, scale.v_min, num_actions
    )
    error = game.residual(policy, reply.q)
    metrics = terms.metrics(game, policy, reply, response.multiplier, scale)
    metrics |= linear_follower.metrics(loss, response, starts, terms)
    # The squared residual is nothing but its diagonal.
    metrics["kernel_diagonal_share"] = torch.ones_like(number)
    if isinstance(loss, linear_follower.Quadratic):
        metrics["kernel_diagonal_share"] = linear_follower.diagonal_share(
            game, seen, loss, error, metrics["kernel_loss"], number
        )
    taken = at_action(reply.q.observation, batch.action)
    metrics["out_of_range"] = (outside(taken, scale) * game.weight).sum()
    metrics["solver_residual"] = residual
    gradient = leader_gradient(terms.aims, game, policy_of, actor, reply)
    return gradient, LinearMemory(memory.features, moments), metrics
