"""Figures of regret show every learner, what cannot tell methods apart and what lies beyond."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from plots.data.frame import build_frame
from plots.look import style
from plots.look.panel import HIGHEST, limits
from plots.report import write_report
from plots.sections import sections
from plots.sections.account.tables import cells_csv, compact_rows
from plots.sections.curves.regret import PLOTS, ROWS_PER_PAGE, caption, draw, pages, rows
from tests.support.plotting import (
    LEARNERS,
    SMALL,
    make_record,
    sweep,
    uninformative_records,
    with_final,
)


def test_hatching_lies_behind_the_uninformative_severity_only():
    with style.styled():
        figure = draw(build_frame("x", uninformative_records()), PLOTS[0])
    (axes,) = figure.axes
    (hatched,) = [patch for patch in axes.patches if patch.get_hatch()]
    left, right = hatched.get_extents().transformed(axes.transData.inverted()).intervalx
    assert left == pytest.approx(0.45)
    assert right == pytest.approx(axes.get_xlim()[1])
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "cannot tell methods apart" in labels


def test_a_regret_to_support_is_hatched_where_seen_actions_gain_nothing():
    """Which is elsewhere than where the best covered policy gains nothing."""

    def seen(record):
        # All there is to gain at severity 0, a twentieth of it at .9, where data covers enough.
        share = 0.05 if record.dataset["severity"] == 0.9 else 1.0
        optimum, uniform = (record.values[name] for name in ("optimum", "uniform"))
        best = uniform + share * (optimum - uniform)
        values = {**record.values, "best_covered": optimum, "best_supported": best}
        final = {**record.final, "regret_to_support": 0.3}
        return replace(record, values=values, final=final)

    frame = build_frame("x", [seen(record) for record in sweep(**SMALL)])
    assert {(c.severity, s.informative, s.informative_to_support)
            for c, s in frame.situations.items()} == {
                (c.severity, True, c.severity != 0.9) for c in frame.situations}  # fmt: skip
    with style.styled():
        by_optimum, by_support = (draw(frame, PLOTS[i]).axes[0] for i in (0, 4))
    assert not [patch for patch in by_optimum.patches if patch.get_hatch()]
    assert len([patch for patch in by_support.patches if patch.get_hatch()]) == 1
    assert "best policy on seen actions gains less than 10 %" in caption(frame, PLOTS[4])
    line = cells_csv(frame).splitlines()[-1].split(",")
    column = dict(zip(cells_csv(frame).splitlines()[0].split(","), line, strict=True))
    assert (column["regret_to_support"], column["informative_to_support"]) == ("0.3", "false")


def test_ticks_too_near_to_the_next_have_no_label():
    frame = build_frame("x", sweep(**{**SMALL, "severities": (0.0, 0.5, 0.9, 0.95, 0.99)}))
    with style.styled():
        (axes,) = draw(frame, PLOTS[0]).axes
    assert list(axes.get_xticks()) == [0, 0.5, 0.9, 0.95, 0.99]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0", "0.5", "0.9", "", "0.99"]


def test_a_giant_regret_does_not_flatten_the_others():
    records = [
        with_final(r, normalized_regret=400.0) if r.algorithm == "cql" else r
        for r in sweep(**SMALL)
    ]
    frame = build_frame("x", records)
    assert limits(frame, PLOTS[0], "lock")[1] == HIGHEST
    with style.styled():
        figure = draw(frame, PLOTS[0])
    triangles = [line for line in figure.axes[0].lines if line.get_marker() == "^"]
    beyond = [line for line in triangles if line.get_linestyle() == "None"]
    (edge,) = (line.get_ydata() for line in beyond)
    assert len(edge) == 2
    assert all(edge > 0.9 * HIGHEST)
    assert all(edge < HIGHEST)
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert "beyond the axis" in labels


def test_measured_coverage_falls_to_the_right_and_places_whole_cells():
    records = sweep(**SMALL)
    frame = build_frame("x", records)
    by_coverage = next(p for p in PLOTS if p.stem == "normalized_regret_by_coverage")
    with style.styled():
        axes = draw(frame, by_coverage).axes[0]
    assert axes.xaxis_inverted()
    line = next(
        line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_marker() == "o"
    )
    means = [
        np.mean([r.coverage["support_fraction"] for r in records if r.dataset["severity"] == s])
        for s in (0, 0.9)
    ]
    np.testing.assert_allclose(line.get_xdata(), means)


def draw_all(experiment, records, folder):
    """Write the report of the records into the folder."""
    frame = build_frame(experiment, records)
    write_report(frame, list(sections(frame)), folder)


def test_many_environments_are_drawn_on_several_legible_pages(tmp_path, one_figure):
    def named(number):
        return replace(
            make_record("lock", "thin", 0.5, LEARNERS[0], 0), environment=f"world{number}"
        )

    records = [replace(named(n), run_id=f"run{n}") for n in range(ROWS_PER_PAGE + 3)]
    folder = tmp_path / "many"
    draw_all("many", records, folder)
    figures = ["normalized_regret_by_severity.svg", "normalized_regret_by_severity_2.svg"]
    assert sorted(path.name for path in folder.glob("*.svg")) == figures
    report = (folder / "report.html").read_text()
    assert 'href="normalized_regret_by_severity_2.png"' in report
    plot = PLOTS[0]
    frame = build_frame("many", records)
    first, second = pages(frame, plot)
    assert len(rows(frame, first)) == ROWS_PER_PAGE
    assert len(rows(frame, second)) == 3
    assert {*rows(frame, first), *rows(frame, second)} == {r.environment for r in records}
    # With fewer environments the second page is gone.
    draw_all("many", records[:3], folder)
    assert [path.name for path in folder.glob("*.svg")] == figures[:1]


@pytest.mark.parametrize("plotted", [PLOTS[0], PLOTS[3]], ids=lambda plotted: plotted.stem)
def test_nothing_overlaps_and_type_is_large_enough(frame, plotted):
    with style.styled():
        figure = draw(frame, plotted)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        boxes = [(str(x), x.get_window_extent(renderer)) for x in (*figure.legends, *figure.texts)]
        for axes in figure.axes:
            boxes += [(t.get_text(), t.get_window_extent(renderer)) for t in shown_texts(axes)]
    assert figure.get_figwidth() == 5.5
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 6.5
    for i, (first, box) in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0, first
        assert box.x1 <= figure.bbox.x1, first
        for second, other in boxes[i + 1 :]:
            assert not box.overlaps(other), (first, second)


def shown_texts(axes) -> list[Text]:
    """Return a panel's title, labels and the labels of the ticks within its limits."""
    texts = [axes.title, axes.xaxis.label, axes.yaxis.label]
    for axis, view in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = [t for t in axis.get_major_ticks() if min(view) <= t.get_loc() <= max(view)]
        texts += [tick.label1 for tick in ticks]
    return [text for text in texts if text.get_visible() and text.get_text()]


def test_a_cell_without_any_completed_run_says_why():
    records = [
        replace(r, status="failed", final={}, error="boom")
        if r.algorithm == "cql" and r.dataset["severity"] == 0.9
        else r
        for r in sweep(**SMALL)
    ]
    frame = build_frame("x", records)
    assert [e.text for e in compact_rows(frame)[-1].entries][1] == "failed"
    with style.styled():
        assert draw(frame, PLOTS[0]) is not None


def test_a_single_run_is_drawn_without_a_band():
    frame = build_frame("x", sweep(**{**SMALL, "seeds": [0]}))
    with style.styled():
        (axes,) = draw(frame, PLOTS[0]).axes
    assert all(len(band.get_paths()) == 0 for band in axes.collections)
    frame = build_frame("x", sweep(**SMALL), chosen="cql")
    with style.styled():
        (axes,) = draw(frame, PLOTS[0]).axes
    # Two learners, each with a bar at both severities; the chosen one has a band.
    assert sorted(len(drawn.get_paths()) for drawn in axes.collections) == [1, 2, 2]


def test_bars_are_the_intervals_of_the_cells():
    frame = build_frame("x", sweep(**SMALL), chosen="none of them")
    with style.styled():
        (axes,) = draw(frame, PLOTS[0]).axes
    shown = [tuple(bar.ravel()) for bars in axes.collections for bar in bars.get_segments()]
    found = {c: cell.estimates["normalized_regret"] for c, cell in frame.cells.items()}
    assert sorted(shown) == sorted(
        (place.severity, estimate.low, place.severity, estimate.high)
        for (place, _), estimate in found.items()
    )


def test_every_marker_stands_at_its_severity_and_later_ones_are_smaller(frame):
    with style.styled():
        figure = draw(frame, PLOTS[0])
    curves = [line for line in figure.axes[0].lines if line.get_marker() != "None"]
    curves = [line for line in curves if line.get_linestyle() != "None"]
    assert len(curves) == len(LEARNERS)
    for line in curves:
        assert set(line.get_xdata()) <= {0.0, 0.25, 0.5, 0.75, 0.9}
    sizes = [line.get_markersize() for line in curves]
    assert sizes == sorted(set(sizes), reverse=True)


def test_a_degradation_that_a_world_lacks_has_no_panel_and_labels_are_where_panels_are():
    records = sweep(degradations=("region", "thin"), environments=("cliff", "lock"))
    records = [r for r in records if (r.environment, r.dataset["degradation"]) != ("lock", "thin")]
    with style.styled():
        figure = draw(build_frame("x", records), PLOTS[0])
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.axison for axes in figure.axes] == [True, True, True, False]
    assert shown[1].get_xlabel() == "severity"
    assert shown[1].xaxis.get_tick_params()["labelbottom"]
    names = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert names == ["Cliff", "Lock"]


@pytest.mark.parametrize("width", style.WIDTHS)
def test_a_figure_is_as_wide_as_was_asked(frame, width):
    with style.styled(width):
        figure = draw(frame, PLOTS[0])
    assert figure.get_figwidth() == style.WIDTHS[width]


def test_a_curve_over_coverage_that_does_not_vary_is_left_out():
    same = [replace(r, coverage={"support_fraction": 1.0}) for r in sweep(**SMALL)]
    frame = build_frame("x", same)
    assert pages(frame, PLOTS[2]) == []
    assert len(pages(frame, PLOTS[0])) == 1
