"""Learners by kind of world: means and worst cells of each kind, from the records themselves."""

import csv
import io

import numpy as np
import pytest

from plots.data import names
from plots.data.frame import build_frame
from plots.sections.comparisons.kinds import section
from tests.support.plotting import BC, CQL, make_record

SEEDS, SEVERITIES = range(3), (0.25, 0.5)
KINDS = {"lock": "unseen dangerous", "cliff": "unseen dangerous", "garnet": "other"}


def of(worlds):
    return [
        make_record(world, "region", severity, learner, seed)
        for world in worlds
        for severity in SEVERITIES
        for learner in (BC, CQL)
        for seed in SEEDS
    ]


def test_a_kind_has_the_mean_and_the_worst_of_its_cells():
    made = of(KINDS)
    found = section(build_frame("claim", made))
    rows = list(csv.DictReader(io.StringIO(found.files[0].text)))
    for kind in ("unseen dangerous", "other", "all"):
        for learner in ("bc", "cql"):
            cells = [
                np.mean(
                    [
                        r.final["normalized_regret"]
                        for r in made
                        if (r.environment, r.dataset["severity"], r.algorithm)
                        == (world, severity, learner)
                    ]
                )
                for world in KINDS
                for severity in SEVERITIES
                if kind in (KINDS[world], "all")
            ]
            (row,) = [r for r in rows if (r["kind"], r["learner"]) == (kind, learner)]
            assert int(row["num_cells"]) == len(cells)
            assert float(row["mean"]) == pytest.approx(np.mean(cells), rel=1e-5)
            assert float(row["worst"]) == pytest.approx(max(cells), rel=1e-5)
            assert float(row["mean_low"]) <= float(row["mean"]) <= float(row["mean_high"])
    assert "unseen dangerous (4) | other (2) | all (6)" in found.text


def test_worlds_of_one_kind_need_no_table():
    assert section(build_frame("claim", of(["lock", "cliff"]))) is None


def test_the_kind_is_that_of_the_longest_name_that_has_one():
    assert names.kind("cliff_2d_mixed") == names.names()["kinds"]["cliff_2d"]
    assert names.kind("swamp_mixed") != names.kind("cliff_random")
    assert names.kind("brand_new") == names.OTHER
