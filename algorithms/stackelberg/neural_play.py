"""A neural follower's part of an update: warm start, Adam steps, and the leader's gradient.

Of the minibatches an update gets, the first ones feed the follower's Adam steps, the first half is
the large batch for curvature, pull and the leader's gradient, and the second half is disjoint from
it: solved for anew, the implicit term there says how much of it is noise.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from algorithms import networks
from algorithms.networks import Network
from algorithms.objectives import negative_log_likelihood, weighted_mean
from algorithms.optimizers import adam
from algorithms.stackelberg.followers import neural as follower
from algorithms.stackelberg.followers.memory import (
    Memory,
    Sample,
    Settings,
    answer_of,
    number_of,
    observe,
    policy_at,
    sample_of,
)
from algorithms.stackelberg.game.game import Points, Units, batch_game
from algorithms.stackelberg.game.implicit import LeaderGradient, Reply, cosine, leader_gradient
from bench.types import Batch, DataSummary


class WarmStart(NamedTuple):
    """The gradient that clones the data's actions, and what a follower remembers."""

    cloning: Network
    memory: Memory
    metrics: dict[str, Tensor]


def warm_start(
    settings: Settings,
    actor: Network,
    memory: Memory,
    summary: DataSummary,
    batch: Batch,
    scale: Units,
) -> WarmStart:
    """Clone the data's behavior and evaluate it: one step each on one minibatch."""
    game = batch_game(batch, settings.terms.discount, scale.width)
    places = Points(batch.observation, batch.next_observation, summary.initial_observations)
    policy = policy_at(actor, places)

    def cloning(actor: Network) -> Tensor:
        logits = networks.apply(actor, batch.observation)
        return weighted_mean(negative_log_likelihood(logits, batch.action), batch.weight)

    fixed = follower.values(memory.critic, places, scale)

    def evaluation(critic: Network) -> Tensor:
        q = follower.values(critic, places, scale)
        residual = game.residual(policy, q._replace(following=fixed.following))
        return (game.weight * residual**2).sum()

    gradient, loss = torch.func.grad_and_value(evaluation)(memory.critic)
    critic, optimizer = adam(gradient, memory.optimizer, memory.critic, settings.learning_rate)
    memory = observe(settings, memory, batch)
    memory = memory._replace(critic=critic, anchor=critic, optimizer=optimizer)
    gradient, likelihood = torch.func.grad_and_value(cloning)(actor)
    return WarmStart(gradient, memory, {"cloning_loss": likelihood, "evaluation_loss": loss})


def respond(
    settings: Settings,
    actor: Network,
    memory: Memory,
    summary: DataSummary,
    batch: Batch,
    scale: Units,
) -> Memory:
    """Return the memory after one Adam step of the follower on one minibatch."""
    memory = observe(settings, memory, batch)
    sample = sample_of(settings, memory, summary, batch, scale)
    policy = policy_at(actor, sample.places)
    answer = answer_of(settings, memory, summary, sample.pairs.rows)
    gradient, (_, loss) = _objective_gradient(memory, answer, sample, policy, scale)
    critic, optimizer = adam(gradient, memory.optimizer, memory.critic, settings.learning_rate)
    number = number_of(settings, summary, sample.pairs.rows)
    allowed = settings.terms.allowed_loss(number)
    step = settings.multiplier_rate * ((loss - allowed) / allowed).clamp(-1, 1)
    log_multiplier = memory.log_multiplier + step
    return memory._replace(critic=critic, optimizer=optimizer, log_multiplier=log_multiplier)


def _objective_gradient(
    memory: Memory, answer: follower.Answer, sample: Sample, policy: Points, scale: Units
) -> tuple[Network, tuple[Tensor, Tensor]]:
    """Return the follower's gradient with its objective and kernel loss."""

    def objective(critic: Network) -> tuple[Tensor, Tensor]:
        return follower.objective(
            critic, memory.anchor, answer, sample.game, policy, sample.places, scale, sample.pairs
        )

    gradient, (value, loss) = torch.func.grad_and_value(objective, has_aux=True)(memory.critic)
    return gradient, (value, loss)


def _sample_of_half(
    settings: Settings,
    memory: Memory,
    summary: DataSummary,
    batches: Batch,
    half: int,
    scale: Units,
) -> Sample:
    """Return the first (0) or second (1) half of minibatches ``[minibatches, batch, ...]``."""
    size = len(batches.weight) // 2
    joined = Batch(*(x[half * size : (half + 1) * size].flatten(0, 1) for x in batches))
    return sample_of(settings, memory, summary, joined, scale)


def lead(
    settings: Settings,
    actor: Network,
    memory: Memory,
    summary: DataSummary,
    batches: Batch,
    scale: Units,
    *,
    solve: bool,
) -> tuple[LeaderGradient, Memory, dict[str, Tensor]]:
    """Return the leader's gradient on the first half of minibatches ``[minibatches, batch, ...]``.

    With `solve`, w is found anew.
    """
    sample = _sample_of_half(settings, memory, summary, batches, 0, scale)
    if solve:
        memory = _solved(settings, actor, memory, summary, sample, scale)
    gradient, answer, reply = _leader_gradient(settings, actor, memory, summary, sample, scale)
    policy = policy_at(actor, sample.places)
    follower_gradient, (_, loss) = _objective_gradient(memory, answer, sample, policy, scale)
    along = 2 * answer.multiplier * settings.terms.aims.leader(sample.game, policy, reply.q_dot)
    metrics = settings.terms.metrics(sample.game, policy, reply, answer.multiplier, scale)
    metrics |= {
        "concentrability": (1 - settings.terms.discount) ** 2 * along,
        "out_of_range": torch.zeros_like(along),
        "kernel_loss": loss,
        "follower_gradient": follower.flat(follower_gradient).norm(),
        "solver_residual": memory.solver_residual,
    }
    return gradient, memory, metrics


def diagnose(
    settings: Settings,
    actor: Network,
    memory: Memory,
    summary: DataSummary,
    batches: Batch,
    scale: Units,
    *,
    total: bool,
) -> dict[str, Tensor]:
    """Return what is too dear to log at every update, of the follower as it is.

    Without `total` there is no implicit term and the cosine of two is 0.
    """
    sample = _sample_of_half(settings, memory, summary, batches, 0, scale)
    policy = policy_at(actor, sample.places)
    answer = answer_of(settings, memory, summary, sample.pairs.rows)
    residual = sample.game.residual(policy, follower.values(memory.critic, sample.places, scale))
    share = torch.ones_like(answer.multiplier)
    if settings.statistic != "squared":  # which is nothing but its diagonal
        whole = sample.pairs.loss(residual, "v").clamp_min(torch.finfo(torch.float64).tiny)
        share = sample.pairs.diagonal(residual) / whole
    rows = follower.jacobian(memory.critic, sample.game, policy, sample.places, scale)
    found = follower.gauss_newton_spectrum(
        rows, sample.pairs, answer.multiplier, settings.terms.regularization, settings.statistic
    )
    agreement = torch.zeros_like(share)
    if total:
        terms = []
        for half in (0, 1):
            one = _sample_of_half(settings, memory, summary, batches, half, scale)
            solved = _solved(settings, actor, memory, summary, one, scale)
            terms.append(_leader_gradient(settings, actor, solved, summary, one, scale)[0].implicit)
        agreement = cosine(*terms)
    return {
        "kernel_diagonal_share": share,
        "smallest_curvature": found.smallest,
        "smallest_seen_curvature": found.smallest_seen,
        "cosine_batches": agreement,
    }


def _leader_gradient(
    settings: Settings,
    actor: Network,
    memory: Memory,
    summary: DataSummary,
    sample: Sample,
    scale: Units,
) -> tuple[LeaderGradient, follower.Answer, Reply]:
    answer = answer_of(settings, memory, summary, sample.pairs.rows)
    policy = policy_at(actor, sample.places)
    reply = follower.reply(
        memory.critic, memory.along, answer, sample.game, policy, sample.places, scale, sample.pairs
    )
    gradient = leader_gradient(
        settings.terms.aims, sample.game, lambda x: policy_at(x, sample.places), actor, reply
    )
    return gradient, answer, reply


def _solved(
    settings: Settings,
    actor: Network,
    memory: Memory,
    summary: DataSummary,
    sample: Sample,
    scale: Units,
) -> Memory:
    """Return the memory with w solved for on a sample."""
    policy = policy_at(actor, sample.places)
    answer = answer_of(settings, memory, summary, sample.pairs.rows)
    game, places = sample.game, sample.places

    def leader(critic: Network) -> Tensor:
        return settings.terms.aims.leader(game, policy, follower.values(critic, places, scale))

    gradient = torch.func.grad(leader)(memory.critic)
    if settings.curvature == "exact":
        hessian = follower.hessian_of(
            memory.critic, memory.anchor, answer, game, policy, places, scale, sample.pairs
        )
        found = follower.exact_direction(hessian, memory.critic, gradient, settings.ridge)
    else:
        rows = follower.jacobian(memory.critic, game, policy, places, scale)
        found = follower.gauss_newton_direction(
            memory.critic,
            gradient,
            rows,
            sample.pairs,
            answer.multiplier,
            settings.ridge + 2 * settings.terms.regularization,
            settings.solver,
            settings.statistic,
        )
    return memory._replace(along=found.along, solver_residual=found.residual)
