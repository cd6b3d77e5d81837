"""Claims about all degradations: every file of conf/coverage, on data of every kind."""

import importlib
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise, product
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data import degradations
from bench.data.datasets import Reserve
from bench.data.degradations import Degradation
from bench.data.storage import Storage
from bench.settings.groups import file_of, known_names
from tests.support.worlds import (
    random_continuous_dataset,
    random_tabular_dataset,
    random_vector_dataset,
)


def with_reserve(make, seed):
    """Return a small dataset whose source can supply worse episodes."""
    data = make(seed)

    def worse(epsilon, dataset_id, num_transitions):
        storage = make(seed + 1000).storage
        while len(storage) < num_transitions:
            storage = storage.followed_by(make(seed + 2000).storage)
        # Other rewards, so that a replaced episode never equals the one it replaces.
        return replace(storage, reward=storage.reward + 7)

    return replace(data, reserve=Reserve(worse))


def alone(name, **settings):
    """Return a degradation as a step of severity 1."""
    return Degradation(name, partial(getattr(degradations, name), **settings), 1.0)


TABLE = partial(with_reserve, random_tabular_dataset)
VECTOR = partial(with_reserve, random_vector_dataset)
CONTINUOUS = partial(with_reserve, random_continuous_dataset)
removing = (alone("region", shape="ball", dimension=None), alone("thin"))
replacing = (alone("thin"), alone("quality", worse_epsilon=1.0, worse_id=None))
disguised = (alone("rewards", kind="negated"), alone("actions", num_cells=3))
# What stands for a degradation, or several, inside another one.
INNER = {
    Degradation: (alone("region", shape="slab", dimension="speed"), alone("thin")),
    tuple[Degradation, ...]: (removing, disguised, replacing),
}


def variants(name):
    """Yield settings of a file's function: as the file has them, every literal tried, all small."""
    given = {k: v for k, v in file_of("coverage", name).items() if k not in ("name", "target")}
    given.pop("severity")
    hints = get_type_hints(function(name))
    choices = {}
    for key, value in given.items():
        choices[key] = INNER.get(hints[key]) or get_args(hints[key])
        if get_origin(hints[key]) is not Literal and hints[key] not in INNER:
            choices[key] = (min(value, 3) if isinstance(value, int) else value,)
    for values in product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def function(name):
    """Return the function that a file of conf/coverage names."""
    module, _, attribute = file_of("coverage", name)["target"].rpartition(".")
    return getattr(importlib.import_module(module), attribute)


CASES = {
    f"{name} {number} of {world}": (name, partial(function(name), **chosen), make)
    for name in known_names("coverage")
    if name != "none"
    for number, chosen in enumerate(variants(name))
    for world, make in (
        ("tables", TABLE),
        ("vectors", VECTOR),
        ("continuous", CONTINUOUS),
    )
}
# Two are exempt from growing, as their docstrings say, and from nothing else.
NESTED = [name for name in CASES if not name.startswith(("size_matched", "composite 2"))]
# k-means is slow beside everything else.
FAST = [name for name in NESTED if "actions" not in name and not name.startswith("composite 1")]
SEVERITIES = (0.0, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.9, 1.0)
severities = st.floats(0, 1)
seeds = st.integers(0, 30)


def rng(seed=0):
    return np.random.default_rng(seed)


def content(view):
    """Return all that a fingerprint stands for."""
    names = [f.name for f in fields(Storage) if f.name not in ("comparator_action", "patient")]
    return [getattr(view, name).tolist() for name in names]


def check_nested(data, milder, harsher):
    """Check that the harsher view lost, replaced or altered all that the milder one did."""
    own = len(data.storage)
    lost = [np.setdiff1d(data.indices, view.indices) for view in (milder, harsher)]
    assert np.isin(lost[0], lost[1]).all()
    added = [view.indices[view.indices >= own] for view in (milder, harsher)]
    if harsher.storage is not data.storage:
        assert np.isin(added[0], added[1]).all()
    before = data.storage.reward
    after = [view._reward_column[:own] for view in (milder, harsher)]
    altered = after[0] != before
    np.testing.assert_array_equal(after[1][altered], after[0][altered])


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_severity_zero_is_the_identity(case):
    _, degrade, make = case
    for seed in range(5):
        data = make(seed)
        view = degrade(data, 0.0, rng(seed))
        assert view.fingerprint == data.fingerprint
        assert content(view) == content(data)


@pytest.mark.parametrize("name", NESTED)
def test_what_is_lost_grows_with_severity(name):
    _, degrade, make = CASES[name]
    for seed in range(8):
        data = make(seed)
        views = [degrade(data, severity, rng(seed)) for severity in SEVERITIES]
        for milder, harsher in pairwise(views):
            check_nested(data, milder, harsher)


@given(name=st.sampled_from(FAST), seed=seeds, pair=st.tuples(severities, severities).map(sorted))
def test_what_is_lost_is_nested_for_any_two_severities(name, seed, pair):
    _, degrade, make = CASES[name]
    data = make(seed)
    check_nested(data, *(degrade(data, severity, rng(seed)) for severity in pair))


@given(name=st.sampled_from(FAST), seed=seeds, severity=severities)
def test_no_transition_that_goes_on_crosses_a_segment(name, seed, severity):
    _, degrade, make = CASES[name]
    view = degrade(make(seed), severity, rng(seed))
    for now in np.flatnonzero(~view.truncated & ~view.terminated):
        assert view.episode[now + 1] == view.episode[now]
        assert view.step[now + 1] == view.step[now] + 1
        np.testing.assert_array_equal(view.observation[now + 1], view.next_observation[now])


def test_terminations_that_are_left_stay_terminations(case):
    _, degrade, make = case
    for seed in range(8):
        view = degrade(make(seed), 0.5, rng(seed))
        np.testing.assert_array_equal(view.terminated, view.storage.terminated[view.indices])
        assert not np.any(view.truncated & view.terminated)


@given(
    names=st.tuples(st.sampled_from(FAST), st.sampled_from(FAST)),
    seed=st.integers(0, 8),
    pair=st.tuples(st.sampled_from(SEVERITIES), st.sampled_from(SEVERITIES)),
)
def test_fingerprints_differ_exactly_when_content_does(names, seed, pair):
    worlds = {name.split()[-1] for name in names}
    if len(worlds) == 1:
        data = CASES[names[0]][2](seed)
        views = [
            CASES[name][1](data, severity, rng(seed))
            for name, severity in zip(names, pair, strict=True)
        ]
        same = content(views[0]) == content(views[1])
        assert (views[0].fingerprint == views[1].fingerprint) == same


def test_the_original_stays_as_it_was(case):
    _, degrade, make = case
    data = make(1)
    before = content(data)
    degrade(data, 0.5, rng())
    assert content(data) == before
    assert len(data.provenance.get("degradations", [])) == 0


def test_what_was_done_is_told(case):
    name, degrade, make = case
    view = degrade(make(1), 0.5, rng())
    told = view.provenance["degradations"]
    steps = 1 if name != "composite" else len(told)
    assert len(told) == steps >= 1
    assert all("0.5" in step for step in told)


def test_the_seed_decides_what_is_lost(case):
    name, degrade, make = case
    data = make(2)
    first, again = (degrade(data, 0.5, rng(0)).fingerprint for _ in range(2))
    assert first == again
    views = {degrade(data, 0.5, rng(seed)).fingerprint for seed in range(20)}
    # Neither the ends of episodes nor rewards of 0 or the other sign, once chosen, are drawn; a
    # composite's steps have streams of their own.
    if name not in ("truncate", "composite", "best_returns"):
        assert len(views) > 3


def test_episodes_are_never_all_removed_by_what_counts_episodes():
    for name in ("thin", "truncate", "best_returns"):
        for make in (TABLE, VECTOR):
            for seed in range(10):
                view = getattr(degradations, name)(make(seed), 1.0, rng(seed))
                assert view.num_episodes >= 1
