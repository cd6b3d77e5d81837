"""The neural follower: its kernel loss pair by pair, its curvature, and the leader's slope."""

from itertools import product
from typing import NamedTuple

import pytest
import torch
from torch.utils._pytree import tree_map

from algorithms import networks
from algorithms.networks import Network
from algorithms.stackelberg.game import moments as data_moments
from algorithms.stackelberg.game.game import Aims, Points, batch_game, units
from algorithms.stackelberg.game.implicit import inner, leader_gradient
from algorithms.stackelberg.game.pairs import pair_game
from algorithms.stackelberg.leaders import LEADERS
from algorithms.stackelberg.responses import curvature, samples
from algorithms.stackelberg.responses import neural as neural_follower
from tests.algorithms.stackelberg.test_learner import GAMES, documented, first_updates
from tests.support.builders import (
    assert_close,
    build_algorithm,
    make_cohort,
    make_spec,
    of_run,
    random_batch,
    random_dataset,
    random_network,
    tensors,
    train,
)

SPEC = make_spec("vector", size=2, num_actions=3, v_min=-1.0, v_max=1.0)
VECTORS = make_spec("continuous", size=2, v_min=-1.0, v_max=1.0)
SCALE = units(SPEC)
AIMS = [Aims(o, p) for o, p in product(("data", "initial"), ("relative", "absolute"))]
MULTIPLIER = torch.tensor(5.0, dtype=torch.float64)
REGULARIZATION = 0.1
RIDGE = 0.1


class Networks(NamedTuple):
    """The players: a critic, an anchor and a leader."""

    critic: Network
    anchor: Network
    leader: Network


def players(size_in, outputs, actions):
    """Return networks; all the anchor's units are active on all data.

    So J_F has no kink near it, and is no quadratic all the same.
    """
    anchor = random_network([size_in, 4, outputs], seed=2, scale=0.4)
    anchor[0]["bias"] += 3.0
    critic = random_network([size_in, 4, outputs], seed=1)
    return Networks(critic, anchor, random_network([2, 4, actions], seed=3))


PLAYERS = {"numbered": players(2, 3, 3), "vectors": players(4, 1, 2)}
CRITIC, ANCHOR, LEADER = PLAYERS["numbered"]
KINDS = pytest.mark.parametrize("kind", list(PLAYERS))


def sample(kind="numbered", n=20, features=4, spec=None):
    """Return a batch as a critic of that kind sees it."""
    spec = spec or {"numbered": SPEC, "vectors": VECTORS}[kind]
    data = random_batch(spec, n, seed=4)
    draw = torch.Generator().manual_seed(5)
    drawn = torch.randn(n, features, generator=draw, dtype=torch.float64)
    roots = torch.linalg.cholesky(torch.eye(features, dtype=torch.float64) * 1.3).repeat(3, 1, 1)
    discount, width, rows = 0.9, torch.tensor(5.0), data.weight.sum()
    if kind == "numbered":
        game = batch_game(data, discount, width)
        which = data_moments.of_action(data.action, 3)
        places = Points(data.observation, data.next_observation, data.initial_observation[:6])
        weighing = samples.pairs(game.weight, drawn, which, rows, roots)
        return samples.NumberedSample(game, weighing, SCALE, places)
    game = pair_game(data, torch.cat([data.observation, data.action], -1), discount, width)
    weighing = samples.pairs(game.weight, drawn, torch.ones(n, 1).double(), rows, roots[:1])
    places = Points(data.observation, data.next_observation, data.initial_observation)
    leader = LEADERS["deterministic"]
    return samples.VectorSample(game, weighing, SCALE, places, leader, {})


def answer(aims=AIMS[0], statistic="v"):
    return neural_follower.Answer(aims, statistic, MULTIPLIER, REGULARIZATION)


def residuals():
    seen = sample()
    return seen.game.residual(seen.policy(LEADER), seen.values(CRITIC)), seen.pairs


def statistic_error(statistic):
    """Return how far a kernel loss is from its double loop over every single transition."""
    residual, batch = residuals()
    count = (batch.weight * batch.rows).round().long()
    rows = torch.arange(len(count)).repeat_interleave(count)
    total, number = 0.0, len(rows)
    for i, j in product(range(number), repeat=2):
        if statistic == "u" and i == j:
            continue
        at = rows[i], rows[j]
        total += residual[at[0]] * residual[at[1]] * (batch.features[at[0]] @ batch.features[at[1]])
    expected = total / (number**2 if statistic == "v" else number * (number - 1))
    return abs(batch.loss(residual, statistic) / expected - 1).item()


@pytest.mark.parametrize("statistic", ["u", "v"])
def test_a_statistic_is_its_double_loop(statistic):
    assert statistic_error(statistic) < 1e-12


def test_a_wrong_diagonal_is_caught(monkeypatch):
    right = samples.Pairs.diagonal
    monkeypatch.setattr(samples.Pairs, "diagonal", lambda self, x: right(self, x) * self.rows)
    assert statistic_error("u") > 1e-2


def residual_rows(critic, seen, policy):
    """Return ``d delta / d psi`` by differentiating each residual."""

    def residual(vector):
        return seen.game.residual(policy, seen.values(curvature.like(vector, critic)))

    return torch.func.jacrev(residual)(curvature.flat(critic))


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("kernel", ["feature", "gaussian", "normalized_feature"])
def test_pairs_of_different_actions_do_not_weigh_on_each_other(kernel, size):
    """Whitened by each action's own second moments, they are so by those of all features."""
    data = random_batch(SPEC, 20, seed=4)
    game = batch_game(data, 0.9, torch.tensor(5.0))
    draw = torch.Generator().manual_seed(6)
    drawn, grams = (
        torch.randn(20, size, generator=draw).double(),
        torch.randn(3, size, size, generator=draw).double(),
    )
    grams = grams @ grams.mT
    roots = data_moments.whitening(kernel, grams, torch.tensor(0.1))
    which = data_moments.of_action(game.action, 3)
    found = samples.pairs(game.weight, drawn, which, data.weight.sum(), roots).features
    assert found.shape == (20, 3 * size)
    whole = data_moments.per_action(which, drawn)
    every = torch.block_diag(*grams) + 0.1 * torch.eye(3 * size).double()
    every = every if kernel == "normalized_feature" else torch.eye(3 * size).double()
    torch.testing.assert_close(found @ found.T, whole @ torch.linalg.solve(every, whole.T))


def gradient_of(aims, seen, policy, critic):
    return torch.func.grad(lambda x: aims.leader(seen.game, policy, seen.values(x)))(critic)


def best_response(leader, aims, statistic, kind, start):
    """Return the critic at a minimum of J_F, found by Newton's steps."""
    seen, anchor = sample(kind), PLAYERS[kind].anchor
    given = anchor, answer(aims, statistic), seen, seen.policy(leader)

    def objective(vector):
        return neural_follower.objective(curvature.like(vector, anchor), *given)[0]

    vector = curvature.flat(start)
    for _ in range(120):
        slope = torch.func.grad(objective)(vector)
        if slope.norm() < 1e-12:
            break
        spectrum, basis = torch.linalg.eigh(torch.func.hessian(objective)(vector))
        step = basis @ ((basis.T @ slope) / spectrum.abs().clamp_min(0.02))
        vector = vector - step * min(1.0, 0.3 / step.norm().item())
    assert torch.func.grad(objective)(vector).norm() < 1e-10
    return curvature.like(vector, anchor)


def slope_error(aims=AIMS[0], statistic="v", ridge=0.0, size=1e-4, kind="numbered"):
    """Return how far the total derivative is from finite differences through the follower."""
    seen, (_, anchor, leader) = sample(kind), PLAYERS[kind]
    given = answer(aims, statistic)
    critic = best_response(leader, aims, statistic, kind, start=anchor)
    policy = seen.policy(leader)

    def value(leader):
        answered = best_response(leader, aims, statistic, kind, start=critic)
        return aims.leader(seen.game, seen.policy(leader), seen.values(answered)).item()

    hessian = curvature.hessian_of(critic, anchor, given, seen, policy)
    gradient = gradient_of(aims, seen, policy, critic)
    found = curvature.exact_direction(hessian, gradient, ridge)
    reply = neural_follower.reply(critic, found.along, given, seen, policy)
    parts = leader_gradient(aims, seen.game, seen.policy, leader, reply)
    total = tree_map(torch.add, parts.direct, parts.implicit)
    draw = torch.Generator().manual_seed(6)
    along = tree_map(lambda x: torch.randn(x.shape, generator=draw, dtype=x.dtype), leader)
    ends = [value(tree_map(lambda x, d, s=s: x + s * d, leader, along)) for s in (size, -size)]
    return abs(inner(total, along).item() / ((ends[0] - ends[1]) / (2 * size)) - 1)


# Without a sigmoid there is nothing that the indefinite U-statistic is least at.
@pytest.mark.parametrize("aims", AIMS, ids=str)
@pytest.mark.parametrize(
    ("kind", "statistic"), [("numbered", "u"), ("numbered", "v"), ("vectors", "v")]
)
def test_with_exact_curvature_the_total_derivative_is_the_slope(aims, statistic, kind):
    assert slope_error(aims, statistic, kind=kind) < 1e-4


@KINDS
def test_slips_are_caught(kind, monkeypatch):
    assert slope_error(ridge=0.1, kind=kind) > 1e-2
    right = curvature.exact_direction

    def flipped(*inputs):
        found = right(*inputs)
        return found._replace(along=tree_map(torch.neg, found.along))

    monkeypatch.setattr(curvature, "exact_direction", flipped)
    assert slope_error(kind=kind) > 1e-2


SETTINGS = {
    "follower": "neural",
    "hidden_sizes": [8],
    "follower.hidden_sizes": [8],
    "num_features": 6,
    "ridge": 0.01,
    "warm_updates": 2,
    "solve_interval": 3,
    "curvature_minibatches": 2,
}
EVERY_PHASE = 7


@pytest.mark.parametrize("settings", [{}, {"kernel_loss": "u"}], ids=str)
def test_a_run_alone_is_the_run_in_a_cohort(settings):
    algorithm = build_algorithm("stackelberg", **SETTINGS, **settings)
    data = [random_dataset("vector", n, n) for n in (60, 90)]
    together = train(make_cohort([algorithm] * 2, data), EVERY_PHASE)
    alone = train(make_cohort([algorithm], data[1:], seeds=[1]), EVERY_PHASE)
    assert_close(of_run(alone.state, 0), of_run(together.state, 1), rtol=1e-3, atol=1e-4)
    assert together.finite().all()
    assert {algorithm.phase(step) for step in range(EVERY_PHASE)} == {0, 1, 2}


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": "gaussian"},
        {"form": "constraint", "objective": "initial"},
        {"curvature": "exact"},
        {"leader_gradient": "individual"},
        {"updates": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["discrete", "vector"])
def test_every_variant_trains_and_logs(kind, settings):
    algorithm = build_algorithm("stackelberg", **{**SETTINGS, "ridge": 1.0, **settings})
    cohort = make_cohort([algorithm], [random_dataset(kind, 60, 0)])
    state, summary = of_run(cohort.state, 0), of_run(cohort.summary, 0)
    for step in range(6):
        batch = of_run(cohort.replay.batch(step), 0)
        state, metrics = algorithm.update(state, summary, batch, {}, algorithm.phase(step))
    metrics |= algorithm.diagnose(state, summary, batch, algorithm.phase(5))
    assert all(x.isfinite().all() for x in [*tensors(state), *metrics.values()])
    assert set(metrics) == documented("neural")
    if settings.get("leader_gradient") == "individual":
        assert metrics["implicit_term"] == metrics["cosine_batches"] == 0
    else:
        assert metrics["implicit_term"] > 0
        assert 0 < metrics["cosine_batches"].abs() <= 1


@pytest.mark.parametrize(
    ("statistic", "game"),
    [
        (statistic, game)
        for statistic, game in product(("u", "v", "squared"), GAMES)
        if (statistic, game["form"]) != ("squared", "constraint")  # which is refused
    ],
    ids=str,
)
def test_every_game_logs_exactly_what_is_documented(statistic, game):
    algorithm = build_algorithm(
        "stackelberg", **{**SETTINGS, "warm_updates": 0, "kernel_loss": statistic, **game}
    )
    metrics = first_updates(algorithm, random_dataset("vector", 60, 0), 1)[1]
    assert set(metrics) == documented("neural")


def test_a_warm_start_logs_its_losses_alone():
    cohort = make_cohort(
        [build_algorithm("stackelberg", **SETTINGS)], [random_dataset("vector", 60, 0)]
    )
    train(cohort, 1)
    assert set(cohort.metrics | cohort.diagnose()) == {"cloning_loss", "evaluation_loss"}


def test_a_warm_start_clones_the_behavior():
    """Half of what a state sees is one action; after the warm start the leader takes it."""
    algorithm = build_algorithm(
        "stackelberg", **{**SETTINGS, "warm_updates": 200, "learning_rate": 0.02}
    )
    data = random_dataset("discrete", 400, 0)
    favorite = data.keep((data.action == data.observation % 3) | (data.step % 4 == 0), "favorite")
    cohort = train(make_cohort([algorithm], [favorite]), 200)
    states = torch.arange(data.spec.observation_size)
    modes = cohort.policy(states[None].numpy()).mode()[0]
    assert torch.equal(modes, states % 3)


def test_tilted_followers_answer_apart_and_need_no_solve():
    """The one that also minimises the leader's objective leaves it lower than its opposite does."""
    algorithm = build_algorithm(
        "stackelberg", **{**SETTINGS, "implicit": "tilted", "ridge": None, "tilt": 5.0}
    )
    assert {algorithm.phase(step) for step in range(EVERY_PHASE)} == {0, 1}
    cohort = train(make_cohort([algorithm], [random_dataset("vector", 60, 0)]), 40)
    state = of_run(cohort.state, 0)
    observation = random_batch(make_spec("vector", size=4), 200).observation.float()
    policy = networks.apply(state.actor, observation).softmax(-1)
    middle, up, down = (
        (policy * networks.apply(memory.critic, observation)).sum(-1).mean()
        for memory in state.follower
    )
    assert up < middle < down
    assert cohort.metrics["implicit_term"] > 0
    assert set(cohort.metrics | cohort.diagnose()) == documented("neural")
