"""StackelbergLearner: what it refuses, what it logs, and that it solves what can be solved."""

from functools import cache

import numpy as np
import pytest
import torch
import yaml
from builders import (
    build_algorithm,
    make_cohort,
    make_spec,
    of_run,
    random_dataset,
    same,
    tensors,
    train,
)

from bench import CONF, tabular
from bench.evaluation import evaluate
from bench.typed import ConfigError, typed_object

LOGGED = {
    "direct_gradient",
    "implicit_term",
    "total_derivative",
    "cosine_direct_implicit",
    "solver_residual",
    "follower_gradient",
    "smallest_curvature",
    "kernel_loss",
    "follower_value",
    "leader_objective",
    "pessimism",
    "concentrability",
    "out_of_range",
    "bandwidth",
    "multiplier",
    "ridge",
}


def learner(**settings):
    return build_algorithm("stackelberg", **{"hidden_sizes": [], **settings})


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
def task(name, seed):
    """Return the task of `conf/dataset/<name>.yaml` with a tuning seed."""
    settings = yaml.safe_load((CONF / "dataset" / f"{name}.yaml").read_text())
    discount = settings["discount"]
    for key in ("name", "discount", "seed", "normalization"):
        del settings[key]
    return typed_object(settings, "dataset").load(name, seed, discount, None)


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
    regrets = normalized_regrets(
        name, [1000, 1001, 1002, 1003], 100, objective=objective, learning_rate=0.05
    )
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
    for _ in range(num_updates):
        batch = cohort.replay.next()
        batch = None if batch is None else of_run(batch, 0)
        state, metrics = algorithm.update(state, summary, batch, {}, 0)
    return state, metrics


@pytest.mark.parametrize("kind", ["discrete", "vector"])
@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_variant_trains_and_logs_what_a_run_should(kind, settings):
    algorithm = learner(hidden_sizes=[8] if kind == "vector" else [], num_features=10, **settings)
    state, metrics = first_updates(algorithm, random_dataset(kind, 60, 0))
    assert set(metrics) >= LOGGED
    assert all(value.isfinite() for value in [*metrics.values(), *map(torch.sum, tensors(state))])
    assert metrics["follower_gradient"] < 1e-6
    assert metrics["solver_residual"] < 1e-6 or "ridge" in settings


def test_a_constraint_is_met():
    algorithm = learner(form="constraint", conservatism=0.5)
    data = random_dataset("discrete", 80, 0)
    cohort = train(make_cohort([algorithm], [data]), 5)
    assert cohort.metrics["kernel_loss"].item() == pytest.approx(0.25 / 80, rel=1e-4)


def test_a_constraint_is_met_in_features():
    """With as many transitions as the batch has, the kernel loss's own estimate."""
    settings = {"form": "constraint", "hidden_sizes": [8], "num_features": 10, "moment_rate": 1.0}
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
    visits = tabular.occupancy(cliff.environment.mdp, probabilities, 0.9)
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
