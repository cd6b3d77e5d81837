"""What each degradation that removes transitions takes away and what it leaves."""

from functools import cache, partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.degradations import actions, best_returns, none, region, thin, truncate
from tests.support.worlds import (
    cartpole_task,
    cliff_task,
    random_tabular_dataset,
    random_vector_dataset,
    tabular_dataset,
    vector_dataset,
)

region_of_states = partial(region, shape="slab", dimension=None)
slab = partial(region, shape="slab", dimension="speed")
ball = partial(region, shape="ball", dimension=None)

SEVERITIES = (0.0, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.9, 1.0)
severities = st.floats(0, 1)
seeds = st.integers(0, 30)


def rng(seed=0):
    return np.random.default_rng(seed)


def removed(data, view):
    """Return the positions in the storage that the view has lost."""
    return np.setdiff1d(data.indices, view.indices)


def share_of(severity, count):
    """Return severity times count, rounded half up."""
    return int(severity * count + 0.5)


# None


def test_none_takes_nothing_away():
    data = random_tabular_dataset(0)
    assert none(data, 0.0, rng()).fingerprint == data.fingerprint


@pytest.mark.parametrize("severity", [1e-9, 0.5, 1.0])
def test_none_with_a_severity_is_an_error(severity):
    with pytest.raises(ValueError, match="coverage=none"):
        none(random_tabular_dataset(0), severity, rng())


# Thin


@given(seed=seeds, severity=severities)
def test_thin_removes_its_share_of_whole_episodes_and_keeps_one(seed, severity):
    data = random_tabular_dataset(seed)
    view = thin(data, severity, rng(seed))
    episodes = data.num_episodes
    assert view.num_episodes == max(1, episodes - share_of(severity, episodes))
    assert np.array_equal(view.indices, data.indices[np.isin(data.episode, view.episode)])


def test_thin_removes_every_episode_equally_often():
    data = random_tabular_dataset(5)
    episodes = data.num_episodes
    kept = np.array(
        [np.isin(np.arange(episodes), thin(data, 0.5, rng(seed)).episode) for seed in range(400)]
    )
    frequency = 1 - share_of(0.5, episodes) / episodes
    assert np.all(np.abs(kept.mean(0) - frequency) < 4 * 0.5 / np.sqrt(400))


def test_thin_of_nothing_is_nothing():
    data = random_tabular_dataset(0)
    empty = data.keep(np.zeros(len(data), dtype=bool), "all")
    assert len(thin(empty, 0.5, rng())) == 0


# Truncate


@given(seed=seeds, severity=severities)
def test_every_episode_loses_a_share_of_its_end_and_keeps_its_first_step(seed, severity):
    data = random_tabular_dataset(seed)
    view = truncate(data, severity, rng(seed))
    for episode in np.unique(data.episode):
        before, after = data.step[data.episode == episode], view.step[view.episode == episode]
        kept = max(1, len(before) - share_of(severity, len(before)))
        assert after.tolist() == before[:kept].tolist()


def test_an_episode_that_is_cut_is_truncated_and_terminates_no_more():
    data = tabular_dataset(([0, 1, 2, 1, 0], [0] * 4, True), ([1, 2], [1], True))
    view = truncate(data, 0.5, rng())
    assert view.truncated.tolist() == [0, 1, 0]
    assert view.terminated.tolist() == [0, 0, 1]
    # A method that clones the best episodes still knows what a whole episode returned.
    assert view.episode_return.tolist() == [0, 0, 1]


# Best returns


@given(seed=seeds, severity=severities)
def test_best_returns_removes_its_share_of_the_episodes_from_the_top(seed, severity):
    data = random_tabular_dataset(seed)
    view = best_returns(data, severity, rng(seed))
    left = np.sort(data.episode_returns)[: view.num_episodes]
    assert view.num_episodes == max(1, data.num_episodes - share_of(severity, data.num_episodes))
    assert np.sort(view.episode_returns).tolist() == left.tolist()
    # An episode goes as a whole or not at all.
    assert np.array_equal(view.indices, data.indices[np.isin(data.episode, view.episode)])


def test_of_episodes_with_equal_returns_any_may_go_first():
    data = tabular_dataset(*[([0, 1], [1], True)] * 4)
    gone = {int(removed(data, best_returns(data, 0.25, rng(seed)))[0]) for seed in range(40)}
    assert gone == {0, 1, 2, 3}


# Region of states


@given(seed=seeds, severity=severities)
def test_a_region_is_a_share_of_the_visited_states_that_no_episode_starts_in(seed, severity):
    data = random_tabular_dataset(seed)
    view = region_of_states(data, severity, rng(seed))
    started_in = set(data.observation[data.step == 0].tolist())
    candidates = set(data.observation.tolist()) - started_in
    gone = set(data.observation.tolist()) - set(view.observation.tolist())
    assert gone <= candidates
    assert len(gone) == share_of(severity, len(candidates))
    # Nothing else is removed: a state is gone as a whole or not at all.
    assert set(data.observation[removed(data, view)].tolist()) == gone


def test_a_region_of_severity_one_leaves_the_initial_states():
    data = cliff_task().data
    view = region_of_states(data, 1.0, rng())
    assert np.unique(view.observation).tolist() == [8]
    assert len(view) == np.count_nonzero(data.observation == 8)


def test_the_transition_into_a_region_stays_and_is_truncated():
    # State 2 is the only one that can be removed.
    data = tabular_dataset(([0, 1, 2, 1, 0], [0] * 4, True), ([1, 2, 2, 0, 1], [1] * 4, True))
    view = region_of_states(data, 1.0, rng())
    assert view.observation.tolist() == [0, 1, 1, 1, 0]
    assert view.next_observation.tolist() == [1, 2, 0, 2, 1]
    assert view.truncated.tolist() == [0, 1, 0, 1, 0]
    assert view.terminated.tolist() == [0, 0, 1, 0, 1]
    assert view.initial.tolist() == [1, 0, 0, 1, 0]


# Slab and ball


def quantiles(values):
    """Return each value's position in sorted order, equal ones in the order they come."""
    return np.lexsort((np.arange(len(values)), values)).argsort()


@given(seed=seeds, severity=severities, name=st.sampled_from(["height", "speed"]))
def test_a_slab_is_one_interval_in_the_quantiles_of_its_dimension(seed, severity, name):
    data = random_vector_dataset(seed)
    view = region(data, severity, rng(seed), shape="slab", dimension=name)
    values = data.observation[:, ["height", "speed"].index(name)]
    gone = np.sort(quantiles(values)[removed(data, view)])
    assert abs(len(gone) - severity * len(data)) < 1
    assert np.all(np.diff(gone) == 1)


def test_a_slab_lies_anywhere():
    data = cartpole_task().data
    lower = []
    for seed in range(300):
        view = region(data, 0.5, rng(seed), shape="slab", dimension="angle")
        lower.append(quantiles(data.observation[:, 2])[removed(data, view)].min() / len(data))
    # Its lower edge is uniform between 0 and one half.
    assert np.histogram(lower, bins=5, range=(0, 0.5))[0].min() > 35


def test_without_a_name_a_slab_lies_in_the_first_dimension():
    data = random_vector_dataset(0)
    unnamed = region(data, 0.5, rng(), shape="slab", dimension=None)
    named = region(data, 0.5, rng(), shape="slab", dimension="height")
    other = region(data, 0.5, rng(), shape="slab", dimension="speed")
    assert unnamed.fingerprint == named.fingerprint != other.fingerprint


def test_an_unknown_dimension_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="'mass', but must be one of height, speed"):
        region(random_vector_dataset(0), 0.5, rng(), shape="slab", dimension="mass")


@given(seed=seeds, severity=st.floats(0.05, 0.95))
def test_a_ball_holds_the_transitions_nearest_to_one_of_them(seed, severity):
    data = random_vector_dataset(seed)
    view = ball(data, severity, rng(seed))
    gone = np.isin(data.indices, removed(data, view))
    assert abs(gone.sum() - severity * len(data)) < 1
    # Its coordinates are standardised, with 0.001 added to each deviation.
    scaled = data.observation / (data.observation.astype(float).std(0) + 1e-3)
    distances = np.linalg.norm(scaled[:, None] - scaled[None], axis=-1)
    is_center = [row[gone].max() <= row[~gone].min() + 1e-6 for row in distances]
    assert np.any(np.array(is_center) & gone)


# Actions


@given(seed=seeds, severity=severities)
def test_the_comparators_action_is_removed_from_a_share_of_the_states(seed, severity):
    data = random_tabular_dataset(seed)
    view = actions(data, severity, rng(seed), num_cells=64)
    gone = removed(data, view)
    assert np.all(data.action[gone] == 0)
    # A state loses every comparator action or none; one that had none may have been chosen too.
    lost = set(data.observation[gone].tolist())
    assert not np.any(np.isin(view.observation, list(lost)) & (view.action == 0))
    states = set(data.observation.tolist())
    had_none = states - set(data.observation[data.action == 0].tolist())
    chosen = share_of(severity, len(states))
    assert chosen - len(had_none) <= len(lost) <= chosen


def test_actions_of_severity_one_leave_no_comparator_action():
    for data in (cliff_task().data, cartpole_task().data):
        view = actions(data, 1.0, rng(), num_cells=16)
        assert not np.any(view.action == view.comparator_action)
        kept = np.count_nonzero(data.action != data.comparator_action)
        assert len(view) == kept > 0


@cache
def clustered_dataset():
    """Return 20 transitions around each of ten far points, and which point each is near."""
    draw = rng(0)
    cluster = draw.permutation(np.repeat(np.arange(10), 20))
    centers = np.stack([1000.0 * np.arange(10), 7.0 * (np.arange(10) % 3)], axis=1)
    observations = centers[cluster] + draw.normal(size=(200, 2)) * [1.0, 0.01]
    # A last observation is appended for the end of the only episode.
    observations = np.concatenate([observations, observations[:1]])
    action, comparator = draw.integers(2, size=200), draw.integers(2, size=200)
    return vector_dataset(observations, action, [200], comparator), cluster


@pytest.mark.parametrize("severity", [0.2, 0.5, 0.8])
def test_the_comparators_action_is_removed_from_a_share_of_the_clusters(severity):
    data, cluster = clustered_dataset()
    view = actions(data, severity, rng(3), num_cells=10)
    left = np.isin(data.indices, view.indices)
    comparators = data.action == data.comparator_action
    assert np.all(comparators[~left])
    kept = [left[comparators & (cluster == number)] for number in range(10)]
    assert all(part.all() or not part.any() for part in kept)
    assert sum(not part.any() for part in kept) == share_of(severity, 10)


def test_cells_are_those_of_the_full_data_at_every_severity():
    data = cartpole_task().data
    views = [actions(data, severity, rng(0), num_cells=32) for severity in SEVERITIES]
    sizes = [len(view) for view in views]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    for milder, harsher in pairwise(views):
        assert np.isin(harsher.indices, milder.indices).all()
