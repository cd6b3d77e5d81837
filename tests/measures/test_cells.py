"""What data covers of a world cut into cells."""

from functools import cache

import numpy as np
import pytest

from bench.data.sources import Task
from bench.measures import coverage, regret
from bench.measures.cells import RADIUS, best_covered_value, covered_cells
from bench.worlds.continuous.swamp import Swamp
from tests.support.builders import from_columns

ENVIRONMENT = Swamp(0.1, 0.02, 2.0).environment("swamp", 0, 0.95, 60)
SPAN = ENVIRONMENT.optimum - ENVIRONMENT.uniform


@cache
def task():
    """Return transitions from everywhere by any action: 14 places and 7 moves an axis."""
    place, move = np.linspace(0, 1, 14), np.linspace(-1, 1, 7)
    pairs = np.stack(np.meshgrid(place, place, move, move, indexing="ij"), -1).reshape(-1, 4)
    n = len(pairs)
    data = from_columns(
        ENVIRONMENT.spec, pairs[:, :2], pairs[:, 2:], np.zeros(n), pairs[:, :2],
        np.zeros(n, dtype=bool), np.arange(n), np.zeros(n, dtype=int),
    )  # fmt: skip
    return Task(ENVIRONMENT, data, 0.0, None)


def test_data_from_everywhere_covers_all():
    whole = task()
    assert covered_cells(whole, whole.data).all()
    report = coverage.measure(whole, whole.data)
    assert report.support_fraction == pytest.approx(1)
    assert best_covered_value(whole, whole.data) == pytest.approx(ENVIRONMENT.optimum)
    assert regret.anchors(whole, whole.data).best_covered == pytest.approx(ENVIRONMENT.optimum)
    assert "regret_to_covered" not in report.reasons
    assert set(report.reasons) >= {"inverse_concentrability", "inverse_l2_concentrability"}
    assert report.inverse_concentrability is None


def test_a_cell_is_covered_by_what_is_near_it_in_place_and_action():
    whole = task()
    one = whole.data.keep(np.arange(len(whole.data)) == 7777, "")
    found = covered_cells(whole, one)
    cells, data = ENVIRONMENT.cells, whole.data
    std = np.concatenate([data.observation.std(0), data.action.std(0)])
    pair = np.concatenate([one.observation[0], one.action[0]])
    for node, action in np.ndindex(*found.shape):
        if node % 7 == 0 or found[node, action]:
            cell = np.concatenate([cells.observation[node], cells.action[action]])
            distance = np.linalg.norm((cell - pair) / (std + 1e-6))
            assert found[node, action] == (distance < RADIUS) or abs(distance - RADIUS) < 1e-2
    assert 0 < found.sum() < 0.02 * found.size


def test_what_is_not_covered_costs_what_a_detour_costs():
    whole = task()
    observation, action = whole.data.observation, whole.data.action
    still = whole.data.keep(np.linalg.norm(action, axis=1) < 0.5, "")
    short = best_covered_value(whole, still)
    # Short steps reach the goal late, but reach it.
    assert 0.01 * SPAN < ENVIRONMENT.optimum - short < 0.9 * SPAN
    corner = whole.data.keep(np.all(observation < 0.4, axis=1), "")
    stay = best_covered_value(whole, corner)
    assert stay < short
    # To stay where nothing is to be had is worth a little less than nothing.
    assert -1 < stay < 0.1
    assert coverage.measure(whole, corner).support_fraction < 0.5


def test_of_nothing_near_the_start_nothing_is_worth_more_than_v_min():
    whole = task()
    far = whole.data.keep(whole.data.observation[:, 0] > 0.7, "")
    assert best_covered_value(whole, far) == pytest.approx(ENVIRONMENT.spec.v_min, abs=0.005 * SPAN)
