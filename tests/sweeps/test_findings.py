"""What a sweep says at its end: sentences whose numbers are counted by hand here."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.store.folders import report_path
from bench.sweeps.findings import findings
from tests.support.plotting import BC, CQL, SMALL, make_record, sweep, with_final
from tests.support.sweeps import TINY, run_here

SEVERITIES = (0.0, 0.9)


def regrets(number, seeds=10, learners=(BC, CQL), **values):
    """Return records of two severities whose regret is `number` of learner, severity and seed."""
    return [
        replace(
            with_final(record, normalized_regret=number(learner[0], severity, seed)),
            values={"optimum": 1.0, "uniform": 0.0, "best_covered": 1.0, **values},
        )
        for severity in SEVERITIES
        for learner in learners
        for seed in range(seeds)
        for record in [make_record("lock", "thin", severity, learner, seed)]
    ]


def test_numbers_are_those_of_the_records():
    level = {"bc": 0.2, "cql": 0.1}
    noise = np.linspace(-0.01, 0.01, 10)
    lines = findings(regrets(lambda name, s, seed: level[name] * (1 + 2 * s) + noise[seed]))
    assert len(lines) == 3
    # Means over severities 0 and 0.9: factors 1 and 2.8, and noise that sums to 0 over seeds.
    assert lines[0].startswith(
        "Lowest mean normalized regret over 2 conditions that can tell methods apart: cql (0.190, "
    )
    # Noise that learners share is none of their difference's.
    assert lines[0].endswith("; bc is next, higher by 0.190.")
    assert lines[1].startswith("Lowest worst case among them: cql, 0.280, 95 % interval")
    assert "in lock, thin 0.9; bc is next with 0.560," in lines[1]
    assert lines[2] == (
        "From severity 0 to 0.9, normalized regret changes by +0.270 in the mean over learners: "
        "least for cql (+0.180), most for bc (+0.360)."
    )


def test_a_lead_that_may_be_chance_is_called_so():
    rng = np.random.default_rng(0)
    noise = {name: rng.normal(0, 0.1, 10) for name in ("bc", "cql")}
    for gap, chance in ((0.0, True), (1.0, False)):
        level = {"bc": gap, "cql": 0.0}
        (lead, *_) = findings(
            regrets(lambda name, _, seed, level=level: level[name] + noise[name][seed])
        )
        assert lead.endswith(", within chance.") == chance


def test_conditions_that_tell_nothing_apart_compare_nobody():
    def number(name, severity, seed):
        return 0.5 + severity + seed / 100

    assert not any("methods apart" in line for line in findings(regrets(number, best_covered=0.0)))
    assert "that can or may tell" in findings(regrets(number, best_covered=None))[0]


@pytest.mark.parametrize(("seeds", "said"), [(1, "With 1 seed, no interval"), (3, "With 3 seeds")])
def test_few_seeds_are_said_once(seeds, said):
    lines = findings(sweep(**SMALL, seeds=range(seeds)))
    assert [said in line for line in lines] == [False, False, True]
    assert ("interval " in lines[0]) == (seeds > 1)


def test_one_run_and_runs_that_differ_in_nothing_said_find_nothing():
    records = sweep(**{**SMALL, "learners": (BC,), "severities": (0.0,)}, seeds=range(4))
    assert findings(records[:1]) == []
    assert findings(records) == []
    assert findings([replace(record, status="failed", final={}) for record in sweep(**SMALL)]) == []


def test_an_end_names_the_report_and_then_where_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = (*TINY, "algorithm=bc,fqi", "seed=0")
    assert run_here(monkeypatch, *words) == 0
    printed = capsys.readouterr().out
    report = report_path(Path("results"), "default")
    assert f"`python -m plots default` draws the report, {report}." in printed
    assert "Lowest mean normalized regret over 1 condition that" in printed
    report.parent.mkdir(parents=True)
    report.write_text("")
    assert run_here(monkeypatch, *words) == 0
    assert f"The report is {report}." in capsys.readouterr().out
    assert run_here(monkeypatch, *words[:-1], "seed=0,1") == 0
    assert re.search(rf"{report} is older; `python -m plots default`", capsys.readouterr().out)


def test_a_single_run_has_no_findings_and_no_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, *TINY, "algorithm=bc", "seed=0") == 0
    assert "report" not in capsys.readouterr().out
