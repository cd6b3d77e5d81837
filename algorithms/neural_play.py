"""A neural follower's part of an update: warm start, Adam steps, and the leader's gradient.

Of the minibatches an update gets, the first feeds the follower's Adam steps, the first half is the
large batch for curvature, pull and the leader's gradient, and the second half is disjoint from it:
where w is solved for, the implicit term there says how much of it is noise.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms import neural_follower as follower
from algorithms.game import BatchGame, Points, Units, batch_game
from algorithms.implicit import LeaderGradient, Reply, cosine, leader_gradient
from algorithms.kernels import random_features
from algorithms.moments import Features, block_diagonal
from algorithms.networks import Network
from algorithms.objectives import negative_log_likelihood, weighted_mean
from algorithms.optimizers import AdamState, adam, adam_init
from algorithms.terms import Terms
from bench.types import Batch, DataSummary

# Of the running mean of the kernel features' second moments.
GRAM_RATE = 0.01


class Memory(NamedTuple):
    """What a neural follower remembers.

    Attributes:
        critic: Its parameters.
        anchor: Those that `regularization` draws them to, as the warm start left them.
        optimizer: The critic's.
        features: Random features of the kernel.
        gram: ``[kernel features, kernel features]``, their running second moments.
        along: w, shaped like the critic, float64.
        log_multiplier: ``[]``, of the constraint form, in units of n.
        solver_residual: ``[]``, of the last solve for w.
        cosine_batches: ``[]``, of the implicit terms of two disjoint batches, then.
    """

    critic: Network
    anchor: Network
    optimizer: AdamState
    features: Features
    gram: Tensor
    along: Network
    log_multiplier: Tensor
    solver_residual: Tensor
    cosine_batches: Tensor


class Settings(NamedTuple):
    """The terms of the game and what only a neural follower has to know of a learner."""

    terms: Terms
    statistic: follower.Statistic
    ridge: float | Tensor
    curvature: Literal["gauss_newton", "exact"]
    solver: follower.Solver
    learning_rate: float | Tensor
    multiplier_rate: float | Tensor


def remember(critic: Network, features: Features, num_actions: int) -> Memory:
    """Return the memory before the first update."""
    size = num_actions * features.kernel_phase.shape[-1]
    zero = torch.zeros((), dtype=torch.float64)
    along = tree_map(lambda x: torch.zeros_like(x, dtype=torch.float64), critic)
    gram = torch.eye(size, dtype=torch.float64)
    return Memory(critic, critic, adam_init(critic), features, gram, along, zero, zero, zero)


class Sample(NamedTuple):
    """A batch as the follower sees it."""

    game: BatchGame
    places: Points
    pairs: follower.Pairs


def sample_of(
    settings: Settings, memory: Memory, summary: DataSummary, batch: Batch, scale: Units
) -> Sample:
    """Return a batch (without minibatches) with the features of its pairs."""
    game = batch_game(batch, settings.terms.discount, scale.width)
    places = Points(batch.observation, batch.next_observation, summary.initial_observations)
    rows = batch.weight.double().sum()
    features = _kernel_features(settings, memory, batch.observation)
    size = len(memory.gram)
    root = torch.eye(size, dtype=torch.float64, device=memory.gram.device)
    if settings.terms.kernel == "normalized_feature":
        root = torch.linalg.cholesky_ex(memory.gram + root / summary.num_transitions)[0]
    return Sample(game, places, follower.pairs(game, features, root, rows))


def observe(settings: Settings, memory: Memory, batch: Batch) -> Memory:
    """Return the memory with a batch in the second moments of the kernel's features."""
    features = _kernel_features(settings, memory, batch.observation)
    num_actions = len(memory.gram) // features.shape[-1]
    chosen = torch.arange(num_actions, device=batch.action.device) == batch.action.unsqueeze(-1)
    weight = batch.weight.double() / batch.weight.sum().clamp_min(1e-12)
    weighted = weight.unsqueeze(-1) * chosen
    blocks = (weighted.T.unsqueeze(-1) * features).mT @ features
    now = block_diagonal(blocks.flatten(0, 1), num_actions)
    return memory._replace(gram=memory.gram + GRAM_RATE * (now - memory.gram))


def _kernel_features(settings: Settings, memory: Memory, observation: Tensor) -> Tensor:
    features = memory.features
    return random_features(
        observation, features.kernel_frequency, features.kernel_phase, settings.terms.bandwidth
    )


def policy_at(actor: Network, places: Points) -> Points:
    """Return the leader's probabilities at observations, float64."""
    return Points(*(networks.apply(actor, x).double().softmax(-1) for x in places))


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


def number_of(settings: Settings, summary: DataSummary, rows: Tensor) -> Tensor:
    """Return how many transitions the loss may count for: a V-statistic is biased by 1 / rows."""
    number = summary.num_transitions.double()
    return torch.minimum(number, rows) if settings.statistic == "v" else number


def answer_of(
    settings: Settings, memory: Memory, summary: DataSummary, rows: Tensor
) -> follower.Answer:
    """Return the numbers of the follower's objective."""
    number = number_of(settings, summary, rows)
    multiplier = settings.terms.multiplier(number)
    if settings.terms.constrained:
        multiplier = number * memory.log_multiplier.exp()
    terms = settings.terms
    return follower.Answer(terms.aims, settings.statistic, multiplier, terms.regularization)


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

    With `solve`, w is found anew and compared on the second half.
    """
    half = len(batches.weight) // 2
    joined = Batch(*(x[:half].flatten(0, 1) for x in batches))
    sample = sample_of(settings, memory, summary, joined, scale)
    if solve:
        memory = _solved(settings, actor, memory, summary, sample, scale)
    gradient, answer, reply = _leader_gradient(settings, actor, memory, summary, sample, scale)
    if solve:
        joined = Batch(*(x[half:].flatten(0, 1) for x in batches))
        second = sample_of(settings, memory, summary, joined, scale)
        again = _solved(settings, actor, memory, summary, second, scale)
        other, _, _ = _leader_gradient(settings, actor, again, summary, second, scale)
        memory = memory._replace(cosine_batches=cosine(gradient.implicit, other.implicit))
    policy = policy_at(actor, sample.places)
    follower_gradient, (_, loss) = _objective_gradient(memory, answer, sample, policy, scale)
    residual = sample.game.residual(policy, reply.q)
    tiny = torch.finfo(torch.float64).tiny
    diagonal = sample.pairs.diagonal(residual)
    along = 2 * answer.multiplier * settings.terms.aims.leader(sample.game, policy, reply.q_dot)
    metrics = settings.terms.metrics(sample.game, policy, reply, answer.multiplier, scale)
    metrics |= {
        "concentrability": (1 - settings.terms.discount) ** 2 * along,
        "out_of_range": torch.zeros_like(along),
        "kernel_loss": loss,
        "kernel_diagonal_share": torch.ones_like(along)
        if settings.statistic == "squared"  # nothing but its diagonal
        else diagonal / sample.pairs.loss(residual, "v").clamp_min(tiny),
        "follower_gradient": follower.flat(follower_gradient).norm(),
        "solver_residual": memory.solver_residual,
        "cosine_batches": memory.cosine_batches,
    }
    return gradient, memory, metrics


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
