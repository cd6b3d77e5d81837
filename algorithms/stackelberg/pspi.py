"""Pessimistic soft policy iteration (PSPI; Xie, Cheng, Jiang, Mineiro, Agarwal 2021, alg. 1).

    critic   f_k = argmin_f  E_s0[ f(s0, pi_k) ] + lambda E_data[ (f - T_pi_k f)(s, a)^2 ]
    actor    pi_{k+1}(a|s)  proportional to  pi_k(a|s) exp(learning_rate f_k(s, a))

on tables, where both are exact: residuals are means over all transitions of a pair, which is what
the paper's second minimisation (over f') subtracts the noise for. lambda is n / `conservatism`.
In random features instead: linear_pspi.py.

It is `stackelberg` with other pieces. The critic is the same follower, to the last digit: the
exact one of a table under the kernel `normalized_delta`, with the objective of initial states and
absolute pessimism. The leader moves along the critic itself, by mirror descent, where that of
`stackelberg` moves by Adam along a derivative; the `individual` one is this direction, weighed by
visits and probabilities.

Differences from the paper: the last policy acts, by its mode, instead of all in equal shares; the
critic is not clipped to the range of values; a pair without data, where nothing bounds f from
below, has the lowest value there can be.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Categorical
from algorithms.networks import rows
from algorithms.stackelberg.game.game import Aims, Units, units
from algorithms.stackelberg.game.tables import table_game
from algorithms.stackelberg.responses import table as table_response
from bench.types import Batch, DataSummary, EnvSpec, Positive

AIMS = Aims("initial", "absolute")


class State(NamedTuple):
    """Logits of the policy ``[states, actions]``, in units of the critic's, and these units."""

    logits: Tensor
    units: Units


@dataclass(frozen=True)
class PessimisticSoftPolicyIteration(Algorithm):
    """Mirror descent along the lowest critic that the data allows.

    Attributes:
        learning_rate: Of mirror descent, per unit of the range of values.
        conservatism: C; lambda is n / C.
    """

    learning_rate: Positive
    conservatism: Positive

    num_minibatches: ClassVar[int] = 0
    tabular_only: ClassVar[bool] = True
    dense_counts: ClassVar[bool] = False
    dense_states: ClassVar[bool] = True

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return the uniform policy."""
        logits = torch.zeros(spec.observation_size, spec.num_actions, dtype=torch.float64)
        return State(logits, units(spec))

    def update(
        self,
        state: State,
        summary: DataSummary,
        batch: Batch | None,
        noise: dict[str, Tensor],
        phase: int,
    ) -> tuple[State, Metrics]:
        """Ask for the critic of the policy, then take one step along it."""
        assert summary.tabular is not None
        discount = torch.as_tensor(self.discount, dtype=torch.float64)
        game = table_game(
            summary.tabular, summary.initial_observations, discount, state.units.width
        )
        weights = table_response.cell_weights("normalized_delta", game, 1.0)
        number = summary.num_transitions.double()
        policy = state.logits.softmax(-1)
        response = table_response.best_response(
            game,
            AIMS,
            weights,
            policy,
            state.units.v_min,
            multiplier=number / self.conservatism,
            allowed_loss=number,
        )
        points, critic = table_response.on_states(policy), table_response.on_states(response.q)
        error = game.residual(points, critic)
        metrics = {
            "lower_bound": state.units.width * game.initial_value(points, critic),
            "bellman_error": (error * weights.weigh(error)).sum(),
        }
        logits = state.logits + self.learning_rate * response.q
        # A constant per state changes nothing and would grow.
        logits = logits - logits.amax(-1, keepdim=True)
        moved = (logits.softmax(-1) - policy).abs().amax()
        metrics = {name: value.float() for name, value in {**metrics, "change": moved}.items()}
        return State(logits, state.units), metrics

    def policy(self, state: State, observation: Tensor) -> Categorical:
        """Return the policy at states ``[...]``."""
        return Categorical(rows(state.logits, observation).float())

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor:
        """Return the critic of a policy, whichever it is."""
        assert summary.tabular is not None
        discount = torch.as_tensor(self.discount, dtype=torch.float64)
        game = table_game(
            summary.tabular, summary.initial_observations, discount, state.units.width
        )
        number = summary.num_transitions.double()
        response = table_response.best_response(
            game,
            AIMS,
            table_response.cell_weights("normalized_delta", game, 1.0),
            policy,
            state.units.v_min,
            multiplier=number / self.conservatism,
            allowed_loss=number,
        )
        return state.units.width * response.q
