"""A table that answers exactly, from the counts of the whole data."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.networks import Network
from algorithms.stackelberg.followers.base import Follower, Played, Turn
from algorithms.stackelberg.game.game import Points
from algorithms.stackelberg.game.implicit import leader_gradient
from algorithms.stackelberg.game.tables import OnTable, TableGame, table_game, transition_game
from algorithms.stackelberg.game.terms import outside
from algorithms.stackelberg.game.unseen import OffSupport, worth
from algorithms.stackelberg.responses import squared_table
from algorithms.stackelberg.responses import table as table_response
from algorithms.stackelberg.responses.squared_table import TransitionWeights
from bench.types import Fraction


class TableRound(NamedTuple):
    """A leader's policy on a table and the follower's answer to it."""

    table: TableGame
    game: OnTable
    weights: table_response.Weights
    points: Points
    response: table_response.TableResponse

    @property
    def policy(self) -> Tensor:
        """The leader's probabilities, ``[states, actions]``."""
        return self.points.observation


@dataclass(frozen=True)
class TableFollower(Follower):
    """One number per state and action.

    Attributes:
        off_support: What pairs without data are worth (game/unseen.py).
        unvisited_quantile: What states without data are worth, unless all that is `v_min`: that
            quantile of the values that the data's behavior has, 0 the lowest.
    """

    off_support: OffSupport
    unvisited_quantile: Fraction

    name: ClassVar[str] = "table"
    tabular_only: ClassVar[bool] = True

    def minibatches(self) -> int:
        """Return none: the counts are all there is."""
        return 0

    def play(self, turn: Turn, phase: int) -> Played:
        """Return the leader's gradient against the exact answer."""
        terms, scale = turn.terms, turn.scale
        table, game, weights, points, response = played = self.round_of(turn)
        moves = table_response.direction(
            game,
            weights,
            played.policy,
            response,
            ridge=terms.damping(response.multiplier),
            constrained=terms.constrained,
        )
        reply = table_response.reply(game, weights, played.policy, response, moves)
        metrics = terms.metrics(game, points, reply, response.multiplier, scale)
        metrics |= table_response.metrics(
            game,
            terms.aims,
            weights,
            played.policy,
            response,
            moves,
            terms.discount,
            terms.damping(response.multiplier),
        )
        metrics["out_of_range"] = (outside(response.q, scale) * game.share).sum()

        def policy_of(actor: Network) -> Points:
            return _policy_on_states(actor, table)

        gradient = leader_gradient(terms.aims, game, policy_of, turn.actor, reply)
        return Played(gradient, turn.memory, metrics)

    def diagnose(self, turn: Turn, phase: int, *, total: bool) -> dict[str, Tensor]:
        """Return the smallest curvature and the share of pairs of a transition with itself."""
        terms, summary, scale = turn.terms, turn.summary, turn.scale
        assert summary.tabular is not None
        table, game, weights, points, response = self.round_of(turn)
        # The squared residual is nothing but its diagonal.
        share = torch.ones_like(response.multiplier)
        if isinstance(weights, table_response.CellWeights):
            error = game.residual(points, table_response.on_states(response.q))
            whole = (error * weights.weigh(error)).sum()
            singly = transition_game(summary.tabular, table, terms.discount, scale.width)
            diagonal = squared_table.diagonal_loss(
                singly, weights.own(), points.observation, response.q
            )
            tiny = torch.finfo(whole.dtype).tiny
            share = diagonal / summary.num_transitions.double() / whole.clamp_min(tiny)
        smallest = table_response.smallest_curvature(game, weights, response)
        return {"kernel_diagonal_share": share, "smallest_curvature": smallest}

    def critic_values(self, turn: Turn) -> Tensor:
        """Return the exact answer to the leader's policy ``[states, actions]``."""
        return turn.scale.width * self.round_of(turn).response.q

    def round_of(self, turn: Turn) -> TableRound:
        """Return the answer to the leader's policy."""
        terms, summary, scale = turn.terms, turn.summary, turn.scale
        assert summary.tabular is not None
        table = table_game(
            summary.tabular, summary.initial_observations, terms.discount, scale.width
        )
        weights: table_response.Weights = table_response.cell_weights(
            terms.kernel, table, terms.bandwidth
        )
        game: OnTable = table
        if terms.squared:
            game = transition_game(summary.tabular, table, terms.discount, scale.width)
            weights = TransitionWeights(game.weight)
        points = _policy_on_states(turn.actor, table)
        number = summary.num_transitions.double()
        response = table_response.best_response(
            game,
            terms.aims,
            weights,
            points.observation,
            worth(table, self.off_support, self.unvisited_quantile, scale.v_min),
            multiplier=None if terms.constrained else terms.multiplier(number),
            allowed_loss=terms.allowed_loss(number),
        )
        return TableRound(table, game, weights, points, response)


def _policy_on_states(actor: Network, table: TableGame) -> Points:
    states = torch.arange(len(table.share), device=table.share.device)
    return table_response.on_states(networks.apply(actor, states).double().softmax(-1))
