"""Views of stored transitions: what a hole means, what is shared, when two are the same."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data import storage
from bench.data.datasets import OfflineDataset
from bench.data.storage import Storage
from tests.support.worlds import random_tabular_dataset, random_vector_dataset, tabular_dataset

COLUMNS = tuple(name for name in Storage.__dataclass_fields__ if name != "patient")
# Three episodes: one that terminates, one that does not, one of a single step that terminates.
EPISODES = (([0, 1, 2, 3, 4], [0, 1, 2, 1], True), ([0, 2, 3], [2, 2], False), ([1, 5], [1], True))


def three_episodes():
    return tabular_dataset(*EPISODES)


def without(data, *positions):
    return data.keep(~np.isin(np.arange(len(data)), positions), "holes")


def changed(data, column, position, value):
    """Return the view of a storage in which one number is another."""
    values = getattr(data.storage, column).copy()
    values[position] = value
    return replace(data, storage=replace(data.storage, **{column: values}))


# Truncation


def test_only_an_end_without_termination_is_a_truncation():
    data = three_episodes()
    assert data.terminated.tolist() == [0, 0, 0, 1, 0, 0, 1]
    assert data.truncated.tolist() == [0, 0, 0, 0, 0, 1, 0]
    assert data.successor_missing.tolist() == [0, 0, 0, 1, 0, 1, 1]


def test_a_hole_truncates_the_step_before_it():
    holed = without(three_episodes(), 2)
    assert holed.step.tolist() == [0, 1, 3, 0, 1, 0]
    assert holed.truncated.tolist() == [0, 1, 0, 0, 1, 0]


def test_what_follows_a_hole_is_not_initial():
    data = three_episodes()
    assert data.initial.tolist() == [1, 0, 0, 0, 1, 0, 1]
    assert without(data, 0, 4).initial.tolist() == [0, 0, 0, 0, 1]


def test_a_termination_survives_the_removal_of_everything_before_it():
    assert without(three_episodes(), 0, 1, 2).terminated.tolist() == [1, 0, 0, 1]
    assert not without(three_episodes(), 0, 1, 2).truncated[0]


def test_the_last_step_of_one_episode_is_not_followed_by_the_first_of_the_next():
    # Episode 0 loses its end and episode 1 its start: steps 1 and 2, yet of different episodes.
    data = tabular_dataset(([0, 1, 2], [0, 0], True), ([0, 1, 2, 3], [0, 0, 0], True))
    holed = without(data, 1, 2)
    assert holed.step.tolist() == [0, 1, 2]
    assert holed.truncated.tolist() == [1, 0, 0]


@given(seed=st.integers(0, 50), holes=st.sets(st.integers(0, 99)))
def test_a_step_that_goes_on_is_followed_by_its_successor(seed, holes):
    data = without(random_tabular_dataset(seed), *holes)
    for now in np.flatnonzero(~data.truncated & ~data.terminated):
        assert data.indices[now + 1] == data.indices[now] + 1
        assert data.episode[now + 1] == data.episode[now]
        assert data.observation[now + 1] == data.next_observation[now]


@given(seed=st.integers(0, 50), holes=st.sets(st.integers(0, 99)))
def test_truncated_and_terminated_exclude_each_other_and_end_every_segment(seed, holes):
    data = without(random_tabular_dataset(seed), *holes)
    kept = set(data.indices.tolist())
    episode = data.storage.episode
    for position, index in enumerate(data.indices):
        follows = index + 1 in kept and episode[index + 1] == episode[index]
        ends = bool(data.terminated[position])
        assert bool(data.truncated[position]) == (not ends and not follows)


# Views


def test_a_view_shares_its_storage():
    data = three_episodes()
    view = without(without(data, 1), 0)
    assert view.storage is data.storage
    assert view.indices.tolist() == [2, 3, 4, 5, 6]


def test_columns_are_those_of_the_storage_at_the_views_indices():
    view = without(three_episodes(), 0, 3)
    for name in COLUMNS:
        np.testing.assert_array_equal(
            getattr(view, name), getattr(view.storage, name)[view.indices]
        )


def test_nothing_written_into_a_column_of_a_view_reaches_the_storage():
    data = three_episodes()
    with pytest.raises(ValueError, match="read-only"):
        data.observation[:] = -1
    without(data, 0).observation[:] = -1
    assert data.observation.tolist() == [0, 1, 2, 3, 0, 2, 1]


def test_a_view_cannot_be_reassigned():
    with pytest.raises(dataclasses.FrozenInstanceError):
        three_episodes().indices = np.arange(2)


def test_a_name_that_is_no_column_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'observations'"):
        _ = three_episodes().observations


def test_provenance_lists_degradations_in_order_and_keeps_the_original():
    data = three_episodes()
    view = data.keep(data.action > 0, "first").keep(np.ones(6, dtype=bool), "second")
    assert view.provenance == {"seed": 0, "degradations": ["first", "second"]}
    assert data.provenance == {"seed": 0}


def test_an_empty_view_has_no_episodes_and_no_ends():
    empty = three_episodes().keep(np.zeros(7, dtype=bool), "all")
    assert len(empty) == empty.num_episodes == 0
    assert len(empty.truncated) == len(empty.episode_returns) == len(empty.initial) == 0


# Episodes


def test_episode_returns_are_those_of_the_episodes_as_collected():
    data = three_episodes()
    assert data.episode_returns.tolist() == [4.0, 4.0, 1.0]
    assert data.episode_return.tolist() == [4.0] * 4 + [4.0] * 2 + [1.0]
    # A hole takes nothing from the return that was collected.
    assert without(data, 1, 2, 4, 6).episode_returns.tolist() == [4.0, 4.0]


def test_an_episode_counts_while_one_of_its_steps_is_left():
    assert without(three_episodes(), 0, 1, 2).num_episodes == 3
    assert without(three_episodes(), 0, 1, 2, 3).num_episodes == 2


def test_returns_follow_episodes_that_are_not_numbered_without_gaps():
    data = three_episodes()
    renumbered = replace(data, storage=replace(data.storage, episode=data.storage.episode * 10 + 5))
    assert renumbered.episode_returns.tolist() == [4.0, 4.0, 1.0]
    assert renumbered.num_episodes == 3


# Fingerprint


def test_equal_content_has_an_equal_fingerprint_however_it_came_about():
    data = three_episodes()
    assert data.fingerprint == three_episodes().fingerprint
    assert without(data, 1, 2).fingerprint == without(without(data, 1), 1).fingerprint
    assert data.keep(np.ones(7, dtype=bool), "nothing").fingerprint == data.fingerprint


def test_a_view_has_the_fingerprint_of_a_storage_that_holds_just_its_content():
    view = without(three_episodes(), 0, 4)
    columns = {name: getattr(view, name) for name in COLUMNS}
    alone = OfflineDataset.full(Storage(**columns), view.spec, {})
    assert alone.fingerprint == view.fingerprint


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("observation", 5),
        ("action", 2),
        ("reward", 0.1),
        ("next_observation", 5),
        ("terminated", True),
        ("episode", 7),
        ("step", 7),
    ],
)
def test_one_number_changes_the_fingerprint(column, value):
    data = three_episodes()
    assert changed(data, column, 0, value).fingerprint != data.fingerprint


def test_each_set_of_holes_has_its_own_fingerprint():
    data = three_episodes()
    kept = [[bool(bits >> i & 1) for i in range(7)] for bits in range(2**7)]
    fingerprints = {data.keep(np.array(mask), "holes").fingerprint for mask in kept}
    assert len(fingerprints) == 2**7


def test_the_comparators_action_is_no_part_of_the_data():
    data = three_episodes()
    assert changed(data, "comparator_action", 0, 2).fingerprint == data.fingerprint


# Files


@pytest.mark.parametrize("mapped_bytes", [0, 2**26])
@pytest.mark.parametrize("data", [random_tabular_dataset(0), random_vector_dataset(0)])
def test_what_was_saved_is_loaded_bit_by_bit(data, mapped_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "MAPPED_BYTES", mapped_bytes)
    folder = tmp_path / "folder" / "data"
    data.storage.save(folder)
    loaded = Storage.load(folder)
    for name in COLUMNS:
        saved, read = getattr(data.storage, name), getattr(loaded, name)
        assert saved.dtype == read.dtype
        np.testing.assert_array_equal(saved, read)
        assert isinstance(read.base, np.memmap) == (mapped_bytes == 0)
    assert OfflineDataset.full(loaded, data.spec, {}).fingerprint == data.fingerprint


def test_an_unknown_comparator_stays_unknown(tmp_path):
    replace(three_episodes().storage, comparator_action=None).save(tmp_path / "data")
    assert Storage.load(tmp_path / "data").comparator_action is None


def test_a_missing_folder_and_a_folder_with_a_missing_column_are_not_loaded(tmp_path):
    assert Storage.load(tmp_path / "missing") is None
    three_episodes().storage.save(tmp_path / "data")
    (tmp_path / "data" / "reward.npy").unlink()
    assert Storage.load(tmp_path / "data") is None


def test_a_failed_write_leaves_the_old_folder_and_nothing_else(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    three_episodes().storage.save(folder)

    def fail(path, column):
        path.write_bytes(b"half of")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        random_tabular_dataset(0).storage.save(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    assert len(Storage.load(folder)) == len(three_episodes())


def test_a_folder_replaces_the_one_before_it(tmp_path):
    folder = tmp_path / "data"
    three_episodes().storage.save(folder)
    other = random_tabular_dataset(0)
    other.storage.save(folder)
    assert len(Storage.load(folder)) == len(other)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


# Altered rewards


def test_altered_rewards_are_those_of_the_view_and_of_no_other():
    data = three_episodes()
    before = data.fingerprint
    altered = without(data, 1).with_rewards(np.arange(6.0) - 3, "rewards")
    assert altered.reward.tolist() == [-3, -2, -1, 0, 1, 2]
    assert data.reward.tolist() == [0, 1, 2, 1, 2, 2, 1]
    assert data.fingerprint == before
    assert altered.fingerprint != without(data, 1).fingerprint
    # The reward that a hole took with it still counts, as collected.
    assert altered.episode_returns.tolist() == [-3 + 1 - 2 - 1, 1, 2]
    assert without(altered, 0).reward.tolist() == [-2, -1, 0, 1, 2]


def test_altering_a_reward_to_itself_changes_no_fingerprint():
    data = three_episodes()
    assert data.with_rewards(data.reward, "rewards").fingerprint == data.fingerprint
