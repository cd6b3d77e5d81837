"""The sepsis simulator, against values that were computed apart from it and rules in words."""

import numpy as np
import pytest

from bench.worlds import exact
from bench.worlds.clinical import sepsis_sim
from bench.worlds.clinical.sepsis_sim import Patient, SepsisSimulator

# Optimal, physician (optimal with epsilon 0.15), uniform, never treat.
KNOWN = {
    ("published", 0.99): (0.475636, 0.034883, -0.809553, -0.784727),
    ("published", 0.9): (0.246341, 0.097253, -0.470979, -0.576519),
    ("corrected", 0.99): (0.743701, 0.399906, -0.766771, -0.736579),
}
CALM = Patient(0, 1, 1, 1, 2, 0, 0, 0)


def world(clamp="published", discount=0.99):
    return SepsisSimulator(0.2, clamp).environment("sepsis_sim", 0, discount, 20)


@pytest.mark.parametrize(("clamp", "discount"), KNOWN)
def test_values_are_those_computed_elsewhere(clamp, discount):
    environment = world(clamp, discount)
    shape = environment.mdp.num_states, environment.mdp.num_actions
    assert shape == (606, 8)
    optimal = environment.optimal_actions
    policies = [
        exact.deterministic(optimal, 8),
        exact.epsilon_greedy(optimal, 8, 0.15),
        np.full(shape, 1 / 8),
        exact.deterministic(np.zeros_like(optimal), 8),
    ]
    values = exact.policy_value(environment.mdp, np.stack(policies), discount)
    np.testing.assert_allclose(values, KNOWN[clamp, discount], atol=5e-7)


@pytest.mark.parametrize("highest", [1, 4])
def test_probabilities_of_every_pair_sum_to_one(highest):
    for patient in sepsis_sim.patients():
        for action in range(8):
            outcomes = sepsis_sim.following(patient, action, highest)
            assert sum(outcomes.values()) == pytest.approx(1)


def test_without_treatment_all_signs_fluctuate_by_one():
    patient = CALM._replace(diabetic=1, glucose=3)
    outcomes = sepsis_sim.following(patient, 0, 1)
    for sign, chance in (("heart_rate", 0.1), ("pressure", 0.1), ("glucose", 0.3)):
        level = getattr(patient, sign)
        marginal = dict.fromkeys(range(5), 0.0)
        for after, likely in outcomes.items():
            marginal[getattr(after, sign)] += likely
        assert marginal[level - 1] == pytest.approx(chance)
        assert marginal[level + 1] == pytest.approx(chance)


@pytest.mark.parametrize(
    ("highest", "after"), [(1, {1: 0.2, 2: 0.8}), (4, {1: 0.1, 2: 0.8, 3: 0.1})]
)
def test_the_published_clamp_lets_a_rising_glucose_fall(highest, after):
    # One level short: whatever rises from normal ends below it.
    patient = CALM._replace(ventilation=1)
    found = {}
    for outcome, likely in sepsis_sim.following(patient, 0, highest).items():
        found[outcome.glucose] = found.get(outcome.glucose, 0.0) + likely
    assert found == pytest.approx(after)


def test_vasopressors_raise_a_diabetics_pressure_and_glucose():
    patient = CALM._replace(diabetic=1, pressure=0)
    likely = {0: 0.0, 1: 0.0, 2: 0.0}
    sweeter = 0.0
    for after, chance in sepsis_sim.following(patient, 1, 1).items():
        likely[after.pressure] += chance
        sweeter += chance * (after.glucose == 3)
    assert likely == pytest.approx({0: 0.1, 1: 0.5, 2: 0.4})
    assert sweeter == pytest.approx(0.5)


def test_three_abnormal_signs_end_with_minus_one_and_health_without_treatment_with_one():
    assert sepsis_sim.end_of(CALM) == 1
    assert sepsis_sim.end_of(CALM._replace(antibiotics=1)) is None
    assert sepsis_sim.end_of(CALM._replace(heart_rate=0, pressure=2)) is None
    assert sepsis_sim.end_of(CALM._replace(heart_rate=0, pressure=2, oxygen=0)) == -1


def test_every_instance_is_the_same_object():
    world_of = SepsisSimulator(0.2, "published").environment
    assert world_of("x", 0, 0.9, 20) is world_of("x", 1, 0.9, 20)


def test_all_datasets_of_a_world_share_its_table():
    world = SepsisSimulator(0.2, "published")
    first, other = (world.environment(name, 0, 0.9, 20).mdp for name in ("expert", "random"))
    assert first is other
    corrected = SepsisSimulator(0.2, "corrected").environment("expert", 0, 0.9, 20).mdp
    assert not np.array_equal(corrected.probability, first.probability)
