"""A linear function of features of (s, a), for continuous actions, that answers exactly.

    q(s, a) = base + phi(s, a) . w

with phi random features of (s / bandwidth, a / action_bandwidth), or learned ones (features.py).
Its answer and where that moves are those of every quadratic game (responses/linear.py); what is its
own is how a policy enters: by the features of the actions that it takes.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.networks import Network
from algorithms.objectives import best_episodes
from algorithms.stackelberg.followers.base import (
    LEAD,
    WARM_START,
    Follower,
    Played,
    Turn,
    WarmStart,
    need_features,
)
from algorithms.stackelberg.followers.linear import LinearMemory, answer_to, halves
from algorithms.stackelberg.game import kernels
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import Points
from algorithms.stackelberg.game.implicit import Reply, cosine, leader_gradient
from algorithms.stackelberg.game.kernels import SMOOTH, Kernel
from algorithms.stackelberg.game.pairs import PairGame, in_bandwidths, pair_game
from algorithms.stackelberg.game.terms import KernelLoss, outside
from algorithms.stackelberg.responses import linear as linear_response
from bench.types import ActionKind, Count, EnvSpec, Natural, Positive, PositiveFraction


class PairRound(NamedTuple):
    """A leader's policy on a batch and the answer to it.

    Attributes:
        game: The game on the batch; what its critics take in are features.
        policy: The features where the policy acts.
        seen: The kernel's features at the data's pairs.
        moments: Of all batches so far, this one included.
        answer: The follower's.
    """

    game: PairGame
    policy: Points
    seen: Tensor
    moments: data_moments.Moments
    answer: linear_response.Answer


class Prior(NamedTuple):
    """What a follower's weights are drawn to.

    Attributes:
        regularization: Weight of their squared distance from it.
        anchor: ``[num_features]``; None is 0.
    """

    regularization: float | Tensor
    anchor: Tensor | None


@dataclass(frozen=True)
class PairFollower(Follower):
    """A critic in random features of observation and action.

    Attributes:
        regularization: Weight of its parameters in its objective.
        num_features: Features in all.
        moment_rate: Least weight of the last minibatch in the moments.
        action_bandwidth: Scale of actions, which lie in [-1, 1].
        warm_updates: Of behavior cloning, before the leader leads.
        top_fraction: Of the episodes, the best of which the leader starts from a clone of.
    """

    regularization: Positive
    num_features: Count
    moment_rate: PositiveFraction
    action_bandwidth: Positive
    warm_updates: Natural
    top_fraction: PositiveFraction

    name: ClassVar[str] = "pairs"
    action_kind: ClassVar[ActionKind] = "continuous"

    def check(self, kernel: Kernel, kernel_loss: KernelLoss, ridge: float | None) -> None:
        """Refuse kernels without features."""
        super().check(kernel, kernel_loss, ridge)
        need_features(kernel, self.name)

    def phase(self, step: int, *, total: bool) -> int:
        """Return whether a step clones or leads."""
        return WARM_START if step < self.warm_updates else LEAD

    def remember(self, spec: EnvSpec, kernel: Kernel, generator: torch.Generator) -> Any:
        """Return the features and no moments."""
        size = spec.observation_size + spec.action_size
        features = data_moments.draw_features(kernel, size, self.num_features, generator)
        return LinearMemory(features, data_moments.no_moments(self.num_features))

    def warm_start(self, turn: Turn) -> WarmStart:
        """Return a step of cloning; there is nothing that the critic could learn before a game."""
        assert turn.batch is not None
        weight = best_episodes(turn.batch, turn.summary, self.top_fraction)
        best = turn.batch._replace(weight=weight)
        gradient, loss = torch.func.grad_and_value(turn.leader.cloning_loss)(turn.actor, best)
        return WarmStart(gradient, turn.memory, {"cloning_loss": loss})

    def play(self, turn: Turn, phase: int) -> Played:
        """Return the leader's gradient against the exact answer to the moments so far."""
        terms, scale = turn.terms, turn.scale
        played = self.round_of(turn)
        game, policy, answer = played.game, played.policy, played.answer
        moves, residual = linear_response.direction(
            answer.loss,
            answer.response,
            answer.starts.leader,
            ridge=terms.damping(answer.response.multiplier),
            constrained=terms.constrained,
        )
        reply = reply_of(played, moves, scale.base)
        metrics = terms.metrics(game, policy, reply, answer.response.multiplier, scale)
        metrics |= linear_response.metrics(
            answer.loss,
            answer.response,
            answer.starts,
            terms.discount,
            self.prior(turn).regularization,
        )
        metrics["out_of_range"] = (outside(reply.q(game.taken), scale) * game.weight).sum()
        metrics["solver_residual"] = residual

        def policy_of(actor: Network) -> Points:
            return self.policy_at(turn, actor)

        gradient = leader_gradient(terms.aims, game, policy_of, turn.actor, reply)
        return Played(gradient, turn.memory._replace(moments=played.moments), metrics)

    def diagnose(self, turn: Turn, phase: int, *, total: bool) -> dict[str, Tensor]:
        """Return curvature and the cosine of two batches; nothing in the warm start.

        `cosine_batches` as for `LinearFollower`.
        """
        if phase == WARM_START:
            return {}
        assert turn.batch is not None
        response = self.round_of(turn).answer.response
        first, second = (
            self.play(turn._replace(batch=half), phase).gradient.implicit
            for half in halves(turn.batch)
        )
        return {
            "smallest_curvature": linear_response.smallest_curvature(response),
            "cosine_batches": cosine(first, second),
        }

    def round_of(self, turn: Turn) -> PairRound:
        """Return the answer to the leader's policy, this batch being one of all so far."""
        terms, batch, summary = turn.terms, turn.batch, turn.summary
        assert batch is not None
        taken = self.embed(turn, batch.observation, batch.action)
        seen = taken
        if terms.kernel in SMOOTH:
            features = turn.memory.features
            seen = kernels.random_features(
                self.pairs(turn, batch.observation, batch.action),
                features.kernel_frequency,
                features.kernel_phase,
                1.0,
            )
        game = pair_game(batch, taken, terms.discount, turn.scale.width)
        policy = self.policy_at(turn, turn.actor)
        rows = batch.weight.double().sum()
        now = data_moments.moments_of_pairs(game, policy, seen, turn.scale.base, rows)
        if terms.squared:
            now = data_moments.squares_of_pairs(now, game, policy, turn.scale.base)
        moments = data_moments.running_mean(turn.memory.moments, now, self.moment_rate)
        answer = answer_to(
            terms,
            moments,
            game.weight @ policy.initial,
            summary.num_transitions,
            *self.prior(turn),
        )
        return PairRound(game, policy, seen, moments, answer)

    def policy_at(self, turn: Turn, actor: Network) -> Points:
        """Return the features where the leader acts, as a function of its parameters."""
        batch = turn.batch
        assert batch is not None
        places = Points(batch.observation, batch.next_observation, batch.initial_observation)

        def at(name: str, observation: Tensor) -> Tensor:
            outputs = networks.apply(actor, observation)
            return self.embed(turn, observation, turn.leader.choices(outputs, turn.noise.get(name)))

        return Points(*(at(name, x) for name, x in places._asdict().items()))

    def embed(self, turn: Turn, observation: Tensor, action: Tensor) -> Tensor:
        """Return the critic's features of pairs ``[points, num_features]``, float64."""
        features = turn.memory.features
        pairs = self.pairs(turn, observation, action)
        return kernels.random_features(pairs, features.frequency, features.phase, 1.0)

    def prior(self, turn: Turn) -> Prior:
        """Return what regularization draws the weights to, and how much: to 0."""
        del turn
        return Prior(self.regularization, None)

    def pairs(self, turn: Turn, observation: Tensor, action: Tensor) -> Tensor:
        """Return observations and actions in units of their bandwidths, ``[points, sizes]``."""
        return in_bandwidths(observation, action, turn.terms.bandwidth, self.action_bandwidth)


def reply_of(played: PairRound, moves: linear_response.Direction, base: Tensor) -> Reply:
    """Return the answer as the leader needs it, on the batch."""
    game, answer = played.game, played.answer
    loss, response = answer.loss, answer.response
    doubled = 2 * response.multiplier

    def q(features: Tensor) -> Tensor:
        return base + features @ response.weights

    def q_dot(features: Tensor) -> Tensor:
        return features @ moves.along

    if isinstance(loss, linear_response.Squares):
        pull = doubled * game.weight * game.residual(played.policy, q)
        pull_dot = doubled * game.weight * game.residual_along(played.policy, q_dot)
        return Reply(q, q_dot, pull, pull_dot)

    def at_data(feature_pull: Tensor) -> Tensor:
        return game.weight * (played.seen @ loss.pull(feature_pull))

    pull = at_data(doubled * loss.residual(response.weights))
    pull_dot = at_data(doubled * -(loss.matrix @ moves.along))
    return Reply(q, q_dot, pull, pull_dot + moves.multiplier / response.multiplier * pull)
