"""Learning curves: means over seeds of what each evaluation says, and only where there are any."""

from dataclasses import replace

import pytest

from bench.store.records import RunStore
from plots.data import names as printed
from plots.data.frame import build_frame
from plots.sections.curves.learning import curves, draw, section, shown
from tests.support.plotting import SMALL, figures, plot, store, sweep, table


def evaluated(**values):
    """Return records evaluated thrice: their values are 0, 0.2 and 0.1 per seed, or as named."""
    records = []
    for record in sweep(**SMALL, seeds=range(3)):
        told = [
            {"update": update, "returns": [5.0, 7.0], "exact_value": factor * record.seed, **values}
            for update, factor in ((10, 0.0), (20, 0.2), (30, 0.1))
        ]
        anchors = {**record.values, "optimum": 2.0, "uniform": -2.0}
        records.append(replace(record, evaluations=told, values=anchors))
    return records


def test_a_curve_is_the_mean_over_seeds():
    found = curves(build_frame("sweep", evaluated()))
    assert len(found) == 2
    for own in found.values():
        assert list(own) == ["bc", "cql"]
        for curve in own.values():
            assert curve.updates.tolist() == [10, 20, 30]
            # Of seeds 0, 1 and 2 the mean value is the factor.
            assert curve.regret == pytest.approx([(2 - f) / 4 for f in (0.0, 0.2, 0.1)])
            assert curve.num_runs.tolist() == [3, 3, 3]
            assert curve.low[0] == curve.high[0] == 0.5
            assert (curve.low[1:] < curve.regret[1:]).all()
            assert (curve.regret[1:] < curve.high[1:]).all()


@pytest.mark.parametrize(
    ("told", "value"),
    [({"exact_value": None}, 6.0), ({"exact_value": None, "discounted_returns": [1.0, 2.0]}, 1.5)],
)
def test_without_an_exact_value_episodes_count_as_in_final_numbers(told, value):
    found = curves(build_frame("sweep", evaluated(**told)))
    for curve in (curve for own in found.values() for curve in own.values()):
        assert curve.regret == pytest.approx(3 * [(2 - value) / 4])


def test_a_single_evaluation_is_no_curve():
    assert section(build_frame("sweep", sweep(**SMALL))) is None


def test_the_panels_are_severity_0_and_the_highest_of_each_degradation():
    grid = {**SMALL, "degradations": ("thin", "region"), "severities": (0.0, 0.5, 0.9)}
    records = [
        replace(r, evaluations=[{"update": u, "exact_value": 0.5} for u in (1, 2)])
        for r in sweep(**grid, seeds=range(2))
    ]
    frame = build_frame("sweep", records)
    found = curves(frame)
    assert {(p.degradation, p.severity) for p in found} > {("thin", 0.5)}
    places = shown(frame, "lock", found)
    assert {(p.degradation, p.severity) for p in places} == {
        ("none", 0.0),
        ("thin", 0.9),
        ("region", 0.9),
    }
    panels = [axes for axes in draw(frame, places, found).axes if axes.axison]
    assert [axes.get_title() for axes in panels] == [
        f"{printed.degradation(p.degradation)}{f' {p.severity:g}' if p.severity else ''}"
        for p in places
    ]


def test_curves_come_from_the_store_and_from_what_is_kept_alike(tmp_path, one_figure):
    records = evaluated()
    store(records, tmp_path)
    assert plot(tmp_path, "coverage_ablation", "--keep") == 0
    stored = table(figures(tmp_path) / "learning.csv")
    assert len(stored) == 2 * 2 * 3
    assert 'id="figure-learning_lock"' in (figures(tmp_path) / "report.html").read_text()
    assert plot(tmp_path, "coverage_ablation", "--reference") == 0
    assert table(figures(tmp_path) / "learning.csv") == stored


def test_a_summary_keeps_the_means_of_early_evaluations(tmp_path):
    root = store(evaluated(), tmp_path)
    (first, *_) = RunStore(root).summaries("coverage_ablation")
    assert [e["returns"] for e in first.evaluations] == [[6.0], [6.0], [5.0, 7.0]]
    assert [e["update"] for e in first.evaluations] == [10, 20, 30]
