"""StackelbergLearner (Zhou and Qu, "Stackelberg Batch Policy Learning", arXiv 2309.16188).

    leader      max_theta  J_L(theta, psi*(theta))
    follower    psi*(theta) = argmin_psi  pessimism + lambda L_K + regularization |psi - psi_0|^2
                or  argmin_psi  pessimism + regularization |psi - psi_0|^2   s.t.  L_K <= C^2 / n
    update      theta += Adam( direct_gradient + implicit_term )       (game/implicit.py)

or along the direct gradient alone (`individual`), or along that of the follower's own objective at
its answer (`maximin`, the game of PSPI and ATAC). The implicit term is solved for, or comes from
two more followers whose objective is tilted a little along J_L and against it. Here
lambda is n / C, C the conservatism, L_K the kernel loss of the Bellman residual
(game/game.py, game/kernels.py) and n the transitions it is measured on: at most the batch's (or
what moments remember of batches) where it is a V-statistic, which 1 / n biases. The follower
answers as a table or as a linear function of random features by its exact best response, as a
network by Adam steps (followers/). The leader chooses among numbered actions or in a box
(leaders.py).

Differences from the paper: the follower's exact response replaces gradient steps where there is
one; the implicit term needs no second derivatives; pessimism may be absolute, the leader's
objective that of initial states; a kernel loss can be normalised by the data's density, or be
the plain mean squared residual instead, for comparison; a network as follower is held against a
slow copy of itself in part.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.base import Algorithm, Metrics
from algorithms.distributions import ActionDistribution
from algorithms.networks import Network
from algorithms.optimizers import AdamState, adam, adam_init
from algorithms.stackelberg.followers.base import WARM_START, Follower, Played, Turn, WarmStart
from algorithms.stackelberg.game.game import Aims, Objective, Pessimism, Units, units
from algorithms.stackelberg.game.implicit import LeaderGradient, cosine, norm, tilted_gradient
from algorithms.stackelberg.game.kernels import SMOOTH, Kernel
from algorithms.stackelberg.game.terms import Form, KernelLoss, Terms
from algorithms.stackelberg.leaders import LEADERS, Leader, LeaderName
from bench.types import ActionKind, Batch, Count, DataSummary, EnvSpec, NonNegative, Positive


class State(NamedTuple):
    """The leader's parameters with their optimiser, the units, and what the follower remembers."""

    actor: Network
    optimizer: AdamState
    units: Units
    follower: Any


class Tilted(NamedTuple):
    """What three followers remember: one as it is, two whose objectives are tilted by J_L."""

    middle: Any
    up: Any
    down: Any


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
    leader: LeaderName
    leader_gradient: Literal["total", "individual", "maximin"]
    implicit: Literal["solve", "tilted"]
    tilt: Positive
    ridge: NonNegative | None
    follower: Follower

    dense_states: ClassVar[bool] = True

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
        if self.implicit == "tilted" and self.form == "constraint":
            raise ValueError(
                "implicit=tilted needs form=penalty: in a constraint the multiplier answers as well"
            )
        if self.implicit == "tilted" and self.ridge is not None:
            raise ValueError("implicit=tilted solves nothing that a ridge could dampen: ridge=null")
        if self._leader.action_kind != self.follower.action_kind:
            raise ValueError(
                f"leader={self.leader} chooses {self._leader.action_kind} actions and "
                f"follower={self.follower.name} values {self.follower.action_kind} ones"
            )
        # Tilted followers solve for nothing, so none of them needs a ridge.
        ridge = 0.0 if self.implicit == "tilted" else self.ridge
        self.follower.check(self.kernel, self.kernel_loss, ridge)

    @property
    def _leader(self) -> Leader:
        return LEADERS[self.leader]

    @property
    def action_kinds(self) -> tuple[ActionKind, ...]:  # type: ignore[override]
        """What the leader can choose."""
        return (self._leader.action_kind,)

    def noise_shapes(self, spec: EnvSpec, batch_size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what a leader that draws its actions draws them by."""
        if not self._leader.draws:
            return {}
        several = (self.minibatches(spec),) if self.minibatches(spec) > 1 else ()
        shape = (*several, batch_size, spec.action_size)
        return dict.fromkeys(("observation", "following", "initial"), shape)

    def init(self, spec: EnvSpec, summary: DataSummary, generator: torch.Generator) -> State:
        """Return a near-uniform policy and a follower that has seen nothing."""
        actor = self._leader.network(spec, self.hidden_sizes, generator)
        memory = self.follower.remember(spec, self.kernel, generator)
        if self._tilts:
            memory = Tilted(memory, memory, memory)
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
        turn = self._turn(state, summary, batch, noise)
        rate: float | Tensor = self.learning_rate
        if phase == WARM_START:
            descent, memory, metrics, own = self._warm_start(turn)
            rate = rate if own is None else own
        else:
            gradient, memory, metrics = self._play(turn, phase)
            followed = {
                "total": gradient.total,
                "individual": gradient.direct,
                "maximin": gradient.envelope,
            }[self.leader_gradient]
            descent = tree_map(torch.neg, followed)
            metrics |= {
                "direct_gradient": norm(gradient.direct),
                "implicit_term": norm(gradient.implicit),
                "total_derivative": norm(gradient.total),
                "cosine_direct_implicit": cosine(gradient.direct, gradient.implicit),
            }
        actor, optimizer = adam(descent, state.optimizer, state.actor, rate)
        metrics = {name: value.float() for name, value in metrics.items()}
        return State(actor, optimizer, state.units, memory), metrics

    def diagnose(
        self, state: State, summary: DataSummary, batch: Batch | None, phase: int
    ) -> dict[str, Tensor]:
        """Return what the follower's answer to the leader as it is now says of itself."""
        turn = self._turn(state, summary, batch, {})
        if self._tilts:
            turn = turn._replace(memory=turn.memory.middle)
        metrics = self.follower.diagnose(turn, phase, total=self._solves)
        return {name: value.float() for name, value in metrics.items()}

    def minibatches(self, spec: EnvSpec) -> int:
        """Return as many as the follower asks for."""
        return self.follower.minibatches()

    def phase(self, step: int) -> int:
        """Return which variant of an update the follower's step takes."""
        return self.follower.phase(step, total=self._solves)

    @property
    def tabular_only(self) -> bool:  # type: ignore[override]
        """Whether the follower is a table."""
        return self.follower.tabular_only

    @property
    def dense_counts(self) -> bool:
        """Whether a table's follower makes something as large as all successors of all cells."""
        return self.kernel_loss == "squared" or self.kernel in SMOOTH or self.ridge is not None

    def policy(self, state: State, observation: Tensor) -> ActionDistribution:
        """Return the leader's policy."""
        return self._leader.policy(networks.apply(state.actor, observation))

    def critic_values(self, state: State, summary: DataSummary, policy: Tensor) -> Tensor | None:
        """Return the follower's exact answer to a policy, None if it remembers instead."""
        # A table of logits is the policy as a leader.
        turn = self._turn(state._replace(actor=({"weight": policy.log()},)), summary, None, {})
        return self.follower.critic_values(turn)

    @property
    def tabular_critic(self) -> bool:
        """Whether the follower is a table; hidden layers are the leader's."""
        return self.follower.tabular_only

    @property
    def _tilts(self) -> bool:
        return self.leader_gradient == "total" and self.implicit == "tilted"

    @property
    def _solves(self) -> bool:
        return self.leader_gradient == "total" and self.implicit == "solve"

    def _warm_start(self, turn: Turn) -> WarmStart:
        if not self._tilts:
            return self.follower.warm_start(turn)
        # What is tilted is the game, which has not begun.
        warm = self.follower.warm_start(turn._replace(memory=turn.memory.middle))
        return warm._replace(memory=Tilted(warm.memory, warm.memory, warm.memory))

    def _play(self, turn: Turn, phase: int) -> Played:
        if not self._tilts:
            return self.follower.play(turn, phase)

        def answer(memory: Any, terms: Terms) -> Played:
            return self.follower.play(turn._replace(terms=terms, memory=memory), phase)

        middle = answer(turn.memory.middle, turn.terms)
        up = answer(turn.memory.up, turn.terms.tilted(self.tilt))
        down = answer(turn.memory.down, turn.terms.tilted(-self.tilt))
        gradient: LeaderGradient = tilted_gradient(
            middle.gradient, up.gradient.envelope, down.gradient.envelope, self.tilt
        )
        return Played(gradient, Tilted(middle.memory, up.memory, down.memory), middle.metrics)

    def _turn(
        self,
        state: State,
        summary: DataSummary,
        batch: Batch | None,
        noise: dict[str, Tensor],
    ) -> Turn:
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
        leader = self._leader
        return Turn(terms, state.actor, state.follower, summary, batch, state.units, leader, noise)
