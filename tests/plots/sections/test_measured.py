"""What worlds measure beside values: means by severity, and nothing where they measure nothing."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from plots.data.frame import build_frame
from plots.sections.comparisons.measured import section
from tests.support.plotting import BC, CQL, make_record


def made(measured):
    records = [
        make_record("lock", degradation, severity, learner, seed)
        for degradation, severity in (("thin", 0.0), ("thin", 0.5), ("actions", 0.5))
        for learner in (BC, CQL)
        for seed in range(3)
    ]
    if not measured:
        return records
    rng = np.random.default_rng(0)
    return [replace(r, final={**r.final, "time_in_range": rng.random()}) for r in records]


def test_means_are_those_of_the_runs():
    records = made(measured=True)
    found = section(build_frame("rooms", records))
    of = {
        (r["learner"], r["degradation"], float(r["severity"])): r
        for r in csv.DictReader(io.StringIO(found.files[0].text))
    }
    assert len(of) == 6
    own = [
        r.final["time_in_range"]
        for r in records
        if r.algorithm == "cql" and r.dataset["degradation"] == "actions"
    ]
    row = of["cql", "actions", 0.5]
    assert float(row["mean"]) == pytest.approx(np.mean(own), rel=1e-5)
    assert float(row["std"]) == pytest.approx(np.std(own, ddof=1), rel=1e-5)
    # A line of the table is of all degradations together.
    pooled = [
        r.final["time_in_range"]
        for r in records
        if r.algorithm == "cql" and r.dataset["severity"] == 0.5
    ]
    line = next(line for line in found.text.splitlines() if "CQL" in line)
    assert f"{np.mean(pooled):.3f}" in line


def test_a_world_that_judges_by_the_value_alone_has_no_table():
    assert section(build_frame("rooms", made(measured=False))) is None
