"""Insulin doses: bodies against the public simulator, the day's rules, and measured returns."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.behavior import simulated_value
from bench.data.sensing import SensedEnvironment, Sensing
from bench.worlds.base import rollout
from bench.worlds.clinical.days import NAMES, Days, index_of_control
from bench.worlds.clinical.glucose import (
    LEVELS,
    MOST_UNITS,
    Glucose,
    GlucoseEnvironment,
    GlucoseInUnits,
    in_units,
    mean_return,
)
from bench.worlds.clinical.physiology import Bodies

# Written by simglucose 0.2.11 itself.
REFERENCE = np.loadtxt(Path(__file__).with_name("reference_glucose.csv"), delimiter=",")
CLINICIAN = ({"policy": "clinician", "epsilon": 0.0, "share": 1.0},)


def environment(patient=0, noise=0.4, skipped=0.1):
    return Glucose(patient, noise, skipped).environment("glucose", 0, 0.99, 48)


def in_any_dose(patient=0, noise=0.4, skipped=0.1, horizon=48):
    world = GlucoseInUnits(patient, noise, skipped)
    return world.environment("glucose_in_units", 0, 0.99, horizon)


def simulator(num_episodes, patient=0, seed=0, units=GlucoseEnvironment.units):
    return Days(patient, units, [np.random.default_rng(seed)], num_episodes)


@pytest.mark.parametrize(("dtype", "substeps", "apart"), [
    (torch.float32, 1, 0.17),
    pytest.param(torch.float64, 1, 0.17, marks=pytest.mark.slow),
    pytest.param(torch.float64, 4, 0.0025, marks=pytest.mark.slow),
])  # fmt: skip
def test_glucose_is_that_of_the_public_simulator(dtype, substeps, apart):
    bodies, number = Bodies("adult", np.arange(10), substeps, dtype), torch.arange(10)
    meals = {420: 45 + number, 720: 70 - number, 1080: 80, 1300: 12}
    doses = {420: 4.0, 725: 8.0, 1110: 2.0}
    found = []
    # Small steps take long: half a day, with two meals and a dose.
    length = 1440 if substeps == 1 else 720
    for minute in range(length):
        bodies.minute(meals.get(minute, 0.0), doses.get(minute, 0.0))
        if (minute + 1) % 30 == 0:
            found.append(bodies.glucose.numpy())
    assert np.abs(np.array(found).T - REFERENCE[:, : length // 30]).max() < apart


def test_without_meals_the_basal_rate_keeps_everybody_steady():
    for kind in ("adult", "adolescent", "child"):
        bodies = Bodies(kind, np.arange(10), 1, torch.float64)
        before = bodies.glucose.numpy()
        for _ in range(60):
            bodies.minute(0.0, 0.0)
        np.testing.assert_allclose(bodies.glucose.numpy(), before, rtol=1e-3)


def test_the_index_of_control_is_known_at_four_levels():
    found = -index_of_control(np.array([40.0, 180.0, 250.0, 400.0]))
    np.testing.assert_allclose(found[[0, 1, 2, 3]], [-53.333, -4.849, -19.000, -60.687], atol=5e-4)


def test_a_dose_covers_a_meal_and_corrects_less_what_is_on_board():
    seen = np.zeros((5, 11))
    seen[:, 8], seen[:, 9], seen[:, 0] = 10.0, 20.0, 120.0
    seen[1:, 4] = (40, 80, 40, 40)
    seen[3:, 0] = 220.0
    seen[4, 2] = 3.0
    # Nothing without a meal; 4 and 8 for meals; 4 + 4 when high; 4 + 4 - 3 on board is nearest 4.
    assert LEVELS[environment().reference_action(seen)].tolist() == [0, 4, 8, 8, 4]


def test_clinicians_slip_by_a_level_and_leave_doses_out_as_often_as_said():
    seen = np.zeros((1, 40_000, 11))
    seen[..., 0], seen[..., 4], seen[..., 8], seen[..., 9] = 120.0, 20.0, 10.0, 20.0
    chosen = environment().clinician_action(seen, np.random.default_rng(0))
    shares = np.bincount(chosen.ravel(), minlength=5) / chosen.size
    np.testing.assert_allclose(shares, [0.1, 0.18, 0.54, 0.18, 0], atol=0.01)


def at_a_meal(shape, **named):
    """Return observations at a meal of 20 grams, two units for this patient, and glucose 120."""
    seen = np.zeros((*shape, 11))
    told = {"glucose": 120.0, "meal": 20.0, "carbohydrate_ratio": 10.0, "correction_factor": 20.0}
    for name, value in (told | named).items():
        seen[..., NAMES.index(name)] = value
    return seen


def test_any_dose_is_the_calculators_own_up_to_the_largest():
    meals = np.array([0.0, 37.0, 55.0, 500.0])
    doses = in_any_dose().reference_action(at_a_meal((4,), meal=meals))
    np.testing.assert_allclose(doses[:, 0], [0, 3.7, 5.5, MOST_UNITS], rtol=1e-6)


def test_clinicians_are_off_by_a_factor_and_leave_doses_out_as_often_as_said():
    world = in_any_dose()
    chosen = world.clinician_action(at_a_meal((1, 40_000)), np.random.default_rng(0)).ravel()
    shares = [(chosen == dose).mean() for dose in (0, 2)]
    np.testing.assert_allclose(shares, [0.1, 0.9 * 0.6], atol=0.01)
    off = np.log2(chosen[(chosen != 0) & (chosen != 2)] / 2)
    # Uniform in the logarithm.
    assert abs(off).max() <= 1 + 1e-6
    np.testing.assert_allclose([off.mean(), off.std()], [0, 1 / np.sqrt(3)], atol=0.02)
    assert not world.clinician_action(at_a_meal((50,), meal=0), np.random.default_rng(0)).any()


def test_a_dose_does_the_same_by_its_level_and_in_units():
    rng = np.random.default_rng(3)
    by_level, any_dose = simulator(20), simulator(20, units=type(in_any_dose()).units)
    by_level.reset()
    any_dose.reset()
    for _ in range(20):
        level = rng.integers(len(LEVELS), size=(1, 20))
        for one, other in zip(
            by_level.step(level), any_dose.step(LEVELS[level][..., None]), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_the_share_of_a_day_in_each_range_is_measured_however_little_is_seen():
    whole, glucose = environment(), NAMES.index("glucose")
    sensing = Sensing(hidden=("glucose",), history=2)
    sensed = SensedEnvironment(sensing.spec(whole.spec), whole, sensing)
    alone = rollout(simulator(3), nothing, 20)
    readings = np.array([step.next_observation[0, :, glucose] for step in alone])
    found = []
    for world in (whole, sensed):
        days = type(world).simulator([world], [np.random.default_rng(0)], 3)
        steps = list(rollout(days, nothing, 20))
        found.append({
            name: np.mean([step.measured[name] for step in steps]) for name in steps[0].measured
        })  # fmt: skip
    in_range = (readings >= 70) & (readings <= 180)
    expected = [in_range.mean(), (readings < 70).mean(), (readings > 250).mean()]
    assert found[0] == found[1]
    np.testing.assert_allclose(list(found[0].values()), expected)
    assert 0 < expected[0] < 1


def nothing(seen):
    return np.zeros(seen.shape[:-1], dtype=int)


def test_a_day_is_observed_as_it_goes():
    days = simulator(8)
    first = days.reset()
    assert first.shape == (1, 8, 11)
    seen, reward, terminated = days.step(np.full((1, 8), 3))
    np.testing.assert_allclose(seen[0, :, 2], 4 * np.exp(-30 / 120), rtol=1e-6)
    np.testing.assert_allclose(seen[0, :, 1], first[0, :, 0])
    np.testing.assert_allclose(reward[0], -index_of_control(seen[0, :, 0]), rtol=1e-4)
    assert not terminated.any()
    clock = 2 * np.pi / 48
    np.testing.assert_allclose(seen[0, 0, 5:7], (np.sin(clock), np.cos(clock)), rtol=1e-6)


def test_a_run_has_the_same_days_alone_and_in_company():
    generators = [np.random.default_rng(seed) for seed in (0, 1)]
    together = Days(0, GlucoseEnvironment.units, generators, 5)
    alone = simulator(5, seed=1)
    np.testing.assert_array_equal(together.reset()[1], alone.reset()[0])
    dose = np.full((1, 5), 2)
    np.testing.assert_allclose(together.step(np.repeat(dose, 2, 0))[0][1], alone.step(dose)[0][0])


def test_one_patient_is_always_the_same():
    weights = simulator(6, patient=3).reset()[0, :, 7]
    assert np.unique(weights).tolist() == [pytest.approx(81.631, rel=1e-5)]


@cache
def returns():
    """Return the returns of 100 days of each policy, all of them lived through at once."""
    world, rng = environment(), np.random.default_rng(5)
    acts = {
        "uniform": lambda seen: rng.integers(5, size=seen.shape[:-1]),
        "nothing": nothing,
        "clinician": lambda seen: world.clinician_action(seen, rng),
        "calculator": world.reference_action,
    }

    def act(seen):
        parts = np.split(seen, len(acts), axis=1)
        return np.concatenate([a(part) for a, part in zip(acts.values(), parts, strict=True)], 1)

    steps = rollout(simulator(100 * len(acts), seed=9), act, 48)
    found = np.sum([step.reward[0] for step in steps], axis=0)
    return dict(zip(acts, np.split(found, len(acts)), strict=True))


def test_the_stored_anchors_are_those_of_fresh_days():
    for policy, stored in (
        ("calculator", environment().optimum),
        ("nothing", environment().uniform),
    ):
        found = returns()[policy]
        error = np.hypot(found.std() / np.sqrt(len(found)), 0.01 * abs(stored))
        assert abs(found.mean() - stored) < 4 * error


def test_the_anchor_of_any_dose_is_that_of_fresh_days():
    days = simulator(100, seed=9, units=lambda units: units)
    found = np.sum([step.reward[0] for step in rollout(days, in_units, 48)], axis=0)
    assert abs(found.mean() - in_any_dose().optimum) < 4 * found.std() / np.sqrt(len(found))
    # The same days that no dose at all is measured on, where it is one patient's.
    assert in_any_dose(patient=3, horizon=6).optimum == mean_return(3, 6, in_units)
    assert in_any_dose().spec.uniform_regret == in_any_dose().optimum - environment().uniform


def test_policies_rank_as_doses_should():
    order = [found.mean() for found in returns().values()]
    assert order == sorted(order)
    assert order[-1] > -100


def test_clinicians_collect_with_their_slips(monkeypatch):
    monkeypatch.setattr(GlucoseEnvironment, "value_episodes", 150)
    assert -260 < simulated_value(environment(), CLINICIAN) < -110
