"""Estimates of values: a table where nothing was acted in, a check where the truth is known."""

from dataclasses import replace
from importlib.util import find_spec
from statistics import median

import numpy as np
import pytest

from bench.measures.statistics.ranks import rank_correlation
from plots.answers.export import long_form
from plots.data.estimates import estimated
from plots.data.frame import build_frame
from plots.sections.account import value_estimates
from plots.sections.curves import estimate_checks, regret
from plots.sections.curves.estimate_checks import ESTIMATORS, check
from tests.support import commands
from tests.support.plotting import BC, CQL, FQI, figures, make_record, plot, store, table

LEARNERS = (BC, CQL, FQI)


def found_of(value, rng):
    """Return estimates around a value, of which only some intervals hold it."""
    about = value + rng.normal(scale=0.2)
    return {
        "fitted": about,
        "fitted_clipped_share": 0.0,
        "bound_low": about - 0.3,
        "bound_high": about + 0.3,
        "effective_trajectories": 50.0,
        "support_share": 0.9,
        "agreement": 0.5,
        "agreement_where_acting": None,
        "importance_sampling": value + 0.1,
        "importance_sampling_low": value - 0.1,
        "importance_sampling_high": value + 0.3,
        "doubly_robust": value - 0.1,
        "doubly_robust_low": value - 0.3,
        "doubly_robust_high": value - 0.05,
        "reasons": {},
    }


def withheld(found):
    """Return estimates of which those by weights are withheld."""
    kept = {k: v for k, v in found.items() if not k.startswith(("importance", "doubly"))}
    none = dict.fromkeys(("importance_sampling", "doubly_robust"))
    return {**kept, **none, "effective_trajectories": 3.0, "reasons": dict.fromkeys(none, "few")}


def record(severity, learner, seed, known=True):
    """Return a run with estimates by both ways of acting, withheld at severity 0.9."""
    made = make_record("lock", "thin", severity, learner, seed, experiment="estimates")
    rng = np.random.default_rng([seed, int(10 * severity), LEARNERS.index(learner)])
    final = {**made.final, "value": made.final["return_mean"], "sampled_value": rng.normal()}
    ways = {
        way: found_of(final[truth], rng) if severity < 0.9 else withheld(found_of(0, rng))
        for way, truth in (("mode", "value"), ("sampling", "sampled_value"))
    }
    about = {"of": "value discounted by 0.95", "behavior_policy": "known", "states": "states"}
    if not known:
        final = dict.fromkeys(final)
    return replace(made, final=final, value_estimates={**about, **ways})


def records(known=True):
    return [
        record(severity, learner, seed, known)
        for severity in (0.0, 0.5, 0.9)
        for learner in LEARNERS
        for seed in range(2)
    ]


def cases_of(made):
    return list(estimated(build_frame("estimates", made)))


def test_every_policy_stands_beside_what_it_is_worth():
    cases = cases_of(records())
    assert len(cases) == 3 * 3 * 2 * 2
    by_mode = [one for one in cases if one.way == "mode"]
    assert sorted(one.value for one in by_mode) == sorted(r.final["value"] for r in records())
    # Optimum minus uniform of the made-up lock.
    assert [one.scale for one in cases] == [pytest.approx(0.7 + 0.95)] * len(cases)
    assert {one.value for one in cases_of(records(known=False))} == {None}


def test_a_check_is_what_one_counts_by_hand():
    cases = cases_of(records())
    sampling, robust, fitted, bounds = (check(estimator, cases) for estimator in ESTIMATORS)
    assert (sampling.policies, sampling.given) == (36, 24)
    assert sampling.error == pytest.approx(0.1 / 1.65)
    assert (sampling.held, robust.held, fitted.held) == (1.0, 0.0, None)
    inside = [-0.3165 <= c.value - c.found["fitted"] <= 0.3165 for c in cases]
    assert bounds.held == pytest.approx(np.mean(inside))
    errors = [abs(c.found["fitted"] - c.value) / 1.65 for c in cases]
    assert fitted.error == pytest.approx(median(errors))
    assert bounds.error is None
    assert sampling.rank == robust.rank == 1.0
    assert sampling.datasets == 4  # two seeds at the two severities at which it is given


def test_ranks_are_within_the_policies_of_a_dataset():
    cases = cases_of(records())
    expected = []
    for severity in (0.0, 0.5, 0.9):
        for data in {one.data for one in cases}:
            own = [c for c in cases if (c.place.severity, c.data) == (severity, data)]
            assert len(own) == 6
            estimates = np.array([c.found["fitted"] for c in own])
            expected.append(rank_correlation(estimates, np.array([c.value for c in own])))
    assert check(ESTIMATORS[2], cases).rank == pytest.approx(np.mean(expected))


@pytest.fixture
def few_figures(monkeypatch):
    """Draw few of the figures that are not about estimates."""
    monkeypatch.setattr(regret, "PLOTS", regret.PLOTS[:1])


@pytest.mark.usefixtures("few_figures")
def test_where_the_truth_is_known_the_command_leaves_figure_and_checks(tmp_path):
    store(records(), tmp_path)
    assert plot(tmp_path, "estimates") == 0
    folder = figures(tmp_path, "estimates")
    assert (folder / "value_estimates.png").stat().st_size > 1000
    assert not (folder / "value_estimates.csv").exists()
    lines = table(folder / "value_estimate_checks.csv")
    assert len(lines) == 2 * 3 * len(ESTIMATORS)
    cases = [c for c in cases_of(records()) if c.place.severity == 0.5]
    (line,) = (x for x in lines if x["environment"] == "all" and x["severity"] == "0.5"
               and x["estimator"] == "fitted")  # fmt: skip
    found = check(ESTIMATORS[2], cases)
    assert float(line["error"]) == pytest.approx(found.error, rel=1e-3)
    assert float(line["rank"]) == pytest.approx(found.rank, rel=1e-3)
    drawn = estimate_checks.draw(build_frame("estimates", records()), cases_of(records()))
    rank = drawn.axes[2].get_lines()
    assert [len(points.get_xdata()) for points in rank[:4]] == [2, 2, 3, 3]


@pytest.mark.usefixtures("few_figures")
def test_where_nothing_could_be_acted_in_the_command_leaves_a_table_of_estimates(tmp_path):
    made = records(known=False)
    store(made, tmp_path)
    assert plot(tmp_path, "estimates") == 0
    folder = figures(tmp_path, "estimates")
    assert not (folder / "value_estimates.png").exists()
    lines = table(folder / "value_estimates.csv")
    assert len(lines) == 36
    assert sum(line["importance_sampling"] == "" for line in lines) == 12
    assert "no returns" in (folder / "report.html").read_text()
    text = value_estimates.section(build_frame("estimates", made)).text
    row = next(line for line in text.splitlines() if "| 0.9 | BC | mode |" in line)
    mean = np.mean([record(0.9, BC, seed).value_estimates["mode"]["fitted"] for seed in range(2)])
    assert f"| 2 | {mean:.4g} (" in row
    assert "| - | - | 3 | 0.9 |" in row


def test_the_experiment_estimates_and_evaluates_everything():
    plan = commands.plan("experiment=value_estimates", "seed=0")
    assert all(run.config.value_estimates == "everywhere" for run in plan.runs)
    facts = [run.config.dataset.source.facts() for run in plan.runs]
    assert all(f.can_evaluate and f.action_kind == "discrete" for f in facts)


@pytest.mark.skipif(find_spec("icu_sepsis") is None, reason="the extra icu is not installed")
def test_the_clinical_worlds_are_met_with_those_who_keep_records_there():
    plan = commands.plan("experiment=real_world", "seed=0")
    names = {run.config.dataset.name for run in plan.runs}
    assert names == {"sepsis_sim", "icu_sepsis", "glucose", "glucose_in_units"}
    lost = {run.config.coverage.name for run in plan.runs}
    assert lost == {"none", "actions", "thin", "propensity", "patients"}


def test_records_without_estimates_have_neither():
    made = [replace(r, value_estimates={}) for r in records()]
    frame = build_frame("estimates", made)
    assert value_estimates.section(frame) is estimate_checks.section(frame) is None


def test_the_long_form_has_every_estimate():
    (made, *_) = records()
    lines = long_form(build_frame("estimates", [made]))
    found = {x["quantity"]: x["value"] for x in lines if x["group"] == "value_estimates"}
    assert found["mode.fitted"] == made.value_estimates["mode"]["fitted"]
    assert "mode.agreement_where_acting" not in found
