"""Learners of the tables have settings for MuJoCo, and their files say where these are from."""

import re

import pytest

from bench import CONF
from bench.settings.groups import file_of, known_names

TABLES = [name for name in known_names("experiment") if name.startswith("table_")]
LEARNERS = {a for name in TABLES for sub in file_of("experiment", name)["grid"]
            for a in sub["algorithm"]}  # fmt: skip


def test_there_are_tables_and_they_have_the_same_learners():
    assert {"table_d4rl", "table_local"} <= set(TABLES)
    for name in TABLES:
        grid = file_of("experiment", name)["grid"]
        assert {a for sub in grid for a in sub["algorithm"]} == LEARNERS
        # Clones of all episodes and of the best tenth.
        shares = {tuple(s["algorithm.top_fraction"]) for s in grid if s["algorithm"] == ["bc"]}
        assert shares == {(1.0, 0.1)}


@pytest.mark.parametrize("learner", sorted(LEARNERS))
def test_settings_of_papers_stand_with_their_source(learner):
    settings = file_of("algorithm", learner)["kinds"]["mujoco"]
    text = (CONF / "algorithm" / f"{learner}.yaml").read_text()
    comment = re.search(r"\n  # (.*)\n  mujoco:", text)
    assert comment is not None
    published = re.search(r"arXiv \d{4}\.\d{5}", comment[1])
    assert published or "no paper" in comment[1]
    if published:
        assert settings["num_updates"] == 1_000_000
