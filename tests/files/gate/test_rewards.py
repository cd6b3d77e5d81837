"""Whether recorded rewards are the world's: the same, an affine map of them, or strangers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.files.gate.rewards import fit

EXACT, PHYSICS = (0.0, 1.0), (0.1, 0.9)


def world_rewards(n=300, seed=0):
    return np.random.default_rng(seed).normal(3, 2, n)


@given(
    st.floats(1e-6, 1e6),
    st.floats(-100, 100),
    st.floats(1e-6, 1e6),
    st.sampled_from([EXACT, PHYSICS]),
)
def test_a_map_is_found_whatever_the_unit(slope, offset, unit, strictness):
    world = unit * world_rewards()
    offset = offset * unit * slope
    found = fit(slope * world + offset, world, *strictness, constant=False)
    assert found.why is None
    mapped = world if found.map is None else found.map.slope * world + found.map.offset
    np.testing.assert_allclose(
        mapped,
        slope * world + offset,
        atol=1e-3 * slope * (np.abs(world).max() + abs(offset / slope)),
    )


def test_rewards_of_single_precision_are_the_same():
    world = world_rewards()
    assert fit(world.astype(np.float32).astype(np.float64), world, *EXACT, False) == (None, 0, None)


def test_noise_of_physics_is_no_map_and_a_small_shift_is():
    world = world_rewards()
    noisy = world + np.random.default_rng(1).normal(0, 0.02, len(world))
    assert fit(noisy, world, *PHYSICS, False).map is None
    # Less than the slack, but the same at every step.
    shifted = fit(world + 0.1, world, *PHYSICS, False).map
    assert (shifted.slope, shifted.offset) == pytest.approx((1, 0.1), rel=1e-3)
    assert fit(world + 0.1, world, *EXACT, False).map.offset == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: np.clip(r, 2, 4), "nor are they an affine map"),
        (lambda r: np.sign(r - 3), "nor are they an affine map"),
        (lambda r: r**3, "nor are they an affine map"),
        (lambda r: -2 * r, "they do not rise"),
        (lambda r: 0 * r, "they do not rise"),
        (lambda r: np.random.default_rng(2).permutation(r), ""),
    ],
)
@pytest.mark.parametrize("strictness", [EXACT, PHYSICS])
def test_anything_else_is_strange(change, why, strictness):
    world = world_rewards()
    found = fit(change(world), world, *strictness, constant=False)
    assert found.map is None
    assert why in found.why
    assert found.strangers > 100


def test_a_rare_reward_that_was_clipped_is_found():
    world = np.full(5000, -1.0)
    world[:3] = -100
    for recorded in (np.full(5000, -1.0), np.full(5000, -1.0) - 1e-12 * np.arange(5000)):
        assert (
            fit(recorded, world, *EXACT, constant=False).why == "they do not rise with the world's"
        )


def test_a_single_strange_reward_is_found_in_a_table():
    world = np.repeat([0.0, 1.0], 100)
    recorded = world.copy()
    recorded[7] = 5
    assert fit(recorded, world, *EXACT, constant=False).strangers == 1


@pytest.mark.parametrize(
    ("recorded", "world", "constant", "slope"),
    [
        (0.1, 1.0, True, 0.1),
        (0.1, 1.0, False, None),
        (-1.0, 1.0, True, None),
        (1.0, 0.0, True, None),
    ],
)
def test_where_the_world_has_one_reward_only_a_scale_can_be_told(recorded, world, constant, slope):
    found = fit(np.full(9, recorded), np.full(9, world), *EXACT, constant)
    assert (None if found.map is None else found.map.slope) == slope
    assert (found.why is None) == (slope is not None)
