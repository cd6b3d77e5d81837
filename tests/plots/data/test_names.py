"""Printed names: those of the file, and of all else the identifier in words."""

import pytest

from bench.errors import UserError
from plots.data import names


def test_a_label_is_printed_part_by_part():
    assert names.learner("fqi (initial_value=v_max)") == "FQI (initial value maximal)"
    label = "mine (follower.num_features=50, discount=null, sizes=[64, 64])"
    assert names.learner(label) == "mine (num features 50, discount default, sizes [64, 64])"
    assert names.learner("mine (follower.ridge=null)") == "mine (ridge none)"
    assert names.degradation("size_matched: region + thin") == "size matched: region + thin"


def test_what_has_no_name_needs_none():
    assert names.learner("brand_new") == "brand new"
    assert names.environment("my_world_mixed") == "my world mixed"
    assert names.environment("cliff_2d_random") == "Cliff 2D, random"
    assert names.measure("regret_to_covered") == "regret to the best covered policy"


@pytest.mark.parametrize(
    ("text", "printed"),
    [("1000000", "1e6"), ("0.0001", "1e-4"), ("10000", "10000"), ("null", "default")],
)  # fmt: skip
def test_numbers_are_short(text, printed):
    assert names.value(text) == printed


def test_a_damaged_file_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "FILE", tmp_path / "names.yaml")
    names.FILE.write_text("learners: 3")
    names.names.cache_clear()
    with pytest.raises(UserError, match="should map learners"):
        names.learner("bc")
    names.names.cache_clear()
