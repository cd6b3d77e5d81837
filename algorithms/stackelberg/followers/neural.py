"""A network that answers by Adam steps, after a warm start on the data's behavior.

Of the minibatches an update gets, the first ones feed the follower's Adam steps, the first half is
the large batch for curvature, pull and the leader's gradient, and the second half is disjoint from
it: solved for anew, the implicit term there says how much of it is noise.
"""

from dataclasses import dataclass
from typing import Literal

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
    Sample,
    answer_of,
    number_of,
    observe,
    policy_at,
    remember,
    sample_of,
    sample_of_half,
)
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import Points, Units, batch_game
from algorithms.stackelberg.game.implicit import LeaderGradient, Reply, cosine, leader_gradient
from algorithms.stackelberg.game.kernels import Kernel
from algorithms.stackelberg.game.terms import KernelLoss
from algorithms.stackelberg.responses import curvature
from algorithms.stackelberg.responses import neural as response
from bench.types import Batch, Count, EnvSpec, Fraction, Natural, Positive, PositiveFraction


@dataclass(frozen=True)
class NeuralFollower(Follower):
    """A critic network, squashed into the range of values.

    Attributes:
        regularization: Weight of its parameters' distance from those of the warm start.
        num_features: Random features of the kernel per action.
        hidden_sizes: Of the critic.
        learning_rate: Of the critic.
        updates: Adam steps per update of the leader.
        multiplier_rate: Of the constraint form's multiplier, per step.
        warm_updates: Of behavior cloning and fitted evaluation, before the leader leads.
        solve_interval: Updates between solves for where the follower moves.
        curvature: Whose curvature that is by; the exact one is dense, for tiny networks.
        curvature_minibatches: That make up the batch of curvature and leader.
        residual_weight: Of the loss with a gradient through its own target, as the game has it; the
            rest is against a slow critic's targets. With 1 alone Adam leaves a network's values far
            below what the data supports where rewards are many steps away; with less, as ATAC has
            it (Cheng et al. 2022), it answers near the minimiser, at it where the residual is 0.
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

    def check(self, kernel: Kernel, kernel_loss: KernelLoss, ridge: float | None) -> None:
        """Refuse kernels without features, and a curvature of low rank without a ridge."""
        need_features(kernel, "neural")
        if ridge is None:
            raise ValueError(
                "ridge is null, but follower=neural has a curvature of low rank, which needs one"
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

    def warm_start(self, turn: Turn) -> WarmStart:
        """Clone the data's behavior and evaluate it: one step each on one minibatch."""
        assert turn.batch is not None
        batch, memory, scale = Batch(*(x[0] for x in turn.batch)), turn.memory, turn.scale
        game = batch_game(batch, turn.terms.discount, scale.width)
        initial = turn.summary.initial_observations
        places = Points(batch.observation, batch.next_observation, initial)
        policy = policy_at(turn.actor, places)

        slow = response.values(memory.slow_critic, places, scale)

        def evaluation(critic: Network) -> Tensor:
            q = response.values(critic, places, scale)
            residual = game.residual(policy, q._replace(following=slow.following))
            return (game.weight * residual**2).sum()

        gradient, loss = torch.func.grad_and_value(evaluation)(memory.critic)
        critic, optimizer = adam(gradient, memory.optimizer, memory.critic, self.learning_rate)
        memory = observe(turn, batch).memory
        slow_critic = networks.polyak_average(memory.slow_critic, critic, self.polyak)
        memory = memory._replace(
            critic=critic, slow_critic=slow_critic, anchor=critic, optimizer=optimizer
        )
        gradient, likelihood = torch.func.grad_and_value(turn.leader.cloning_loss)(
            turn.actor, batch
        )
        return WarmStart(gradient, memory, {"cloning_loss": likelihood, "evaluation_loss": loss})

    def play(self, turn: Turn, phase: int) -> Played:
        """Answer by Adam steps; return the leader's gradient on the first half of minibatches."""
        assert turn.batch is not None
        for index in range(self.updates):
            one = Batch(*(x[index % self.curvature_minibatches] for x in turn.batch))
            turn = self.respond(turn, one)
        return self.lead(turn, solve=phase == LEAD_AND_SOLVE)

    def respond(self, turn: Turn, batch: Batch) -> Turn:
        """Return the turn after one Adam step of the follower on one minibatch."""
        turn = observe(turn, batch)
        sample, memory = sample_of(turn, batch), turn.memory
        policy = policy_at(turn.actor, sample.places)
        answer = self._answer(turn, sample)
        slow = response.values(memory.slow_critic, sample.places, turn.scale)
        gradient, (_, loss) = _objective_gradient(memory, answer, sample, policy, turn.scale, slow)
        critic, optimizer = adam(gradient, memory.optimizer, memory.critic, self.learning_rate)
        allowed = turn.terms.allowed_loss(number_of(turn, sample.pairs.rows))
        step = self.multiplier_rate * ((loss - allowed) / allowed).clamp(-1, 1)
        log_multiplier = memory.log_multiplier + step
        memory = memory._replace(
            critic=critic,
            slow_critic=networks.polyak_average(memory.slow_critic, critic, self.polyak),
            optimizer=optimizer,
            log_multiplier=log_multiplier,
        )
        return turn._replace(memory=memory)

    def lead(self, turn: Turn, *, solve: bool) -> Played:
        """Return the leader's gradient against the critic as it is; with `solve`, w anew."""
        sample, terms, scale = sample_of_half(turn, 0), turn.terms, turn.scale
        if solve:
            turn = self._solved(turn, sample)
        gradient, answer, reply = self._leader_gradient(turn, sample)
        policy = policy_at(turn.actor, sample.places)
        own, (_, loss) = _objective_gradient(turn.memory, answer, sample, policy, scale)
        along = 2 * answer.multiplier * terms.aims.leader(sample.game, policy, reply.q_dot)
        metrics = terms.metrics(sample.game, policy, reply, answer.multiplier, scale)
        metrics |= {
            "concentrability": (1 - terms.discount) ** 2 * along,
            "out_of_range": torch.zeros_like(along),
            "kernel_loss": loss,
            "follower_gradient": curvature.flat(own).norm(),
            "solver_residual": turn.memory.solver_residual,
        }
        return Played(gradient, turn.memory, metrics)

    def diagnose(self, turn: Turn, phase: int, *, total: bool) -> dict[str, Tensor]:
        """Return curvatures, the share of pairs with themselves, and the cosine of two batches.

        Without `total` there is no implicit term and the cosine is 0; nothing in the warm start.
        """
        if phase == WARM_START:
            return {}
        sample, memory = sample_of_half(turn, 0), turn.memory
        policy = policy_at(turn.actor, sample.places)
        answer = self._answer(turn, sample)
        q = response.values(memory.critic, sample.places, turn.scale)
        residual = sample.game.residual(policy, q)
        share = torch.ones_like(answer.multiplier)
        if not turn.terms.squared:  # which is nothing but its diagonal
            whole = sample.pairs.loss(residual, "v").clamp_min(torch.finfo(torch.float64).tiny)
            share = sample.pairs.diagonal(residual) / whole
        rows = curvature.jacobian(memory.critic, sample.game, policy, sample.places, turn.scale)
        found = curvature.gauss_newton_spectrum(
            rows, sample.pairs, answer.multiplier, self.regularization, turn.terms.kernel_loss
        )
        agreement = torch.zeros_like(share)
        if total:
            implicit = []
            for half in (0, 1):
                one = sample_of_half(turn, half)
                solved = self._solved(turn, one)
                implicit.append(self._leader_gradient(solved, one)[0].implicit)
            agreement = cosine(*implicit)
        return {
            "kernel_diagonal_share": share,
            "smallest_curvature": found.smallest,
            "smallest_seen_curvature": found.smallest_seen,
            "cosine_batches": agreement,
        }

    def _answer(self, turn: Turn, sample: Sample) -> response.Answer:
        return answer_of(turn, sample.pairs.rows, self.regularization, self.residual_weight)

    def _leader_gradient(
        self, turn: Turn, sample: Sample
    ) -> tuple[LeaderGradient, response.Answer, Reply]:
        answer = self._answer(turn, sample)
        policy = policy_at(turn.actor, sample.places)
        game, places, memory = sample.game, sample.places, turn.memory
        reply = response.reply(
            memory.critic, memory.along, answer, game, policy, places, turn.scale, sample.pairs
        )
        gradient = leader_gradient(
            turn.terms.aims, game, lambda x: policy_at(x, places), turn.actor, reply
        )
        return gradient, answer, reply

    def _solved(self, turn: Turn, sample: Sample) -> Turn:
        """Return the turn with w solved for on a sample."""
        terms, memory, scale = turn.terms, turn.memory, turn.scale
        policy = policy_at(turn.actor, sample.places)
        answer = self._answer(turn, sample)
        damping = terms.damping(answer.multiplier)
        assert damping is not None
        game, places = sample.game, sample.places

        def leader(critic: Network) -> Tensor:
            return terms.aims.leader(game, policy, response.values(critic, places, scale))

        gradient = torch.func.grad(leader)(memory.critic)
        if self.curvature == "exact":
            hessian = curvature.hessian_of(
                memory.critic, memory.anchor, answer, game, policy, places, scale, sample.pairs
            )
            found = curvature.exact_direction(hessian, gradient, damping)
        else:
            rows = curvature.jacobian(memory.critic, game, policy, places, scale)
            ridge = damping + 2 * self.regularization
            found = curvature.gauss_newton_direction(
                gradient, rows, sample.pairs, answer.multiplier, ridge, terms.kernel_loss
            )
        memory = memory._replace(along=found.along, solver_residual=found.residual)
        return turn._replace(memory=memory)


def _objective_gradient(
    memory: Memory,
    answer: response.Answer,
    sample: Sample,
    policy: Points,
    scale: Units,
    slow: Points | None = None,
) -> tuple[Network, tuple[Tensor, Tensor]]:
    """Return the follower's gradient with its objective and kernel loss."""

    def objective(critic: Network) -> tuple[Tensor, Tensor]:
        game, places, pairs = sample
        return response.objective(
            critic, memory.anchor, answer, game, policy, places, scale, pairs, slow
        )

    gradient, (value, loss) = torch.func.grad_and_value(objective, has_aux=True)(memory.critic)
    return gradient, (value, loss)
