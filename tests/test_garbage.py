"""While much is made that stays no garbage is searched for, and much is never searched."""

import gc

import pytest

from bench import garbage


@pytest.fixture(autouse=True)
def unfrozen():
    """Leave Python's search for garbage as it was."""
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize(("many", "frozen"), [(100, True), (10_000, False)])
def test_only_much_is_left_out_of_later_searches(many, frozen, monkeypatch):
    monkeypatch.setattr(garbage, "MANY", many)
    with garbage.all_of_it_stays():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert (gc.get_freeze_count() > len(made)) == frozen


def test_where_it_is_off_it_stays_off():
    gc.disable()
    with garbage.all_of_it_stays(), garbage.all_of_it_stays():
        pass
    assert not gc.isenabled()
    assert gc.get_freeze_count() == 0
