"""A group's choice that is read from its file is what Hydra composes of it."""

import pytest

from bench import CONF
from bench.settings import composing
from bench.settings.composition import Composer
from bench.settings.groups import is_group, known_names

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and is_group(path.name))


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "experiment"])
def test_a_file_alone_is_what_hydra_makes_of_it(group):
    read = {name: composing.file_alone(group, name) for name in known_names(group)}
    alone = {name: found for name, found in read.items() if found is not None}
    # One of them per group, and all where files are small: composing costs a fifth of a second.
    for name in sorted(alone)[:4]:
        assert alone[name] == composing.composed((f"{group}={name}",))[group]


def test_a_file_that_builds_on_others_is_left_to_hydra():
    assert composing.file_alone("launcher", "processes") is None
    assert composing.file_alone("algorithm", "../config") is None
    assert composing.file_alone("algorithm", "dqm") is None


def test_what_the_words_set_inside_a_group_holds_for_every_choice_of_it():
    words = ("algorithm=bc,cql", "dataset=lock,cliff", "algorithm.learning_rate=0.5", "seed=3")
    jobs = list(Composer(list(words)).jobs())
    assert [job["algorithm"]["learning_rate"] for job in jobs] == [0.5] * 4
    assert {job["algorithm"]["name"] for job in jobs} == {"bc", "cql"}
