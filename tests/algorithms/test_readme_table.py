"""The table of methods in `algorithms/README.md` says the truth of what it lists."""

import re
from pathlib import Path

import pytest

from tests.support.builders import ALGORITHMS, build_algorithm, kinds_of

PAGE = Path(__file__).parents[2] / "algorithms" / "README.md"
ROWS = re.findall(r"^\| `(\w+)` \| .+? \| ([\w, ]+) \| .+ \|$", PAGE.read_text("utf-8"), re.M)
WORDS = {"vector": "numbered", "continuous": "continuous"}


def test_rows_are_of_learners_each_once():
    names = [name for name, _ in ROWS]
    assert len(names) == len(set(names)) > 10
    assert set(names) <= set(ALGORITHMS)


@pytest.mark.parametrize(("name", "actions"), ROWS)
def test_a_row_says_which_actions_a_learner_chooses(name, actions):
    found = [WORDS[kind] for kind in kinds_of(name) if kind in WORDS]
    numbered = "discrete" in build_algorithm(name).action_kinds
    assert actions == (", ".join(found) if found or not numbered else "tables")
