"""Worlds that a command names, with who collects in them or without."""

from dataclasses import replace

import pytest

from plots.data.choice import chosen_records
from plots.data.records import UnusableRecords
from tests.support.plotting import BC, make_record


def found(words, *worlds):
    """Return which of the worlds some words name."""
    records = [make_record("lock", "thin", 0.5, BC, seed) for seed in range(len(worlds))]
    named = [replace(r, environment=world) for r, world in zip(records, worlds, strict=True)]
    return [record.environment for record in chosen_records(named, words, None)]


def test_a_world_without_who_collects_is_all_who_do():
    worlds = ("two_goals_mixed", "two_goals_random", "lock_medium_replay", "lock_expert")
    assert found("two_goals", *worlds) == list(worlds[:2])
    assert found("lock,two_goals_random", *worlds) == list(worlds[1:])


def test_a_name_that_a_dataset_has_is_that_dataset_alone():
    assert found("lock", "lock", "lock_mixed") == ["lock"]
    assert found("lock_mixed", "lock", "lock_mixed") == ["lock_mixed"]


def test_a_world_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(UnusableRecords, match="no world 'goals' here; there are two_goals, two_go"):
        found("goals", "two_goals_mixed")
