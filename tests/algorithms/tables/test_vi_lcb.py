"""Value iteration with lower confidence bounds: its means, its radii and what they promise."""

import numpy as np
import pytest

from bench.worlds import exact
from bench.worlds.mdps import Cliff, CombinationLock, Garnet
from tests.support.builders import build_algorithm, make_cohort, make_dataset, make_spec, train
from tests.support.tables import (
    DISCOUNT,
    SPEC,
    alone,
    drawn_datasets,
    policy_of,
    table_data,
    targets_of,
    values_of,
)


def learner(**settings):
    return build_algorithm("vi_lcb", **{"discount": DISCOUNT, "conservatism": 0.1} | settings)


def radius(targets, bonus, confidence=0.95, pairs=15):
    """Return the radius of the mean of some targets, by the inequality."""
    n, width, delta = len(targets), SPEC.v_max - SPEC.v_min, 1 - confidence
    if bonus == "hoeffding":
        return width * np.sqrt(np.log(pairs / delta) / (2 * n))
    cost = np.log(2 * pairs / delta)
    variance = np.var(targets, ddof=1) if n > 1 else 0.0
    return np.sqrt(2 * variance * cost / n) + 7 * width * cost / (3 * max(n - 1, 1))


@pytest.mark.parametrize("bonus", ["hoeffding", "bernstein"])
def test_an_update_lowers_every_mean_by_its_radius(bonus):
    dataset = table_data()
    cohort = train(alone(learner(bonus=bonus), dataset), 3)
    before = policy_of(cohort).scores[0].double().numpy()
    after = policy_of(train(cohort, 1)).scores[0].double().numpy()
    for pair, targets in targets_of(dataset, before.max(-1)).items():
        lowered = SPEC.v_min
        if targets:
            lowered = np.mean(targets) - 0.1 * radius(targets, bonus)
        assert after[pair] == pytest.approx(np.clip(lowered, SPEC.v_min, SPEC.v_max), abs=1e-4)
    assert before[4, 2] == SPEC.v_min


@pytest.mark.parametrize("conservatism", [0.0, 0.01])
@pytest.mark.parametrize("world", [CombinationLock(3, 3, 0.0), Cliff(2, 3, 0.0)])
def test_with_every_outcome_in_the_data_it_finds_the_optimum(world, conservatism):
    environment = world.environment("world", seed=0, discount=DISCOUNT, horizon=10)
    mdp = environment.mdp
    rows = [
        (s, a, mdp.reward[s, a, k], mdp.next_state[s, a, k], mdp.terminated[s, a, k])
        for s, a in np.ndindex(mdp.num_states, mdp.num_actions)
        for k in [int(mdp.probability[s, a].argmax())]
    ]
    dataset = make_dataset(environment.spec, rows)
    cohort = train(alone(learner(conservatism=conservatism), dataset), 80)
    policy = policy_of(cohort).mode_probabilities()[0].double().numpy()
    value = exact.policy_value(mdp, policy, DISCOUNT)
    assert value == pytest.approx(environment.optimum, abs=1e-6)
    if conservatism == 0:
        bound = cohort.metrics["lower_bound"].item()
        assert bound == pytest.approx(values_of(cohort, mdp)[0], abs=1e-4)


@pytest.mark.parametrize("bonus", ["hoeffding", "bernstein"])
@pytest.mark.parametrize(
    ("conservatism", "number"),
    [(1.0, 200), (0.0, 100), pytest.param(1.0, 1000, marks=pytest.mark.slow)],
)
def test_its_bound_holds_as_often_as_it_says(bonus, conservatism, number):
    environment = Garnet(4, 2, 3, 1.0).environment("world", seed=1, discount=0.5, horizon=10)
    datasets = drawn_datasets(environment.mdp, environment.spec, number, 400)
    algorithm = learner(bonus=bonus, conservatism=conservatism, discount=0.5)
    cohort = train(make_cohort([algorithm] * number, datasets), 15)
    values = values_of(cohort, environment.mdp, 0.5)
    broken = (values < cohort.metrics["lower_bound"].double().numpy() - 1e-6).mean()
    # Means without a radius are above the truth about half of the time.
    assert broken <= 0.05 if conservatism else broken > 0.2


def test_more_conservatism_means_lower_values():
    dataset = table_data()
    algorithms = [learner(conservatism=c) for c in (0.0, 0.05, 0.2, 1.0)]
    tables = policy_of(train(make_cohort(algorithms, [dataset] * 4), 40)).scores
    assert (tables.diff(dim=0) <= 0).all()
    assert (tables.diff(dim=0) < 0).any(-1).any(-1).all()


@pytest.mark.parametrize("bonus", ["hoeffding", "bernstein"])
def test_of_equal_targets_fewer_are_never_worth_more(bonus):
    """Whatever the bonus is scaled by: a single visit is no safer than two."""
    rows = [(0, action, 1.0, 0, True) for action in range(3) for _ in range(action + 1)]
    spec = make_spec(size=1, num_actions=3, v_min=-6.0, v_max=4.0)
    for conservatism in (0.001, 0.01, 0.1):
        algorithm = learner(bonus=bonus, conservatism=conservatism)
        one, two, three = policy_of(train(alone(algorithm, make_dataset(spec, rows)), 1)).scores[
            0, 0
        ]
        assert one <= two < three
