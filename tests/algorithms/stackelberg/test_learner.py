"""StackelbergLearner: what it refuses, what it logs, and that it solves what can be solved."""

import importlib
import re
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch

from algorithms.stackelberg.followers.linear import halves
from bench import CONF
from bench.settings.run import run_config
from bench.settings.typed import ConfigError
from bench.store.records import RunStore
from bench.worlds import exact
from tests.support import commands, sweeps
from tests.support.builders import (
    build_algorithm,
    evaluate,
    make_cohort,
    make_spec,
    of_run,
    random_dataset,
    same,
    settings_of,
    tensors,
    train,
)

README = (CONF.parent / "algorithms" / "README.md").read_text()


def documented(follower):
    """Return the metrics that the README's table says such a follower logs while it leads."""
    table = README.partition("## What StackelbergLearner logs")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    assert len(named) == sum(len(re.findall(r"`(\w+)`", row[1])) for row in rows), "named twice"
    return {
        name
        for row in rows
        if row[2].strip() == "all" or follower in row[2].split(",")[0].replace("and", " ").split()
        for name in re.findall(r"`(\w+)`", row[1])
    }


def test_followers_are_called_what_settings_call_them():
    named = {
        name: _class_of(follower["target"]).name
        for name, follower in settings_of("stackelberg")["followers"].items()
    }
    assert named == {name: name for name in named}


def _class_of(target):
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def learner(**settings):
    return build_algorithm("stackelberg", "table", **{"hidden_sizes": [], **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_loss": "u"}, "kernel_loss=u has no exact response"),
        ({"kernel": "normalized_delta", "follower": "linear"}, "kernel=normalized_delta divides"),
        ({"kernel": "delta", "follower": "linear"}, "kernel=delta has no features"),
        ({"conservatism": 0.0}, "conservatism is 0.0"),
        ({"objective": "both"}, "objective is 'both'"),
        ({"bandwidth": -1.0}, "bandwidth is -1.0"),
        ({"ridge": -1.0}, "ridge is -1.0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(settings, message):
    with pytest.raises(ConfigError) as error:
        learner(**settings)
    assert message in str(error.value)
    assert str(error.value).count("\n") == 0


@cache
def task(name, seed, *words):
    """Return the task of `conf/dataset/<name>.yaml` with a tuning seed."""
    (job,) = commands.settings(f"dataset={name}", f"seed={seed}", *words)
    dataset = run_config(job).dataset
    return dataset.source.load(dataset.name, dataset.seed, dataset.discount, None)


def normalized_regrets(name, seeds, num_updates, **settings):
    tasks = [task(name, seed) for seed in seeds]
    cohort = make_cohort([learner(**settings)] * len(seeds), [t.data for t in tasks], seeds)
    environments = [t.environment for t in tasks]
    found = evaluate(train(cohort, num_updates), environments, seeds, 1)
    return np.array(
        [
            (env.optimum - result.exact_value) / (env.optimum - env.uniform)
            for env, result in zip(environments, found, strict=True)
        ]
    )


@pytest.mark.parametrize("name", ["garnet", "lock", "cliff"])
@pytest.mark.parametrize("objective", ["data", "initial"])
def test_at_full_coverage_a_table_is_all_but_optimal(name, objective):
    regrets = normalized_regrets(name, [1000, 1001], 60, objective=objective, learning_rate=0.05)
    assert regrets.mean() <= 0.02


VARIANTS = [
    {"form": "constraint"},
    {"objective": "initial", "pessimism": "absolute", "form": "constraint"},
    {"leader_gradient": "individual"},
    {"bandwidth": 0.7},
    {"ridge": 1e-3},
    {"kernel": "gaussian"},
    {"kernel": "feature"},
]


def first_updates(algorithm, data, num_updates=2):
    """Return state and metrics after updates that are not traced, which would take longer."""
    cohort = make_cohort([algorithm], [data])
    state, summary = of_run(cohort.state, 0), of_run(cohort.summary, 0)
    for step in range(num_updates):
        batch = cohort.replay.batch(step)
        batch = None if batch is None else of_run(batch, 0)
        state, metrics = algorithm.update(state, summary, batch, {}, 0)
    return state, metrics | algorithm.diagnose(state, summary, batch, 0)


@pytest.mark.parametrize("kind", ["discrete", "vector"])
@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_variant_trains_and_logs_what_a_run_should(kind, settings):
    follower, sizes = ("linear", [8]) if kind == "vector" else ("table", [])
    algorithm = learner(follower=follower, hidden_sizes=sizes, num_features=10, **settings)
    state, metrics = first_updates(algorithm, random_dataset(kind, 60, 0))
    assert set(metrics) == documented("table" if kind == "discrete" else "linear")
    assert all(value.isfinite() for value in [*metrics.values(), *map(torch.sum, tensors(state))])
    assert metrics["follower_gradient"] < 1e-6
    assert metrics["solver_residual"] < 1e-6


GAMES = [
    dict(zip(("objective", "pessimism", "form", "leader_gradient"), game, strict=True))
    for game in product(
        ("data", "initial"),
        ("relative", "absolute"),
        ("penalty", "constraint"),
        ("total", "individual"),
    )
]


@pytest.mark.parametrize("follower", ["table", "linear"])
@pytest.mark.parametrize("game", GAMES, ids=lambda game: "-".join(game.values()))
def test_every_game_logs_exactly_what_is_documented(follower, game):
    algorithm = learner(follower=follower, num_features=6, **game)
    metrics = first_updates(algorithm, random_dataset("discrete", 60, 0), 1)[1]
    assert set(metrics) == documented(follower)
    assert all(value.isfinite() for value in metrics.values())


def test_a_record_holds_what_is_documented_at_every_evaluation(tmp_path, monkeypatch):
    """The diagnosis gets there too, and the values of follower and environment side by side."""
    words = [*sweeps.TINY, "algorithm=stackelberg", "num_updates=4", "eval_every=2"]
    monkeypatch.chdir(tmp_path)
    assert sweeps.run_here(monkeypatch, *words, "algorithm.hidden_sizes=[]") == 0
    (record,) = RunStore(tmp_path / "results" / "runs").read("default")
    assert set(record.metrics) == documented("table")
    for points in record.metrics.values():
        assert [update for update, _ in points] == [2, 4]
    assert [e["update"] for e in record.evaluations] == [2, 4]


def test_on_a_covered_table_the_follower_s_value_is_the_exact_one_less_pessimism():
    """Both in the environment's units, of one policy, which is stochastic."""
    world = task("cliff", 1000, "behavior=mixed", "dataset.environment.slip=0.0")
    gaps = {}
    for conservatism in (1e-6, 1.0):
        algorithm = learner(
            conservatism=conservatism, learning_rate=0.05, objective="initial", pessimism="absolute"
        )
        cohort = train(make_cohort([algorithm], [world.data], [1000]), 30)
        (found,) = evaluate(cohort, [world.environment], [1000], 1)
        # The next update's follower answers the policy that was evaluated.
        told = train(cohort, 1).metrics["follower_value"].item()
        gaps[conservatism] = (found.sampled_value - told) / abs(found.sampled_value)
    assert gaps[1e-6] == pytest.approx(0, abs=1e-4)
    assert gaps[1.0] > 1e-3


def test_a_table_s_diagonal_share_is_that_of_its_double_loop():
    """Of rewards that a transition determines, since counts know no others apart."""
    data = random_dataset("discrete", 40, 0)
    after = np.where(data.terminated, 0, 1 + data.next_observation)
    data = data.with_rewards(np.sin(3 * data.observation + data.action + after), "determined")
    for kernel in ("delta", "normalized_delta", "gaussian"):
        algorithm = learner(kernel=kernel, conservatism=30.0, bandwidth=1.0)
        cohort = make_cohort([algorithm], [data])
        state, summary = of_run(cohort.state, 0), of_run(cohort.summary, 0)
        found = algorithm.diagnose(state, summary, None, 0)["kernel_diagonal_share"]
        played = algorithm.follower.round_of(algorithm._turn(state, summary, None, {}))
        q, policy = played.response.q, played.points.observation
        value = (policy * q).sum(-1)
        width = state.units.width
        error = [
            r / width + (0.0 if end else 0.9 * value[after]) - q[s, a]
            for s, a, r, after, end in zip(
                data.observation, data.action, data.reward, data.next_observation, data.terminated,
                strict=True,
            )
        ]  # fmt: skip
        whole = diagonal = 0.0
        for i, j in product(range(len(data)), repeat=2):
            if data.action[i] != data.action[j]:
                continue
            same = data.observation[i] == data.observation[j]
            pair = {"delta": float(same), "gaussian": 1.0 if same else np.exp(-1.0)}.get(kernel)
            if pair is None:
                pair = same / played.table.share[data.observation[i], data.action[i]]
            whole += pair * error[i] * error[j]
            diagonal += pair * error[i] * error[j] * (i == j)
        assert found.item() == pytest.approx((diagonal / whole).item(), rel=1e-5)


def test_two_halves_of_the_data_agree_more_the_more_the_moments_remember():
    settings = {"follower": "linear", "hidden_sizes": [8], "num_features": 10}
    data = random_dataset("vector", 400, 0)
    told = [
        first_updates(learner(**settings, moment_rate=rate), data, 40)[1]["cosine_batches"]
        for rate in (0.02, 1.0)
    ]
    assert -1 <= told[1] < told[0] <= 1


def test_both_halves_of_a_padded_batch_have_rows():
    data = random_dataset("vector", 20, 0)
    cohort = make_cohort(
        [learner(follower="linear")] * 2,
        [data, random_dataset("vector", 90, 1)],
        batch_size="full",
    )
    first, second = halves(of_run(cohort.replay.batch(cohort.step), 0))
    assert first.weight.sum() == second.weight.sum() == 10
    assert (first.weight * second.weight).sum() == 0


def test_a_constraint_is_met():
    algorithm = learner(form="constraint", conservatism=0.5)
    data = random_dataset("discrete", 80, 0)
    cohort = train(make_cohort([algorithm], [data]), 5)
    assert cohort.metrics["kernel_loss"].item() == pytest.approx(0.25 / 80, rel=1e-4)


def test_a_constraint_is_met_in_features():
    """With as many transitions as the batch has, the kernel loss's own estimate."""
    settings = {"follower": "linear", "form": "constraint", "hidden_sizes": [8]}
    settings |= {"num_features": 10, "moment_rate": 1.0}
    data = random_dataset("vector", 80, 0)
    metrics = first_updates(learner(**settings, conservatism=0.1), data)[1]
    assert metrics["kernel_loss"].item() == pytest.approx(0.01 / 16, rel=1e-4)
    # What regularization alone holds is bound by nothing else.
    metrics = first_updates(learner(**settings, conservatism=100.0), data)[1]
    assert metrics["kernel_loss"] < 100**2 / 16
    assert metrics["multiplier"] < 1e-3


def test_cells_without_data_are_worth_v_min_and_states_without_data_stay_tied():
    """The policy moves away from what is unseen, and where all is unseen it does not move."""
    spec = make_spec(size=4, num_actions=3, v_min=-5.0, v_max=5.0)
    full = random_dataset("discrete", 200, 0, spec=spec)
    seen = (full.observation != 3) & ~((full.observation == 1) & (full.action == 2))
    cohort = train(make_cohort([learner()], [full.keep(seen, "hole")]), 50)
    logits = cohort.policy(np.arange(4)[None]).logits[0]
    assert logits[1].argmin() == 2
    assert len(set(logits[3].tolist())) == 1


def test_the_follower_s_concentrability_is_that_of_the_occupancy():
    cliff = task("cliff", 1000)
    cohort = train(make_cohort([learner()], [cliff.data], [1000]), 30)
    probabilities = cohort.policy(np.arange(24)[None]).probabilities()[0].double().numpy()
    visits = exact.occupancy(cliff.environment.mdp, probabilities, 0.9)
    share = np.zeros((24, 4))
    np.add.at(share, (cliff.data.observation, cliff.data.action), 1 / len(cliff.data))
    expected = (visits**2 / np.where(share > 0, share, np.inf)).sum()
    # The follower knows the empirical transitions, and a policy one update older.
    assert cohort.metrics["concentrability"].item() == pytest.approx(expected, rel=0.05)


def test_an_individual_leader_follows_its_direct_gradient_alone():
    data = random_dataset("discrete", 60, 0)
    total, individual = (
        first_updates(learner(leader_gradient=kind), data, 5)[0].actor
        for kind in ("total", "individual")
    )
    assert not same(total, individual)


def test_rewards_in_other_units_change_no_policy():
    """Values are divided by the width of their range."""
    data = [
        random_dataset("discrete", 100, 0, spec=make_spec(size=5, v_min=-bound, v_max=bound))
        for bound in (10.0, 100.0)
    ]
    scaled = data[1].with_rewards(10 * data[1].reward, "scaled")
    one, other = (first_updates(learner(), d, 20) for d in (data[0], scaled))
    torch.testing.assert_close(one[0].actor, other[0].actor, rtol=1e-4, atol=1e-5)
    ratio = other[1]["follower_value"] / one[1]["follower_value"]
    assert ratio.item() == pytest.approx(10, rel=1e-4)
