"""Reference results are of the settings that their commands come to today.

Whoever changes a setting, a world or what a degradation does makes kept records those of something
else: they are to be made again or taken out, or the experiment names the values that it means.
"""

import re
import shlex

import pytest

from bench.settings.composition import Composer
from bench.sweeps.plan import make_plan
from plots.data.records import rounded
from plots.data.reference import kept_experiments, read_reference
from plots.keeping import BEGIN, END, README
from tests.support.plotting import ROOT

REFERENCE = ROOT / "results" / "reference"
LONG = {"claim", "extreme_coverage"}  # To plan, by their many runs.
# What these learn from is made or installed apart, and not everywhere.
APART = ("Hopper", "icu_sepsis")


def commands(experiment: str) -> list[list[str]]:
    """Return the words of the commands that a README says its records are by."""
    text = (REFERENCE / experiment / README).read_text("utf-8")
    made = text.partition(BEGIN)[2].partition(END)[0]
    found = re.findall(r"^python -m bench (experiment=.+)$", made, re.MULTILINE)
    return [shlex.split(words) for words in found]


@pytest.mark.parametrize(
    "experiment",
    [pytest.param(e, marks=[pytest.mark.slow] * (e in LONG)) for e in kept_experiments(REFERENCE)],
)
def test_kept_records_are_of_settings_as_they_are(experiment):
    planned = {
        run.run_id
        for words in commands(experiment)
        if "dataset=hopper" not in words
        for run in make_plan(Composer(words).jobs()).runs
    }
    records = read_reference(REFERENCE, experiment)
    # They are drawn as they are read.
    assert all(rounded(record) == record for record in records[::20])
    compared = {r.run_id for r in records if not r.environment.startswith(APART)}
    assert compared
    assert compared <= planned, f"{len(compared - planned)} of {len(compared)} are of others"
