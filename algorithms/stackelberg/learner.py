"""StackelbergLearner (Zhou and Qu, "Stackelberg Batch Policy Learning", arXiv 2309.16188).

    leader      max_theta  J_L(theta, psi*(theta))
    follower    psi*(theta) = argmin_psi  pessimism + lambda L_K + regularization |psi - psi_0|^2
                or  argmin_psi  pessimism + regularization |psi - psi_0|^2   s.t.  L_K <= C^2 / n
    update      theta += Adam( direct_gradient + implicit_term )       (game/implicit.py)

with lambda = n / C, C the conservatism and L_K the kernel loss of the Bellman residual
(game/game.py, game/kernels.py). The follower answers as a table or as a linear function
of random features by its exact best response, as a network by Adam steps (followers/).

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
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import Categorical
from algorithms.networks import Network
from algorithms.optimizers import AdamState, adam, adam_init
from algorithms.stackelberg.followers.base import WARM_START, Follower, Turn
from algorithms.stackelberg.game.game import Aims, Objective, Pessimism, Units, units
from algorithms.stackelberg.game.implicit import cosine, norm
from algorithms.stackelberg.game.kernels import Kernel
from algorithms.stackelberg.game.terms import Form, KernelLoss, Terms
from bench.types import Batch, Count, DataSummary, EnvSpec, NonNegative, Positive


class State(NamedTuple):
    """The leader's logits with their optimiser, the units, and what the follower remembers."""

    actor: Network
    optimizer: AdamState
    units: Units
    follower: Any


@dataclass(frozen=True)
class StackelbergLearner(Algorithm):
    """A policy that leads a pessimistic critic and knows how the critic will answer."""

    learning_rate: Positive
    hidden_sizes: tuple[Count, ...]
    objective: Objective
    pessimism: Pessimism
    form: Form
    kernel: Kernel
    kernel_loss: KernelLoss
    bandwidth: Positive | Literal["median"]
    conservatism: Positive
    leader_gradient: Literal["total", "individual"]
    ridge: NonNegative | None
    follower: Follower

    def __post_init__(self) -> None:
        """Refuse what makes no sense together.

        Raises:
            ValueError: With what is wrong and what would be right.
        """
        if self.kernel_loss == "squared" and self.form == "constraint":
            raise ValueError(
                "kernel_loss=squared cannot be limited, noise alone keeps it above what a "
                "constraint allows: use form=penalty"
            )
        self.follower.check(self.kernel, self.kernel_loss, self.ridge)

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return a near-uniform policy and a follower that has seen nothing."""
        actor = networks.action_network(spec, self.hidden_sizes, generator)
        memory = self.follower.remember(spec, self.kernel, generator)
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
        turn = self._turn(state, summary, batch)
        if phase == WARM_START:
            warm = self.follower.warm_start(turn)
            descent, memory, metrics = warm.cloning, warm.memory, warm.metrics
        else:
            gradient, memory, metrics = self.follower.play(turn, phase)
            followed = gradient.total if self.leader_gradient == "total" else gradient.direct
            descent = tree_map(torch.neg, followed)
            metrics |= {
                "direct_gradient": norm(gradient.direct),
                "implicit_term": norm(gradient.implicit),
                "total_derivative": norm(gradient.total),
                "cosine_direct_implicit": cosine(gradient.direct, gradient.implicit),
            }
        actor, optimizer = adam(descent, state.optimizer, state.actor, self.learning_rate)
        metrics = {name: value.float() for name, value in metrics.items()}
        return State(actor, optimizer, state.units, memory), metrics

    def diagnose(
        self, state: State, summary: DataSummary, batch: Batch | None, phase: int
    ) -> dict[str, Tensor]:
        """Return what the follower's answer to the leader as it is now says of itself."""
        turn, total = self._turn(state, summary, batch), self.leader_gradient == "total"
        metrics = self.follower.diagnose(turn, phase, total=total)
        return {name: value.float() for name, value in metrics.items()}

    def minibatches(self, spec: EnvSpec) -> int:
        """Return as many as the follower asks for."""
        return self.follower.minibatches()

    def phase(self, step: int) -> int:
        """Return which variant of an update the follower's step takes."""
        return self.follower.phase(step, total=self.leader_gradient == "total")

    @property
    def tabular_only(self) -> bool:  # type: ignore[override]
        """Whether the follower is a table."""
        return self.follower.tabular_only

    def policy(self, state: State, observation: Tensor) -> Categorical:
        """Return the leader's policy."""
        return Categorical(networks.apply(state.actor, observation))

    def _turn(self, state: State, summary: DataSummary, batch: Batch | None) -> Turn:
        bandwidth = summary.bandwidth if self.bandwidth == "median" else self.bandwidth
        terms = Terms(
            aims=Aims(self.objective, self.pessimism),
            form=self.form,
            kernel=self.kernel,
            bandwidth=torch.as_tensor(bandwidth, dtype=torch.float64),
            conservatism=self.conservatism,
            discount=torch.as_tensor(self.discount, dtype=torch.float64),
            ridge=self.ridge,
            kernel_loss=self.kernel_loss,
        )
        return Turn(terms, state.actor, state.follower, summary, batch, state.units)
