"""The game on continuous actions: its gradients against autograd, its moments against loops."""

from itertools import product

import pytest
import torch
from torch.utils._pytree import tree_map

from algorithms.optimizers import adam_init
from algorithms.stackelberg.followers.base import LEAD, WARM_START
from algorithms.stackelberg.game.implicit import inner, norm
from algorithms.stackelberg.leaders import LEADERS
from algorithms.stackelberg.responses import linear as linear_response
from bench.cohorts.cohort import Cohort
from bench.settings.typed import ConfigError
from tests.algorithms.stackelberg.test_learner import documented
from tests.support.builders import (
    build_algorithm,
    make_cohort,
    make_spec,
    of_run,
    random_batch,
    random_dataset,
    train,
)

SPEC = make_spec(
    "continuous", size=2, v_min=-8.0, v_max=2.0, uniform_regret=4.0, uniform_value=-5.0
)
ROWS, FEATURES = 40, 6
GAMES = list(product(("data", "initial"), ("relative", "absolute")))


def learner(leader="deterministic", **settings):
    """Return a learner whose leader has no kinks, without a ridge."""
    usual = {"follower": "pairs", "ridge": None, "hidden_sizes": [], "num_features": FEATURES}
    settings = usual | {"bandwidth": 1.5} | settings
    return build_algorithm("stackelberg", "continuous", leader=leader, **settings)


def turn_of(algorithm, seed=0, rows=ROWS):
    """Return a turn of the game on random transitions, in float64."""
    summary = of_run(make_cohort([algorithm], [random_dataset("continuous", 50, 0)]).summary, 0)
    state = algorithm.init(SPEC, summary, torch.Generator().manual_seed(seed))
    state = state._replace(actor=tree_map(torch.Tensor.double, state.actor))
    draw = torch.Generator().manual_seed(seed + 1)
    noise = {
        name: torch.rand(shape, generator=draw, dtype=torch.float64)
        for name, shape in algorithm.noise_shapes(SPEC, rows).items()
    }
    return algorithm._turn(state, summary, random_batch(SPEC, rows, seed + 2), noise)


def objective(algorithm, turn, actor):
    """Return J_L against the answer to an actor, which autograd follows through the solve."""
    turn = turn._replace(actor=actor)
    played, follower = algorithm.follower.round_of(turn), algorithm.follower
    weights = played.answer.response.weights
    q = lambda features: turn.scale.base + features @ weights  # noqa: E731
    return turn.terms.aims.leader(played.game, follower.policy_at(turn, actor), q)


def relative(left, right):
    return (norm(tree_map(torch.sub, left, right)) / norm(right)).item()


@pytest.mark.parametrize("kernel", ["feature", "normalized_feature", "gaussian"])
@pytest.mark.parametrize("leader", ["deterministic", "gaussian", "clipped_gaussian"])
@pytest.mark.parametrize(("aim", "pessimism"), GAMES)
def test_the_total_derivative_is_the_one_through_the_solve(kernel, leader, aim, pessimism):
    algorithm = learner(leader, kernel=kernel, objective=aim, pessimism=pessimism)
    turn = turn_of(algorithm)
    found = algorithm.follower.play(turn, LEAD).gradient
    expected = torch.func.grad(lambda actor: objective(algorithm, turn, actor))(turn.actor)
    assert relative(found.total, expected) < 1e-9
    assert relative(found.direct, expected) > 1e-3, "the implicit term is not there"


@pytest.mark.parametrize("settings", [{"kernel_loss": "squared"}, {"form": "constraint"}], ids=str)
@pytest.mark.parametrize(("aim", "pessimism"), GAMES)
def test_it_is_the_slope_of_the_objective_against_every_answer(settings, aim, pessimism):
    algorithm = learner(objective=aim, pessimism=pessimism, **settings)
    turn, draw = turn_of(algorithm), torch.Generator().manual_seed(7)
    along = tree_map(lambda x: torch.randn(x.shape, generator=draw, dtype=x.dtype), turn.actor)

    def at(step):
        return objective(algorithm, turn, tree_map(lambda x, d: x + step * d, turn.actor, along))

    slope = (at(1e-5) - at(-1e-5)) / 2e-5
    found = algorithm.follower.play(turn, LEAD).gradient.total
    assert inner(found, along).item() == pytest.approx(slope.item(), rel=1e-4)


@pytest.mark.parametrize("kernel_loss", ["v", "squared"])
@pytest.mark.parametrize(("aim", "pessimism"), GAMES)
def test_the_envelope_is_the_slope_of_what_the_follower_reaches(kernel_loss, aim, pessimism):
    algorithm = learner(objective=aim, pessimism=pessimism, kernel_loss=kernel_loss)
    turn = turn_of(algorithm)

    def reached(actor):
        played = algorithm.follower.round_of(turn._replace(actor=actor))
        answer, weights = played.answer, played.answer.response.weights
        loss = answer.response.multiplier * answer.loss.value(weights)
        size = algorithm.follower.regularization * (weights**2).sum()
        q = lambda features: turn.scale.base + features @ weights  # noqa: E731
        policy = algorithm.follower.policy_at(turn, actor)
        return turn.terms.aims.follower(played.game, policy, q) + loss + size

    found = algorithm.follower.play(turn, LEAD).gradient.envelope
    assert relative(found, torch.func.grad(reached)(turn.actor)) < 1e-9


def test_pessimism_is_concentrability():
    """Without regularization the value is that of the unpessimistic fit less |u|^2 / 2 lambda."""
    algorithm = learner(
        objective="initial", pessimism="absolute", kernel="feature", regularization=1e-12
    )
    turn = turn_of(algorithm)
    played = algorithm.follower.round_of(turn)
    moments, start = played.moments, played.game.weight @ played.policy.initial
    unpessimistic = torch.linalg.solve(moments.matrix, moments.target)
    size = (torch.linalg.solve(moments.matrix.T, start) ** 2).sum()
    multiplier = played.answer.response.multiplier
    found = start @ played.answer.response.weights
    expected = start @ unpessimistic - size / (2 * multiplier)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    told = linear_response.metrics(
        played.answer.loss, played.answer.response, played.answer.starts, turn.terms.discount, 1e-12
    )
    expected = (1 - 0.9) ** 2 * size
    assert told["concentrability"].item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_implicit_term_vanishes_where_both_want_the_same():
    """In place of J_L the follower's whole objective, whose slope is 0 at the answer."""
    algorithm = learner()
    turn = turn_of(algorithm)
    answer = algorithm.follower.round_of(turn).answer
    weights = answer.response.weights
    slope = answer.starts.follower + answer.response.multiplier * answer.loss.gradient(weights)
    shared = slope + 2 * algorithm.follower.regularization * weights
    moves, _ = linear_response.direction(
        answer.loss, answer.response, shared, ridge=None, constrained=False
    )
    usual, _ = linear_response.direction(
        answer.loss, answer.response, answer.starts.leader, ridge=None, constrained=False
    )
    assert moves.along.norm() < 1e-9 * usual.along.norm()


@pytest.mark.parametrize("kernel", ["normalized_feature", "laplacian"])
def test_moments_are_those_of_a_loop_over_transitions(kernel):
    algorithm = learner(kernel=kernel)
    turn = turn_of(algorithm, rows=9)
    played, follower = algorithm.follower.round_of(turn), algorithm.follower
    batch, features = turn.batch, turn.memory.features
    action = torch.tanh(batch.next_observation @ turn.actor[0]["weight"] + turn.actor[0]["bias"])

    def phi(observation, action, of=""):
        pair = torch.cat([observation / 1.5, action / follower.action_bandwidth])
        frequency, phase = (getattr(features, f"{of}{name}") for name in ("frequency", "phase"))
        return (2 / FEATURES) ** 0.5 * (pair @ frequency + phase).cos()

    matrix, target = torch.zeros(FEATURES, FEATURES), torch.zeros(FEATURES)
    of_kernel = "kernel_" if kernel == "laplacian" else ""
    base, width = SPEC.uniform_value / 4.0, 4.0
    for i in range(9):
        here = phi(batch.observation[i], batch.action[i])
        there = phi(batch.next_observation[i], action[i])
        weigh = phi(batch.observation[i], batch.action[i], of_kernel)
        going = 0.9 * (1 - batch.terminated[i])
        share = batch.weight[i] / batch.weight.sum()
        matrix = matrix + share * torch.outer(weigh, here - going * there)
        reward = batch.reward[i] / width + going * base - base
        target = target + share * weigh * reward
    torch.testing.assert_close(played.moments.matrix, matrix)
    torch.testing.assert_close(played.moments.target, target)


FOLLOWERS = [("table", "table", []), ("linear", "vector", [8]), ("pairs", "continuous", [8])]


@pytest.mark.parametrize(("follower", "kind", "sizes"), FOLLOWERS, ids=lambda x: str(x))
@pytest.mark.parametrize("tilt", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("pessimism", ["relative", "absolute"])
def test_two_tilted_answers_tell_what_a_solve_does(follower, kind, sizes, tilt, pessimism):
    settings = {
        "follower": follower,
        "leader": "deterministic" if kind == "continuous" else "categorical",
        "hidden_sizes": sizes,
        "num_features": FEATURES,
        "pessimism": pessimism,
        "tilt": tilt,
        "ridge": None,
        "warm_updates": 0,
    }
    totals = []
    for implicit in ("solve", "tilted"):
        algorithm = build_algorithm("stackelberg", kind, implicit=implicit, **settings)
        data = random_dataset("discrete" if kind == "table" else kind, 60, 0)
        cohort = make_cohort([algorithm], [data])
        state, summary = of_run(cohort.state, 0), of_run(cohort.summary, 0)
        state = state._replace(actor=tree_map(torch.Tensor.double, state.actor))
        batch = cohort.replay.batch(0)
        batch = None if batch is None else as_double(of_run(batch, 0))
        summary = as_double(summary)
        turn = algorithm._turn(state, summary, batch, {})
        totals.append(algorithm._play(turn, LEAD).gradient.total)
    assert relative(*totals) < 1e-7


def as_double(tensors):
    """Return a batch or a summary with all that is no number of something in float64."""
    return tree_map(lambda x: x.double() if x is not None and x.is_floating_point() else x, tensors)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"leader": "categorical"}, "leader=categorical chooses discrete actions"),
        ({"follower": "linear"}, "follower=linear values discrete ones"),
        ({"implicit": "tilted", "form": "constraint"}, "implicit=tilted needs form=penalty"),
        ({"implicit": "tilted", "ridge": 0.1}, "implicit=tilted solves nothing"),
        ({"kernel": "delta"}, "kernel=delta has no features, which follower=pairs works with"),
        ({"kernel": "delta", "follower": "features"}, "which follower=features works with"),
        ({"kernel": "delta", "follower": "neural_pairs"}, "which follower=neural_pairs works with"),
        ({"follower": "neural_pairs"}, "follower=neural_pairs has a curvature of low rank"),
        ({"kernel_loss": "u"}, "kernel_loss=u has no exact response"),
        (
            {"kernel_loss": "u", "follower": "neural_pairs", "ridge": 1.0},
            "follower=neural_pairs has values without bounds",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(settings, message):
    with pytest.raises(ConfigError) as error:
        learner(**{"leader": "deterministic"} | settings)
    assert message in str(error.value)
    assert str(error.value).count("\n") == 0


VARIANTS = [
    ("pairs", "deterministic", {}),
    ("pairs", "gaussian", {"implicit": "tilted"}),
    ("pairs", "deterministic", {"leader_gradient": "maximin"}),
    ("features", "deterministic", {"leader_gradient": "individual"}),
    ("features", "gaussian", {"implicit": "tilted"}),
]


@pytest.mark.parametrize(("follower", "leader", "settings"), VARIANTS)
def test_it_clones_then_leads_and_says_what_it_sees(follower, leader, settings):
    sizes = {"warm_updates": 2, "hidden_sizes": [8]}
    algorithm = learner(leader, follower=follower, **sizes, **settings)
    assert [algorithm.phase(step) for step in range(4)] == [WARM_START, WARM_START, LEAD, LEAD]
    cohort: Cohort = train(make_cohort([algorithm], [random_dataset("continuous", 60, 0)]), 4)
    told = cohort.metrics | cohort.diagnose()
    assert set(told) == documented(follower)
    assert all(value.isfinite().all() for value in told.values())


@pytest.mark.parametrize("name", ["gaussian", "clipped_gaussian"])
def test_a_leader_reads_its_outputs_as_its_policy_does(name):
    outputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(LEADERS["deterministic"].policy(outputs).mode(), outputs.tanh())
    gaussian = LEADERS[name]
    assert torch.equal(gaussian.policy(outputs).mode(), outputs[:, :2].tanh())
    drawn = gaussian.choices(outputs, torch.full((5, 2), 0.5))
    torch.testing.assert_close(drawn.float(), gaussian.policy(outputs).mode())
    # Its choices are in float64, whose tanh may round to a neighbour.
    undrawn = gaussian.choices(outputs, None)
    torch.testing.assert_close(undrawn.float(), gaussian.policy(outputs).mode())


@pytest.mark.parametrize("noise", [0.02, 0.4, 0.99])
def test_a_clipped_leader_draws_around_its_mean_and_stops_at_the_bounds(noise):
    outputs = torch.tensor([[0.3, -2.0, -1.0, 0.0]])
    normal = torch.distributions.Normal(outputs[:, :2].tanh(), outputs[:, 2:].exp())
    leader = LEADERS["clipped_gaussian"]
    found = leader.choices(outputs, torch.full((1, 2), noise))
    expected = normal.icdf(torch.full((1, 2), noise)).clamp(-1, 1)
    torch.testing.assert_close(found.float(), expected)
    at_bound = torch.tensor([[0.1, -1.0]])
    surprise = leader.surprise(outputs, at_bound)
    torch.testing.assert_close(surprise, -normal.log_prob(at_bound).sum(-1))


def test_actions_at_a_bound_are_cloned_without_leaving_the_others():
    """Half of the actions are at a bound: the mean error of the clone is of the others' size."""
    draw = torch.Generator().manual_seed(0)
    action = (0.8 + 0.3 * torch.randn(2000, 1, generator=draw)).clamp(-1, 1)

    def clone(name):
        leader, outputs = LEADERS[name], torch.zeros(2, requires_grad=True)
        adam = torch.optim.Adam([outputs], 0.02)
        for _ in range(400):
            adam.zero_grad()
            leader.surprise(outputs.expand(2000, 2), action).mean().backward()
            adam.step()
        return leader.policy(outputs.detach()).mode().item()

    assert clone("clipped_gaussian") == pytest.approx(action.mean().item(), abs=1e-2)
    assert clone("gaussian") > action.mean().item() + 0.1


def features_turn(algorithm):
    """Return a turn whose critic is in float64, with a slow copy that is another."""
    turn = turn_of(algorithm)
    critic = as_double(turn.memory.critic)
    # Far enough out for some targets to leave the range of returns.
    slow = tree_map(lambda x: 3 * x + 0.1, critic)
    memory = turn.memory._replace(critic=critic, slow_critic=slow, optimizer=adam_init(critic))
    return turn._replace(memory=memory)


def features_loss(turn, pessimism):
    """Return the loss that features learn by, as the module's text has it."""
    batch, actor = turn.batch, turn.actor[0]

    def value(critic, observation, action):
        pairs = torch.cat([observation, action], -1)
        for layer in critic[:-1]:
            pairs = (pairs @ layer["weight"] + layer["bias"]).relu()
        return -5.0 / 4 + (pairs @ critic[-1]["weight"] + critic[-1]["bias"]).squeeze(-1)

    def chosen(critic, observation):
        action = (observation @ actor["weight"] + actor["bias"]).tanh()
        return value(critic, observation, action)

    def mean(x):
        return (x * batch.weight).sum() / batch.weight.sum()

    later = chosen(turn.memory.slow_critic, batch.next_observation)
    worth = batch.reward / 4 + 0.9 * (1 - batch.terminated) * later
    target = worth.clamp(-8 / 4, 2 / 4)
    assert (target != worth).any()

    def loss(critic):
        taken = value(critic, batch.observation, batch.action)
        against = {
            None: torch.zeros(()),
            "relative": mean(chosen(critic, batch.observation) - taken),
            "absolute": mean(chosen(critic, batch.initial_observation)),
        }[pessimism]
        # 50 transitions and a conservatism of 10.
        return mean((taken - target) ** 2) + against * 10 / 50

    return loss


@pytest.mark.parametrize("pessimism", [None, "relative", "absolute"])
def test_features_learn_by_the_followers_objective(pessimism):
    """One step against autograd; the warm start knows no pessimism."""
    rates = {"follower.learning_rate": 0.1, "follower.leading_rate": 0.1, "conservatism": 10.0}
    aims = {"pessimism": pessimism or "relative", "objective": "initial"}
    algorithm = learner(follower="features", **rates, **aims)
    turn = features_turn(algorithm)
    loss = features_loss(turn, pessimism)
    if pessimism is None:
        warm = algorithm.follower.warm_start(turn)
        memory, told = warm.memory, warm.metrics["evaluation_loss"]
        assert told.item() == pytest.approx(loss(turn.memory.critic).item())
    else:
        memory = algorithm.follower.play(turn, LEAD).memory
    slope = torch.func.grad(loss)(turn.memory.critic)
    moved = tree_map(torch.sub, memory.critic, turn.memory.critic)
    # Adam's first step is against the sign of every derivative.
    expected = tree_map(lambda x: -0.1 * x.sign(), slope)
    assert relative(moved, expected) < 1e-3


@pytest.mark.parametrize("regularization", [1e-3, 1e9])
def test_learned_features_answer_near_the_layer_they_were_learned_through(regularization):
    """The answer's slope by autograd is 0, and what draws it to psi_0 leaves the gradient total."""
    settings = {"follower": "features", "regularization": regularization, "ridge": None}
    algorithm = learner(**settings, **{"follower.leading_rate": 0.0})
    turn = features_turn(algorithm)
    played = algorithm.follower.round_of(turn)
    answer, weights = played.answer, played.answer.response.weights
    multiplier, last = answer.response.multiplier, turn.memory.critic[-1]
    layer = torch.cat([last["weight"].squeeze(-1), last["bias"]]) * FEATURES**0.5

    def reached(weights):
        q = lambda features: turn.scale.base + features @ weights  # noqa: E731
        pessimism = turn.terms.aims.follower(played.game, played.policy, q)
        far = 50 / 0.03 * regularization * ((weights - layer) ** 2).sum()
        return pessimism + multiplier * answer.loss.value(weights) + far

    slope, elsewhere = (torch.func.grad(reached)(w) for w in (weights, torch.zeros_like(weights)))
    assert slope.norm() < 1e-8 * elsewhere.norm()
    far = ((weights - layer).norm() / layer.norm()).item()
    assert far < 1e-6 if regularization > 1 else far > 1e-3
    found = algorithm.follower.play(turn, LEAD).gradient.total
    expected = torch.func.grad(lambda actor: objective(algorithm, turn, actor))(turn.actor)
    assert relative(found, expected) < 1e-8


def test_the_leader_starts_from_a_clone_of_the_best_episodes():
    turn = turn_of(learner())
    quantiles = turn.batch.episode_return.quantile(torch.linspace(0, 1, 101, dtype=torch.float64))
    turn = turn._replace(summary=turn.summary._replace(return_quantiles=quantiles))
    found = learner(top_fraction=0.25).follower.warm_start(turn).cloning
    best = turn.batch.episode_return >= quantiles[75]
    alone = turn._replace(batch=type(turn.batch)(*(x[best] for x in turn.batch)))
    expected = learner(top_fraction=1.0).follower.warm_start(alone).cloning
    assert 0 < best.sum() < len(best)
    assert relative(found, expected) < 1e-6
