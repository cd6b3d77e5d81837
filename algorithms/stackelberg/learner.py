"""StackelbergLearner (Zhou and Qu, "Stackelberg Batch Policy Learning", arXiv 2309.16188).

    leader      max_theta  J_L(theta, psi*(theta))
    follower    psi*(theta) = argmin_psi  pessimism + lambda L_K + regularization |psi - psi_0|^2
                or  argmin_psi  pessimism + regularization |psi - psi_0|^2   s.t.  L_K <= C^2 / n
    update      theta += Adam( direct_gradient + implicit_term )       (algorithms/implicit.py)

with lambda = n / C, C the conservatism and L_K the kernel loss of the Bellman residual
(algorithms/game.py, algorithms/kernels.py). The follower answers as a table or as a linear function
of random features by its exact best response (algorithms/exact_play.py), as a network by Adam steps
(algorithms/neural_play.py).

Differences from the paper: the follower's exact response replaces gradient steps where there is
one; the implicit term needs no second derivatives; pessimism may be absolute, the leader's
objective that of initial states; a kernel loss can be normalised by the data's density, or be
the plain mean squared residual instead, for comparison.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.base import Algorithm, Categorical, Metrics
from algorithms.networks import Network
from algorithms.optimizers import AdamState, adam, adam_init
from algorithms.stackelberg import exact_play, neural_play
from algorithms.stackelberg.followers import memory as neural_memory
from algorithms.stackelberg.followers import neural as neural_follower
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import Aims, Objective, Pessimism, Units, units
from algorithms.stackelberg.game.implicit import LeaderGradient, cosine, norm
from algorithms.stackelberg.game.kernels import Kernel
from algorithms.stackelberg.game.terms import Form, Terms
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


@dataclass(frozen=True)
class StackelbergLearner(Algorithm):
    """A policy that leads a pessimistic critic and knows how the critic will answer."""

    follower: Follower
    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    objective: Objective
    pessimism: Pessimism
    form: Form
    kernel: Kernel
    kernel_loss: Literal["u", "v", "squared"]
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
        if self.kernel_loss == "squared" and self.form == "constraint":
            raise ValueError(
                "kernel_loss=squared cannot be limited, noise alone keeps it above what a "
                "constraint allows: use form=penalty"
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

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return a near-uniform policy and a follower that has seen nothing."""
        actor = networks.action_network(spec, self.hidden_sizes, generator)
        memory: Any = ()
        if self.kind(summary) != "table":
            number = self.num_features
            features = data_moments.draw_features(
                self.kernel, spec.observation_size, number, generator
            )
            empty = data_moments.no_moments(number * spec.num_actions)
            memory = exact_play.LinearMemory(features, empty)
            if self.kernel in ("delta", "normalized_delta"):
                raise ValueError(f"kernel={self.kernel} needs a table, which the data is not")
        if self.kind(summary) == "neural":
            critic = networks.action_network(spec, self.follower_hidden_sizes, generator)
            memory = neural_memory.remember(critic, features, spec.num_actions)
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
        if self.follower == "neural" and phase == WARM_START:
            assert batch is not None
            return self._warm_start(state, summary, batch)
        gradient, memory, metrics = self._play(state, summary, batch, phase == LEAD_AND_SOLVE)
        followed = gradient.total if self.leader_gradient == "total" else gradient.direct
        ascent = tree_map(torch.neg, followed)
        actor, optimizer = adam(ascent, state.optimizer, state.actor, self.learning_rate)
        metrics |= {
            "direct_gradient": norm(gradient.direct),
            "implicit_term": norm(gradient.implicit),
            "total_derivative": norm(gradient.total),
            "cosine_direct_implicit": cosine(gradient.direct, gradient.implicit),
        }
        metrics = {name: value.float() for name, value in metrics.items()}
        return State(actor, optimizer, state.units, memory), metrics

    def diagnose(
        self, state: State, summary: DataSummary, batch: Batch, phase: int
    ) -> dict[str, Tensor]:
        """Return what the follower's answer to the leader as it is now says of itself."""
        kind, terms = self.kind(summary), self._terms(summary)
        game = state.actor, state.follower, summary, batch, state.units
        if kind == "table":
            metrics = exact_play.diagnose_table(terms, state.actor, summary, state.units)
        elif kind == "linear":
            metrics = exact_play.diagnose_linear(terms, *game, self.moment_rate)
        elif phase == WARM_START:
            return {}
        else:
            total = self.leader_gradient == "total"
            metrics = neural_play.diagnose(self._neural(summary), *game, total=total)
        return {name: value.float() for name, value in metrics.items()}

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

    def _terms(self, summary: DataSummary) -> Terms:
        bandwidth = summary.bandwidth if self.bandwidth == "median" else self.bandwidth
        return Terms(
            aims=Aims(self.objective, self.pessimism),
            form=self.form,
            kernel=self.kernel,
            bandwidth=torch.as_tensor(bandwidth, dtype=torch.float64),
            conservatism=self.conservatism,
            discount=torch.as_tensor(self.discount, dtype=torch.float64),
            regularization=self.regularization,
            ridge=self.ridge,
            squared=self.kernel_loss == "squared",
        )

    def _neural(self, summary: DataSummary) -> neural_memory.Settings:
        assert self.ridge is not None
        return neural_memory.Settings(
            self._terms(summary), self.kernel_loss, self.ridge, self.curvature, self.solver,
            self.follower_learning_rate, self.multiplier_rate,
        )  # fmt: skip

    def _play(
        self, state: State, summary: DataSummary, batch: Batch | None, solve: bool
    ) -> tuple[LeaderGradient, Any, Metrics]:
        """Return the leader's gradient against its follower's answer, and what to log."""
        actor, scale, memory = state.actor, state.units, state.follower
        kind, terms = self.kind(summary), self._terms(summary)
        if kind == "table":
            gradient, metrics = exact_play.against_table(terms, actor, summary, scale)
            return gradient, memory, metrics
        assert batch is not None
        if kind == "linear":
            return exact_play.against_linear(
                terms, actor, memory, summary, batch, scale, self.moment_rate
            )
        settings = self._neural(summary)
        for index in range(self.follower_updates):
            one = Batch(*(x[index % self.curvature_minibatches] for x in batch))
            memory = neural_play.respond(settings, actor, memory, summary, one, scale)
        return neural_play.lead(settings, actor, memory, summary, batch, scale, solve=solve)

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
