"""A linear function of random features that answers exactly, from running moments of the data."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.networks import Network
from algorithms.objectives import at_action
from algorithms.stackelberg.followers.base import Follower, Played, Turn, need_features
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import BatchGame, Points, batch_game
from algorithms.stackelberg.game.implicit import cosine, leader_gradient
from algorithms.stackelberg.game.kernels import Kernel
from algorithms.stackelberg.game.terms import KernelLoss, Terms, outside
from algorithms.stackelberg.responses import linear as linear_response
from bench.types import Batch, Count, EnvSpec, Positive, PositiveFraction


class LinearMemory(NamedTuple):
    """What a linear follower remembers."""

    features: data_moments.Features
    moments: data_moments.Moments


class LinearRound(NamedTuple):
    """A leader's policy on a batch and the answer of a follower linear in features.

    Attributes:
        game: The game on the batch.
        places: Its observations.
        policy: The leader's probabilities there.
        seen: The features there.
        moments: Of all batches so far, this one included.
        answer: The follower's.
    """

    game: BatchGame
    places: Points
    policy: Points
    seen: data_moments.Seen
    moments: data_moments.Moments
    answer: linear_response.Answer


@dataclass(frozen=True)
class LinearFollower(Follower):
    """A critic in random features per action.

    Attributes:
        regularization: Weight of its parameters in its objective.
        num_features: Features per action.
        moment_rate: Least weight of the last minibatch in the moments.
    """

    regularization: Positive
    num_features: Count
    moment_rate: PositiveFraction

    name: ClassVar[str] = "linear"

    def check(self, kernel: Kernel, kernel_loss: KernelLoss, ridge: float | None) -> None:
        """Refuse kernels without features."""
        super().check(kernel, kernel_loss, ridge)
        need_features(kernel, self.name)

    def remember(self, spec: EnvSpec, kernel: Kernel, generator: torch.Generator) -> LinearMemory:
        """Return the features and no moments."""
        features = data_moments.draw_features(
            kernel, spec.observation_size, self.num_features, generator
        )
        return LinearMemory(features, data_moments.no_moments(self.num_features * spec.num_actions))

    def play(self, turn: Turn, phase: int) -> Played:
        """Return the leader's gradient against the exact answer to the moments so far."""
        terms, batch = turn.terms, turn.batch
        assert batch is not None
        played = self.round_of(turn)
        game, policy, answer = played.game, played.policy, played.answer
        response = answer.response
        moves, residual = linear_response.direction(
            answer.loss,
            response,
            answer.starts.leader,
            ridge=terms.damping(response.multiplier),
            constrained=terms.constrained,
        )
        reply = linear_response.reply(
            game,
            policy,
            played.seen,
            answer.loss,
            response,
            moves,
            turn.scale.v_min,
            policy.initial.shape[-1],
        )
        metrics = terms.metrics(game, policy, reply, response.multiplier, turn.scale)
        metrics |= linear_response.metrics(
            answer.loss, response, answer.starts, terms.discount, self.regularization
        )
        taken = at_action(reply.q.observation, batch.action)
        metrics["out_of_range"] = (outside(taken, turn.scale) * game.weight).sum()
        metrics["solver_residual"] = residual

        def policy_of(actor: Network) -> Points:
            return _policy_at(actor, played.places)

        gradient = leader_gradient(terms.aims, game, policy_of, turn.actor, reply)
        return Played(gradient, LinearMemory(turn.memory.features, played.moments), metrics)

    def diagnose(self, turn: Turn, phase: int, *, total: bool) -> dict[str, Tensor]:
        """Return curvature, share of pairs with themselves, and the cosine of two batches.

        `cosine_batches` is that of the implicit terms that an update would take on either half of
        the batch alone: what the moments remember of other batches is the same for both.
        """
        assert turn.batch is not None
        played = self.round_of(turn)
        loss, response = played.answer.loss, played.answer.response
        # The squared residual is nothing but its diagonal.
        share = torch.ones_like(played.answer.number)
        if isinstance(loss, linear_response.Quadratic):
            q = linear_response.values(
                played.seen,
                response.weights,
                turn.scale.v_min,
                played.policy.initial.shape[-1],
            )
            share = linear_response.diagonal_share(
                played.game,
                played.seen,
                loss,
                played.game.residual(played.policy, q),
                loss.value(response.weights),
                played.answer.number,
            )
        first, second = (
            self.play(turn._replace(batch=half), phase).gradient.implicit
            for half in halves(turn.batch)
        )
        return {
            "kernel_diagonal_share": share,
            "smallest_curvature": linear_response.smallest_curvature(response),
            "cosine_batches": cosine(first, second),
        }

    def round_of(self, turn: Turn) -> LinearRound:
        """Return the answer to the leader's policy, this batch being one of all so far."""
        terms, batch, summary, scale = turn.terms, turn.batch, turn.summary, turn.scale
        assert batch is not None
        game = batch_game(batch, terms.discount, scale.width)
        places = Points(batch.observation, batch.next_observation, summary.initial_observations)
        policy = _policy_at(turn.actor, places)
        seen = data_moments.features_of(turn.memory.features, terms.kernel, terms.bandwidth, places)
        rows = batch.weight.double().sum()
        now = data_moments.moments_of(game, seen, policy, scale.v_min, rows)
        if terms.squared:
            now = data_moments.squares_of(now, game, seen, policy, scale.v_min)
        moments = data_moments.running_mean(turn.memory.moments, now, self.moment_rate)
        initial = data_moments.per_action(policy.initial, seen.initial).mean(0)
        answer = answer_to(terms, moments, initial, summary.num_transitions, self.regularization)
        return LinearRound(game, places, policy, seen, moments, answer)


def answer_to(
    terms: Terms,
    moments: data_moments.Moments,
    initial: Tensor,
    num_transitions: Tensor,
    regularization: float | Tensor,
    anchor: Tensor | None = None,
) -> linear_response.Answer:
    """Return the answer to the policy that moments are of, given ``E_s0[phi(s0, pi)]``.

    `regularization` draws the weights to an anchor ``[features]``, by default 0.
    """
    loss = linear_response.quadratic(terms.kernel, moments, terms.squared)
    starts = linear_response.starts(terms.aims, moments, initial)
    if anchor is not None:  # |w - anchor|^2 is |w|^2 - 2 anchor . w and a constant
        starts = starts._replace(follower=starts.follower - 2 * regularization * anchor)
    # A loss estimated on fewer transitions than there are deserves less weight.
    number = torch.minimum(num_transitions.double(), 1 / moments.inverse_size)
    if terms.constrained:
        response = linear_response.constrained_response(
            loss, starts.follower, regularization, terms.allowed_loss(number), number
        )
    else:
        response = linear_response.best_response(
            loss, starts.follower, regularization, terms.multiplier(number)
        )
    return linear_response.Answer(loss, starts, number, response)


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


def _policy_at(actor: Network, places: Points) -> Points:
    return Points(*(networks.apply(actor, x).double().softmax(-1) for x in places))
