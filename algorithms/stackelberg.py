"""StackelbergLearner (Zhou and Qu, "Stackelberg Batch Policy Learning", arXiv 2309.16188).

    leader      max_theta  J_L(theta, psi*(theta))
    follower    psi*(theta) = argmin_psi  pessimism + lambda L_K + regularization |psi - psi_0|^2
                or  argmin_psi  pessimism + regularization |psi - psi_0|^2   s.t.  L_K <= C^2 / n
    update      theta += Adam( direct_gradient + implicit_term )       (algorithms/implicit.py)

with lambda = n / C, C the conservatism and L_K the kernel loss of the Bellman residual
(algorithms/game.py, algorithms/kernels.py). The follower answers as a table by its exact best
response, as a linear function of random features likewise, both in float64.

Differences from the paper: the follower's exact response replaces gradient steps where there is
one; the implicit term needs no second derivatives; pessimism may be absolute, the leader's
objective that of initial states; a kernel loss can be normalised by the data's density.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from algorithms import linear_follower, networks, neural_follower, neural_play, table_follower
from algorithms import moments as data_moments
from algorithms.base import Algorithm, Categorical, Metrics
from algorithms.game import (
    Aims,
    Game,
    Objective,
    Pessimism,
    Points,
    Units,
    batch_game,
    table_game,
    units,
)
from algorithms.implicit import LeaderGradient, Reply, cosine, leader_gradient, norm
from algorithms.kernels import Kernel
from algorithms.networks import Network
from algorithms.objectives import at_action
from algorithms.optimizers import AdamState, adam, adam_init
from bench.types import (
    Batch,
    Count,
    DataSummary,
    EnvSpec,
    Natural,
    NonNegative,
    Positive,
    PositiveFraction,
)

Follower = Literal["auto", "table", "linear", "neural"]

# Variants of an update, for neural followers; the others know the first alone.
LEAD, WARM_START, LEAD_AND_SOLVE = 0, 1, 2


class State(NamedTuple):
    """The leader's logits with their optimiser, the units, and what the follower remembers."""

    actor: Network
    optimizer: AdamState
    units: Units
    follower: Any


class LinearMemory(NamedTuple):
    """What a linear follower remembers."""

    features: data_moments.Features
    moments: data_moments.Moments


@dataclass(frozen=True)
class StackelbergLearner(Algorithm):
    """A policy that leads a pessimistic critic and knows how the critic will answer."""

    follower: Follower
    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    objective: Objective
    pessimism: Pessimism
    form: Literal["penalty", "constraint"]
    kernel: Kernel
    kernel_loss: Literal["u", "v"]
    bandwidth: Positive | Literal["median"]
    conservatism: Positive
    leader_gradient: Literal["total", "individual"]
    ridge: NonNegative | None
    regularization: Positive
    num_features: Count
    moment_rate: PositiveFraction
    follower_hidden_sizes: tuple[Count, ...]
    follower_learning_rate: Positive
    follower_updates: Count
    multiplier_rate: Positive
    warm_updates: Natural
    solve_interval: Count
    curvature: Literal["gauss_newton", "exact"]
    curvature_minibatches: Count
    solver: neural_follower.Solver

    def __post_init__(self) -> None:
        """Refuse what makes no sense together.

        Raises:
            ValueError: With what is wrong and what would be right.
        """
        if self.kernel_loss == "u" and self.follower != "neural":
            raise ValueError(
                "kernel_loss=u has no exact response, its curvature is indefinite: use "
                "kernel_loss=v or follower=neural"
            )
        if self.kernel == "normalized_delta" and self.follower not in ("auto", "table"):
            raise ValueError(
                "kernel=normalized_delta divides by the data's share of a cell, so it needs "
                "follower=table; normalized_feature is its like elsewhere"
            )
        if self.kernel == "delta" and self.follower in ("linear", "neural"):
            raise ValueError(
                f"kernel=delta has no features, which follower={self.follower} works with"
            )
        if self.follower == "neural" and self.ridge is None:
            raise ValueError(
                "ridge is null, but follower=neural has a curvature of low rank, which needs one"
            )

    def kind(self, summary: DataSummary) -> str:
        """Return which follower it is: by default a table where there are counts."""
        if self.follower != "auto":
            return self.follower
        return "linear" if summary.tabular is None else "table"

    @property
    def aims(self) -> Aims:
        """What the two players are after."""
        return Aims(self.objective, self.pessimism)

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return a near-uniform policy and a follower that has seen nothing."""
        actor = networks.action_network(spec, self.hidden_sizes, generator)
        memory: Any = ()
        if self.kind(summary) != "table":
            number = self.num_features
            features = data_moments.draw_features(
                self.kernel, spec.observation_size, number, generator
            )
            memory = LinearMemory(features, data_moments.no_moments(number * spec.num_actions))
            if self.kernel in ("delta", "normalized_delta"):
                raise ValueError(f"kernel={self.kernel} needs a table, which the data is not")
        if self.kind(summary) == "neural":
            critic = networks.action_network(spec, self.follower_hidden_sizes, generator)
            memory = neural_play.remember(critic, features, spec.num_actions)
        return State(actor, adam_init(actor), units(spec), memory)

    def update(
        self,
        state: State,
        summary: DataSummary,
        batch: Batch | None,
        noise: dict[str, Tensor],
        phase: int,
    ) -> tuple[State, Metrics]:
        """Let the follower answer the leader's policy, then take one Adam step as the leader."""
        kind = self.kind(summary)
        if kind == "neural" and phase == WARM_START:
            assert batch is not None
            return self._warm_start(state, summary, batch)
        if kind == "table":
            gradient, memory, metrics = self._against_table(state, summary)
        elif kind == "linear":
            assert batch is not None
            gradient, memory, metrics = self._against_linear(state, summary, batch)
        else:
            assert batch is not None
            solve = phase == LEAD_AND_SOLVE
            gradient, memory, metrics = self._against_network(state, summary, batch, solve)
        followed = gradient.direct
        if self.leader_gradient == "total":
            followed = tree_map(torch.add, gradient.direct, gradient.implicit)
        ascent = tree_map(torch.neg, followed)
        actor, optimizer = adam(ascent, state.optimizer, state.actor, self.learning_rate)
        metrics |= {
            "direct_gradient": norm(gradient.direct),
            "implicit_term": norm(gradient.implicit),
            "total_derivative": norm(tree_map(torch.add, gradient.direct, gradient.implicit)),
            "cosine_direct_implicit": cosine(gradient.direct, gradient.implicit),
        }
        metrics = {name: value.float() for name, value in metrics.items()}
        return State(actor, optimizer, state.units, memory), metrics

    def minibatches(self, spec: EnvSpec) -> int:
        """Return none where the follower works on counts."""
        on_counts = self.follower in ("auto", "table") and spec.observation_kind == "discrete"
        if self.follower == "neural":
            return 2 * self.curvature_minibatches
        return 0 if on_counts else self.num_minibatches

    def phase(self, step: int) -> int:
        """Return which variant of the update a neural follower's step takes."""
        if self.follower != "neural":
            return LEAD
        if step < self.warm_updates:
            return WARM_START
        solves = (
            self.leader_gradient == "total"
            and (step - self.warm_updates) % self.solve_interval == 0
        )
        return LEAD_AND_SOLVE if solves else LEAD

    @property
    def tabular_only(self) -> bool:  # type: ignore[override]
        """Whether the follower is a table."""
        return self.follower == "table"

    def policy(self, state: State, observation: Tensor) -> Categorical:
        """Return the leader's policy."""
        return Categorical(networks.apply(state.actor, observation))

    def _against_table(
        self, state: State, summary: DataSummary
    ) -> tuple[LeaderGradient, Any, Metrics]:
        """Return the leader's gradient against a table that has answered exactly."""
        assert summary.tabular is not None
        discount, scale = self._discount(), state.units
        game = table_game(summary.tabular, summary.initial_observations, discount, scale.width)
        weights = table_follower.cell_weights(self.kernel, game, self._bandwidth(summary))
        states = torch.eye(len(game.share), device=game.share.device)

        def policy_of(actor: Network) -> Points:
            logits = networks.apply(actor, states).double()
            return table_follower.on_states(logits.softmax(-1))

        points = policy_of(state.actor)
        policy, number = points.observation, summary.num_transitions.double()
        response = table_follower.best_response(
            game, self.aims, weights, policy, scale.v_min,
            multiplier=number / self.conservatism if self.form == "penalty" else None,
            allowed_loss=self._allowed_loss(number),
        )  # fmt: skip
        moves = table_follower.direction(
            game, weights, policy, response,
            ridge=self.ridge, constrained=self.form == "constraint",
        )  # fmt: skip
        reply = table_follower.reply(game, weights, policy, response, moves)
        gradient = leader_gradient(self.aims, game, policy_of, state.actor, reply)
        metrics = table_follower.metrics(
            game, self.aims, weights, policy, response, moves, discount
        )
        outside = _outside(response.q, scale) * game.share
        metrics |= self._common_metrics(game, points, reply, response.multiplier, scale, summary)
        return gradient, state.follower, metrics | {"out_of_range": outside.sum()}

    def _against_linear(
        self, state: State, summary: DataSummary, batch: Batch
    ) -> tuple[LeaderGradient, LinearMemory, Metrics]:
        """Return the leader's gradient against a linear critic that has answered exactly."""
        discount, scale, features = self._discount(), state.units, state.follower.features
        game = batch_game(batch, discount, scale.width)
        places = Points(batch.observation, batch.next_observation, summary.initial_observations)

        def policy_of(actor: Network) -> Points:
            return Points(*(networks.apply(actor, x).double().softmax(-1) for x in places))

        policy = policy_of(state.actor)
        num_actions = policy.initial.shape[-1]
        seen = data_moments.features_of(features, self.kernel, self._bandwidth(summary), places)
        rows = batch.weight.double().sum()
        now = data_moments.moments_of(game, seen, policy, scale.v_min, rows)
        moments = data_moments.running_mean(state.follower.moments, now, self.moment_rate)
        loss = linear_follower.quadratic(self.kernel, moments)
        initial = data_moments.per_action(policy.initial, seen.initial).mean(0)
        starts = linear_follower.starts(self.aims, moments, initial)
        # A loss estimated on fewer transitions than there are deserves less weight.
        number = torch.minimum(summary.num_transitions.double(), 1 / moments.inverse_size)
        respond = linear_follower.best_response
        response = respond(loss, starts.follower, self.regularization, number / self.conservatism)
        if self.form == "constraint":
            response = linear_follower.constrained_response(
                loss, starts.follower, self.regularization, self._allowed_loss(number), number
            )
        moves, residual = linear_follower.direction(
            loss, response, starts.leader, ridge=self.ridge, constrained=self.form == "constraint"
        )
        reply = linear_follower.reply(game, seen, loss, response, moves, scale.v_min, num_actions)
        gradient = leader_gradient(self.aims, game, policy_of, state.actor, reply)
        metrics = linear_follower.metrics(
            game,
            seen,
            loss,
            response,
            starts,
            self.regularization,
            policy,
            reply.q,
            discount,
            number,
        )
        outside = _outside(at_action(reply.q.observation, batch.action), scale) * game.weight
        metrics |= self._common_metrics(game, policy, reply, response.multiplier, scale, summary)
        metrics |= {"out_of_range": outside.sum(), "solver_residual": residual}
        return gradient, LinearMemory(features, moments), metrics

    def _against_network(
        self, state: State, summary: DataSummary, batch: Batch, solve: bool
    ) -> tuple[LeaderGradient, neural_play.Memory, Metrics]:
        """Return the leader's gradient against a network that has answered by Adam steps."""
        settings, scale, memory = self._neural(summary), state.units, state.follower
        for index in range(self.follower_updates):
            at = index % self.curvature_minibatches
            one = Batch(*(x[at] for x in batch))
            memory = neural_play.respond(settings, state.actor, memory, summary, one, scale)
        gradient, memory, game, reply, metrics = neural_play.lead(
            settings, state.actor, memory, summary, batch, scale, solve=solve
        )
        policy = neural_play.policy_at(state.actor, game[1])
        metrics |= self._common_metrics(
            game[0], policy, reply, metrics["multiplier"], scale, summary
        )
        along = 2 * metrics["multiplier"] * self.aims.leader(game[0], policy, reply.q_dot)
        metrics |= {"concentrability": (1 - self._discount()) ** 2 * along}
        return gradient, memory, metrics | {"out_of_range": torch.zeros_like(along)}

    def _warm_start(
        self, state: State, summary: DataSummary, batch: Batch
    ) -> tuple[State, Metrics]:
        """Return the state after cloning the data's behavior and evaluating it for one step."""
        warm = neural_play.warm_start(
            self._neural(summary), state.actor, state.follower, summary,
            Batch(*(x[0] for x in batch)), state.units,
        )  # fmt: skip
        actor, optimizer = adam(warm.cloning, state.optimizer, state.actor, self.learning_rate)
        metrics = {name: value.float() for name, value in warm.metrics.items()}
        return State(actor, optimizer, state.units, warm.memory), metrics

    def _neural(self, summary: DataSummary) -> neural_play.Settings:
        assert self.ridge is not None
        return neural_play.Settings(
            self.aims, self.form, self.kernel, self.kernel_loss, self._bandwidth(summary),
            self.conservatism, self._discount(), self.regularization, self.ridge,
            self.curvature, self.solver, self.follower_learning_rate, self.multiplier_rate,
        )  # fmt: skip

    def _discount(self) -> Tensor:
        return torch.as_tensor(self.discount, dtype=torch.float64)

    def _bandwidth(self, summary: DataSummary) -> Tensor:
        chosen = summary.bandwidth if self.bandwidth == "median" else self.bandwidth
        return torch.as_tensor(chosen, dtype=torch.float64)

    def _allowed_loss(self, number: Tensor) -> Tensor:
        """Return ``C^2 / n``, which the constraint form allows."""
        return self.conservatism**2 / number

    def _common_metrics(
        self,
        game: Game,
        policy: Points,
        reply: Reply,
        multiplier: Tensor,
        scale: Units,
        summary: DataSummary,
    ) -> Metrics:
        """Return what every follower can say; values are in the environment's units."""
        return {
            "follower_value": scale.width * game.initial_value(policy, reply.q),
            "leader_objective": scale.width * self.aims.leader(game, policy, reply.q),
            "pessimism": scale.width * self.aims.follower(game, policy, reply.q),
            "multiplier": multiplier,
            "bandwidth": self._bandwidth(summary),
            "ridge": torch.as_tensor(0.0 if self.ridge is None else self.ridge),
        }


def _outside(q: Tensor, scale: Units) -> Tensor:
    """Return 1 where a value is outside the range that any policy's can have, else 0."""
    # Rounding of the exact ends is not outside.
    slack = 1e-6
    return ((q < scale.v_min - slack) | (q > scale.v_max + slack)).to(q.dtype)
