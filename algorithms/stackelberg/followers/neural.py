"""A network that answers by Adam steps, after a warm start on the data's behavior.

Of the minibatches an update gets, the first ones feed the follower's Adam steps, the first half is
the large batch for curvature, pull and the leader's gradient, and the second half is disjoint from
it: solved for anew, the implicit term there says how much of it is noise.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from algorithms import networks
from algorithms.networks import Network
from algorithms.optimizers import adam
from algorithms.stackelberg.followers.base import (
    LEAD,
    LEAD_AND_SOLVE,
    WARM_START,
    Follower,
    Played,
    Turn,
    WarmStart,
    need_features,
)
from algorithms.stackelberg.followers.memory import (
    Memory,
    Seen,
    answer_of,
    half,
    minibatch,
    number_of,
    observe,
    remember,
    weighed,
)
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import Points, batch_game
from algorithms.stackelberg.game.implicit import LeaderGradient, Reply, cosine, leader_gradient
from algorithms.stackelberg.game.kernels import Kernel, random_features
from algorithms.stackelberg.game.terms import KernelLoss
from algorithms.stackelberg.responses import curvature
from algorithms.stackelberg.responses import neural as response
from algorithms.stackelberg.responses.samples import NumberedSample, Sample
from bench.types import Batch, Count, EnvSpec, Fraction, Natural, Positive, PositiveFraction


@dataclass(frozen=True)
class NeuralFollower(Follower):
    """A critic network that answers by Adam steps.

    Attributes:
        regularization: Weight of its parameters' distance from those of the warm start.
        num_features: Random features of the kernel, for each of numbered actions.
        hidden_sizes: Of the critic.
        learning_rate: Of the critic.
        updates: Adam steps per update of the leader.
        multiplier_rate: Of the constraint form's multiplier, per step.
        warm_updates: Of behavior cloning and fitted evaluation, before the leader leads.
        solve_interval: Updates between solves for where the follower moves.
        curvature: Whose curvature that is by; the exact one is dense, for tiny networks.
        curvature_minibatches: That make up the batch of curvature and leader.
        residual_weight: Of the loss with a gradient through its own target, as the game has it; the
            rest is against a slow critic's targets. With 1 alone the minimiser itself is far below
            what the data supports where rewards are many steps away, since pessimism gains by low
            values more than residuals lose. With less, as ATAC has it (Cheng et al. 2022), it
            answers elsewhere, at that minimiser only where the residual is 0.
        polyak: Rate of the slow critic.
    """

    regularization: Positive
    num_features: Count
    hidden_sizes: tuple[Count, ...]
    learning_rate: Positive
    updates: Count
    multiplier_rate: Positive
    warm_updates: Natural
    solve_interval: Count
    curvature: Literal["gauss_newton", "exact"]
    curvature_minibatches: Count
    residual_weight: Fraction
    polyak: PositiveFraction

    name: ClassVar[str] = "neural"

    def check(self, kernel: Kernel, kernel_loss: KernelLoss, ridge: float | None) -> None:
        """Refuse kernels without features, and a curvature of low rank without a ridge."""
        need_features(kernel, self.name)
        if ridge is None:
            raise ValueError(
                f"ridge is null, but follower={self.name} has a curvature of low rank, which needs "
                "one"
            )

    def minibatches(self) -> int:
        """Return two disjoint batches of curvature."""
        return 2 * self.curvature_minibatches

    def phase(self, step: int, *, total: bool) -> int:
        """Return whether a step warms up, leads, or leads by a direction that is solved for."""
        if step < self.warm_updates:
            return WARM_START
        solves = total and (step - self.warm_updates) % self.solve_interval == 0
        return LEAD_AND_SOLVE if solves else LEAD

    def remember(self, spec: EnvSpec, kernel: Kernel, generator: torch.Generator) -> Memory:
        """Return a critic that has seen nothing."""
        features = data_moments.draw_features(
            kernel, spec.observation_size, self.num_features, generator
        )
        critic = networks.action_network(spec, self.hidden_sizes, generator)
        return remember(critic, features, spec.num_actions)

    def sample(self, turn: Turn) -> Sample:
        """Return the turn's one batch as the critic sees it."""
        batch, terms, scale = turn.batch, turn.terms, turn.scale
        assert batch is not None
        game = batch_game(batch, terms.discount, scale.width)
        initial = turn.summary.initial_observations
        places = Points(batch.observation, batch.next_observation, initial)
        return NumberedSample(game, weighed(turn, game.weight, self.seen(turn)), scale, places)

    def seen(self, turn: Turn) -> Seen:
        """Return what the kernel knows of the turn's one batch."""
        batch, features = turn.batch, turn.memory.features
        assert batch is not None
        drawn = features.kernel_frequency, features.kernel_phase, turn.terms.bandwidth
        which = data_moments.of_action(batch.action, len(turn.memory.gram))
        return Seen(random_features(batch.observation, *drawn), which)

    def cloned(self, turn: Turn) -> Batch:
        """Return what of the turn's one batch the warm start clones: all of it."""
        assert turn.batch is not None
        return turn.batch

    def warm_start(self, turn: Turn) -> WarmStart:
        """Clone the data's behavior and evaluate it: one step each on one minibatch."""
        turn = minibatch(turn, 0)
        sample, memory = self.sample(turn), turn.memory
        game, policy = sample.game, sample.policy(turn.actor)

        def evaluation(critic: Network) -> Tensor:
            slow = sample.values(memory.slow_critic)
            residual = game.residual_to(policy, sample.values(critic), slow)
            return (game.weight * residual**2).sum()

        gradient, loss = torch.func.grad_and_value(evaluation)(memory.critic)
        memory = self._stepped(self._observed(turn), gradient)
        memory = memory._replace(anchor=memory.critic)
        gradient, likelihood = torch.func.grad_and_value(turn.leader.cloning_loss)(
            turn.actor, self.cloned(turn)
        )
        return WarmStart(gradient, memory, {"cloning_loss": likelihood, "evaluation_loss": loss})

    def play(self, turn: Turn, phase: int) -> Played:
        """Answer by Adam steps; return the leader's gradient on the first half of minibatches."""
        for index in range(self.updates):
            memory = self.respond(minibatch(turn, index % self.curvature_minibatches))
            turn = turn._replace(memory=memory)
        return self.lead(turn, solve=phase == LEAD_AND_SOLVE)

    def respond(self, turn: Turn) -> Memory:
        """Return the memory after one Adam step of the follower on the turn's one batch."""
        turn = turn._replace(memory=self._observed(turn))
        sample, memory = self.sample(turn), turn.memory
        policy, answer = sample.policy(turn.actor), self._answer(turn, sample)
        gradient, loss = _objective_gradient(memory, answer, sample, policy, memory.slow_critic)
        allowed = turn.terms.allowed_loss(number_of(turn, sample.pairs.rows))
        step = self.multiplier_rate * ((loss - allowed) / allowed).clamp(-1, 1)
        log_multiplier = memory.log_multiplier + step
        return self._stepped(memory, gradient)._replace(log_multiplier=log_multiplier)

    def lead(self, turn: Turn, *, solve: bool) -> Played:
        """Return the leader's gradient against the critic as it is; with `solve`, w anew."""
        first = half(turn, 0)
        sample, terms, scale = self.sample(first), turn.terms, turn.scale
        if solve:
            first = self._solved(first, sample)
        policy, answer = sample.policy(turn.actor), self._answer(first, sample)
        gradient, reply = _leader_gradient(first, sample, answer)
        own, loss = _objective_gradient(first.memory, answer, sample, policy)
        along = 2 * answer.multiplier * terms.aims.leader(sample.game, policy, reply.q_dot)
        metrics = terms.metrics(sample.game, policy, reply, answer.multiplier, scale)
        metrics |= {
            "concentrability": (1 - terms.discount) ** 2 * along,
            "out_of_range": sample.outside(first.memory.critic),
            "kernel_loss": loss,
            "follower_gradient": curvature.flat(own).norm(),
            "solver_residual": first.memory.solver_residual,
        }
        return Played(gradient, first.memory, metrics)

    def diagnose(self, turn: Turn, phase: int, *, total: bool) -> dict[str, Tensor]:
        """Return curvatures, the share of pairs with themselves, and the cosine of two batches.

        Without `total` there is no implicit term and the cosine is 0; nothing in the warm start.
        """
        if phase == WARM_START:
            return {}
        memory, halves = turn.memory, [half(turn, which) for which in (0, 1)]
        samples = [self.sample(one) for one in halves]
        first = samples[0]
        policy, answer = first.policy(turn.actor), self._answer(turn, first)
        residual = first.game.residual(policy, first.values(memory.critic))
        share = torch.ones_like(answer.multiplier)
        if not turn.terms.squared:  # which is nothing but its diagonal
            whole = first.pairs.loss(residual, "v").clamp_min(torch.finfo(torch.float64).tiny)
            share = first.pairs.diagonal(residual) / whole
        rows = curvature.jacobian(memory.critic, first, policy)
        found = curvature.gauss_newton_spectrum(
            rows, first.pairs, answer.multiplier, self.regularization, turn.terms.kernel_loss
        )
        agreement = torch.zeros_like(share)
        if total:
            implicit = []
            for one, sample in zip(halves, samples, strict=True):
                solved = self._solved(one, sample)
                answer = self._answer(one, sample)
                implicit.append(_leader_gradient(solved, sample, answer)[0].implicit)
            agreement = cosine(*implicit)
        return {
            "kernel_diagonal_share": share,
            "smallest_curvature": found.smallest,
            "smallest_seen_curvature": found.smallest_seen,
            "cosine_batches": agreement,
        }

    def _observed(self, turn: Turn) -> Memory:
        assert turn.batch is not None
        return observe(turn.memory, turn.batch, self.seen(turn))

    def _stepped(self, memory: Memory, gradient: Network) -> Memory:
        """Return the memory after an Adam step of the critic, its slow copy behind it."""
        critic, optimizer = adam(gradient, memory.optimizer, memory.critic, self.learning_rate)
        slow = networks.polyak_average(memory.slow_critic, critic, self.polyak)
        return memory._replace(critic=critic, slow_critic=slow, optimizer=optimizer)

    def _answer(self, turn: Turn, sample: Sample) -> response.Answer:
        return answer_of(turn, sample.pairs.rows, self.regularization, self.residual_weight)

    def _solved(self, turn: Turn, sample: Sample) -> Turn:
        """Return the turn with w solved for on a sample."""
        terms, memory = turn.terms, turn.memory
        policy, answer = sample.policy(turn.actor), self._answer(turn, sample)
        damping = terms.damping(answer.multiplier)
        assert damping is not None

        def leader(critic: Network) -> Tensor:
            return terms.aims.leader(sample.game, policy, sample.values(critic))

        gradient = torch.func.grad(leader)(memory.critic)
        if self.curvature == "exact":
            hessian = curvature.hessian_of(memory.critic, memory.anchor, answer, sample, policy)
            found = curvature.exact_direction(hessian, gradient, damping)
        else:
            rows = curvature.jacobian(memory.critic, sample, policy)
            ridge = damping + 2 * self.regularization
            found = curvature.gauss_newton_direction(
                gradient, rows, sample.pairs, answer.multiplier, ridge, terms.kernel_loss
            )
        memory = memory._replace(along=found.along, solver_residual=found.residual)
        return turn._replace(memory=memory)


def _leader_gradient(
    turn: Turn, sample: Sample, answer: response.Answer
) -> tuple[LeaderGradient, Reply]:
    policy, memory = sample.policy(turn.actor), turn.memory
    reply = response.reply(memory.critic, memory.along, answer, sample, policy)
    aims = turn.terms.aims
    return leader_gradient(aims, sample.game, sample.policy, turn.actor, reply), reply


def _objective_gradient(
    memory: Memory,
    answer: response.Answer,
    sample: Sample,
    policy: Points,
    slow: Network | None = None,
) -> tuple[Network, Tensor]:
    """Return the follower's gradient with its kernel loss."""

    def objective(critic: Network) -> tuple[Tensor, Tensor]:
        return response.objective(critic, memory.anchor, answer, sample, policy, slow)

    gradient, loss = torch.func.grad(objective, has_aux=True)(memory.critic)
    return gradient, loss
