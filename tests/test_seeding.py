"""Named random streams, and that nothing draws from a global one."""

import itertools
import random
from typing import get_args

import numpy as np
import pytest
import torch

from bench import seeding
from bench.data import degradations
from bench.measures import coverage
from tests.support.worlds import cartpole_task, cliff_task


def test_a_seed_is_the_same_wherever_and_whenever_it_is_derived():
    # Whoever changes these numbers changes every result there is.
    assert seeding.derive("collect", 0) == 6073498267729931925
    assert seeding.derive("init", 7, "weights") == 6255216799266070637


def test_streams_with_different_names_have_different_seeds():
    seeds = [seeding.derive(name, 0) for name in get_args(seeding.Stream)]
    assert len(set(seeds)) == len(seeds)


def test_streams_with_different_keys_have_different_seeds():
    keys = [(), (0,), (1,), (10,), (1, 0), (0, 1), ("a",), ("a", "b"), ("ab",), (0, "a"), ("a", 0)]
    seeds = [seeding.derive("collect", *key) for key in keys]
    assert len(set(seeds)) == len(seeds)


def test_the_number_one_and_the_text_1_are_different_keys():
    assert seeding.derive("collect", 1) != seeding.derive("collect", "1")


def test_no_key_can_pass_for_two():
    assert seeding.derive("collect", "a/str:b") != seeding.derive("collect", "a", "b")


def test_seeds_fit_into_63_bits_and_fill_them():
    seeds = [seeding.derive("noise", key) for key in range(400)]
    assert min(seeds) >= 0
    assert 2**62 < max(seeds) < 2**63
    assert abs(np.mean([seed % 2 for seed in seeds]) - 0.5) < 4 * 0.5 / 20


def test_generators_of_one_stream_draw_the_same_numbers():
    for make, draw in (
        (seeding.numpy_generator, lambda g: g.random(5).tolist()),
        (seeding.torch_generator, lambda g: torch.rand(5, generator=g).tolist()),
    ):
        assert draw(make("init", 0, "a")) == draw(make("init", 0, "a"))
        keys = (("init", 0), ("init", 1), ("noise", 0), ("init", 0, "a"), ("init", 0, "b"))
        streams = [draw(make(*key)) for key in keys]
        assert all(one != other for one, other in itertools.combinations(streams, 2))


def test_a_fresh_generator_starts_anew_whatever_was_drawn_before():
    first = seeding.numpy_generator("init", 0)
    numbers = first.random(3)
    np.testing.assert_array_equal(seeding.numpy_generator("init", 0).random(3), numbers)
    assert not np.any(first.random(3) == numbers)


def global_states():
    return (
        random.getstate(),
        [np.array(part).tolist() for part in np.random.get_state()],  # noqa: NPY002
        torch.get_rng_state().tolist(),
    )


def test_a_torch_stream_is_not_the_global_one():
    before = global_states()
    torch.rand(5, generator=seeding.torch_generator("init", 0))
    assert global_states() == before


@pytest.mark.parametrize("task", [cliff_task, cartpole_task])
def test_nothing_draws_from_a_global_generator(task):
    before = global_states()
    collected = task.__wrapped__()  # made anew
    draw = seeding.numpy_generator("degrade", 0)
    for degraded in (
        degradations.thin(collected.data, 0.5, draw),
        degradations.region(collected.data, 0.5, draw, shape="slab", dimension=None),
        degradations.region(collected.data, 0.5, draw, shape="ball", dimension=None),
        degradations.actions(collected.data, 0.5, draw, num_cells=8),
    ):
        coverage.measure(collected, degraded)
    assert global_states() == before


@pytest.mark.parametrize("task", [cliff_task, cartpole_task])
def test_a_global_seed_changes_nothing(task):
    fingerprints = set()
    for seed in (0, 1):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        random.seed(seed)
        data = task.__wrapped__().data  # made anew
        draw = seeding.numpy_generator("degrade", 0)
        fingerprints.add(degradations.actions(data, 0.5, draw, num_cells=8).fingerprint)
    assert len(fingerprints) == 1
