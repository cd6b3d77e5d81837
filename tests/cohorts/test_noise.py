"""Noise: each run's own numbers, whoever is beside it and however many are drawn at a time."""

import pytest
import torch

from bench import seeding
from bench.cohorts import noise
from bench.cohorts.noise import Noise
from tests.support.builders import same

CPU = torch.device("cpu")
SHAPES = {"target": (4, 3), "actions": (2, 4, 1)}


def one_by_one(shapes, seed, updates):
    """Return what a run draws, a tensor at a time."""
    generator = seeding.torch_generator("noise", seed)
    return [
        {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
        for _ in range(updates)
    ]


def updates_of(drawn, number):
    """Return the next updates' numbers."""
    return [drawn.next() for _ in range(number)]


@pytest.mark.parametrize("block", [1, 50, noise.BLOCK])
def test_every_run_draws_as_its_generator_does_update_after_update(monkeypatch, block):
    monkeypatch.setattr(noise, "BLOCK", block)
    seeds = (3, 0, 3)
    found = updates_of(Noise([SHAPES] * 3, list(seeds), CPU), 7)
    for run, seed in enumerate(seeds):
        own = [{name: x[run] for name, x in update.items()} for update in found]
        assert same(own, one_by_one(SHAPES, seed, 7))


def test_a_smaller_run_draws_its_own_numbers_and_zeros_follow():
    small = {"target": (2, 3), "actions": (2, 2, 1)}
    found = updates_of(Noise([small, SHAPES], [5, 1], CPU), 3)
    assert same([{k: x[1] for k, x in update.items()} for update in found],
                one_by_one(SHAPES, 1, 3))  # fmt: skip
    for update, expected in zip(found, one_by_one(small, 5, 3), strict=True):
        assert torch.equal(update["target"][0, :2], expected["target"])
        assert torch.equal(update["actions"][0, :, :2], expected["actions"])
        assert not update["target"][0, 2:].any()
        assert not update["actions"][0, :, 2:].any()


@pytest.mark.parametrize("made", [0, 1, 2, 3, 5])
def test_from_the_states_after_any_update_the_same_numbers_follow(monkeypatch, made):
    monkeypatch.setattr(noise, "BLOCK", 50)
    drawn = Noise([SHAPES] * 2, [0, 1], CPU)
    assert drawn.ahead == 2
    updates_of(drawn, made)
    states = drawn.states()
    expected = updates_of(drawn, 5)
    for other in (Noise([SHAPES] * 2, [0, 1], CPU), drawn):
        other.restore(states)
        assert same(updates_of(other, 5), expected)
    # As those of a generator that has drawn just so much.
    generator = seeding.torch_generator("noise", 1)
    for _ in range(made):
        torch.rand(drawn.sizes[1], generator=generator)
    assert torch.equal(states[1], generator.get_state())


def test_what_was_drawn_stays_as_it_was_while_more_is_drawn(monkeypatch):
    monkeypatch.setattr(noise, "BLOCK", 50)
    drawn = Noise([SHAPES], [0], CPU)
    first = drawn.next()
    kept = {name: x.clone() for name, x in first.items()}
    updates_of(drawn, 5)
    assert same(first, kept)


def test_without_noise_nothing_is_drawn():
    drawn = Noise([{}, {}], [0, 1], CPU)
    assert drawn.next() == {}
    assert same(drawn.states(), Noise([{}, {}], [0, 1], CPU).states())
