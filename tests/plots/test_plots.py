"""Tests of the figures and tables on synthetic records that look like a real sweep's."""

import csv
import json
import os
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from bench.store.records import RunRecord, RunStore
from plots import style
from plots.__main__ import main, write
from plots.frame import Learner, build_frame
from plots.labels import degradation_labels, learner_labels
from plots.records import Condition
from plots.sections.panel import HIGHEST, limits
from plots.sections.regret import PLOTS, ROWS_PER_PAGE, draw, pages, rows
from plots.sections.tables import compact_rows, escape_latex

ROOT = Path(__file__).resolve().parents[2]
LEARNERS = (
    ("bc", {}),
    ("bcq", {"threshold": 0.3}),
    ("cql", {"conservatism": 1.0}),
    ("fqi", {"initial_value": "v_max"}),
    ("fqi", {"initial_value": "zero"}),
    ("fqi_exact", {}),
    ("stackelberg", {"conservatism": 0.5}),
)
ENVIRONMENTS = {
    "garnet": {"optimum": 8.0, "uniform": 4.5, "floor": 0.0, "discount": 0.95},
    "lock": {"optimum": 0.7, "uniform": -0.95, "floor": -1.0, "discount": 0.95},
    "cliff": {"optimum": 0.8, "uniform": -0.6, "floor": -1.0, "discount": 0.95},
    "cartpole": {"optimum": 500.0, "uniform": 22.0, "floor": None, "discount": 0.99},
}
DEGRADATIONS = {"region": 1.0, "actions": 0.8, "thin": 0.35}
SEVERITIES = (0.0, 0.25, 0.5, 0.75, 0.9)
HARM = {"bc": 0.5, "bcq": 0.55, "cql": 0.6, "fqi": 1.1, "fqi_exact": 0.8, "stackelberg": 0.45}


def make_record(
    environment: str,
    degradation: str,
    severity: float,
    learner: tuple[str, dict],
    seed: int,
    **changes: object,
) -> RunRecord:
    """Return a completed record whose regret grows with severity, the same one for a seed."""
    name, settings = learner
    anchors = ENVIRONMENTS[environment]
    degradation = "none" if severity == 0 else degradation
    variant = "-".join(map(str, settings.values()))
    run_id = f"{environment}-{degradation}-{severity}-{name}-{variant}-{seed}"
    rng = np.random.default_rng(zlib.crc32(run_id.encode()))
    loss = DEGRADATIONS.get(degradation, 0.0) * severity
    scale = anchors["optimum"] - anchors["uniform"]
    exploding = 6.0 if settings.get("initial_value") == "v_max" and environment == "cliff" else 1.0
    regret = scale * np.clip(
        (0.03 + HARM[name] * loss**1.5) * exploding + 0.08 * rng.standard_normal() * (0.3 + loss),
        0,
        1.1 * exploding,
    )
    covered = None
    if anchors["floor"] is not None:
        covered = anchors["optimum"] - 1.2 * loss**2 * (anchors["optimum"] - anchors["floor"])
        covered = max(covered, anchors["floor"])
    achieved = anchors["optimum"] - regret
    support = float(np.clip(0.98 - 0.9 * loss + 0.02 * rng.standard_normal(), 0, 1))
    tabular = covered is not None
    record = {
        "run_id": run_id,
        "experiment": "coverage_ablation",
        "status": "completed",
        "algorithm": name,
        "environment": environment,
        "seed": seed,
        "config": {
            "algorithm": {
                "name": name,
                "target": f"algorithms.{name}.Learner",
                "discount": anchors["discount"],
                **settings,
            },
            "dataset": {"name": environment, "seed": seed, "num_transitions": 2000},
            "coverage": {"name": degradation, "severity": severity},
            "seed": seed,
            "num_updates": 2000,
        },
        "dataset": {"degradation": degradation, "severity": severity, "num_transitions": 2000},
        "coverage": {
            "support_fraction": support if tabular else None,
            "nearest_neighbor_support": None if tabular else support,
        },
        "values": {
            "optimum": anchors["optimum"],
            "uniform": anchors["uniform"],
            "behavior": anchors["uniform"] + 0.3 * scale,
            "best_covered": covered,
        },
        "evaluations": [
            {
                "update": 2000,
                "returns": [achieved] * 20,
                "exact_value": achieved if tabular else None,
            }
        ],
        "final": {
            "return_mean": achieved,
            "regret": regret,
            "normalized_regret": regret / scale,
            "regret_to_covered": covered - achieved if tabular else None,
            "improvement": achieved - anchors["uniform"] - 0.3 * scale,
        },
    }
    return RunRecord(**{**record, **changes})


def sweep(
    environments=tuple(ENVIRONMENTS),
    degradations=tuple(DEGRADATIONS),
    severities=SEVERITIES,
    learners=LEARNERS,
    seeds=range(5),
) -> list[RunRecord]:
    """Return the records of a full grid, severity 0 once."""
    return [
        make_record(environment, degradation, severity, learner, seed)
        for environment in environments
        for degradation in degradations
        for severity in severities
        for learner in learners
        for seed in seeds
        if (severity > 0 or degradation == degradations[0])
        and not (learner[0] == "fqi_exact" and environment == "cartpole")
    ]


BC, CQL, FQI = LEARNERS[0], LEARNERS[2], LEARNERS[4]
SMALL = {
    "environments": ("lock",),
    "degradations": ("thin",),
    "severities": (0.0, 0.9),
    "learners": (BC, CQL),
}
STEMS = (
    "normalized_regret_by_severity",
    "regret_to_covered_by_severity",
    "normalized_regret_by_coverage",
    "regret_to_covered_by_coverage",
)


def store(records: list[RunRecord], root: Path) -> Path:
    """Write the records into a store under `root` and return the store's root."""
    for record in records:
        RunStore(root / "runs").write(record)
    return root / "runs"


def plot(root: Path, experiment: str = "coverage_ablation") -> int:
    """Run the command on the store under `root`."""
    options = ["--store", str(root / "runs"), "--output", str(root / "figures")]
    return main([experiment, *options])


def cells(folder: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """Return the lines of the long table by their place."""
    with (folder / "cells.csv").open() as file:
        lines = list(csv.DictReader(file))
    place = ("environment", "degradation", "severity", "learner")
    return {tuple(line[name] for name in place): line for line in lines}


def with_final(record: RunRecord, **numbers: float | None) -> RunRecord:
    return replace(record, final={**record.final, **numbers})


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The output folder of a full sweep, its records and what was printed."""
    root = tmp_path_factory.mktemp("full")
    records = sweep()
    store(records, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        run = subprocess.run(
            [sys.executable, "-m", "plots", "coverage_ablation", "--store", "runs"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"},
            capture_output=True,
            text=True,
        )
    assert run.returncode == 0, run.stderr
    return root / "results" / "figures" / "coverage_ablation", records, run.stdout


@pytest.fixture(scope="module")
def frame(full):
    """The cells of the full sweep."""
    return build_frame("coverage_ablation", full[1])


@pytest.fixture
def one_figure(monkeypatch):
    """Draw one figure in one format, for tests of what is written beside it."""
    monkeypatch.setattr("plots.__main__.PLOTS", PLOTS[:1])
    monkeypatch.setattr(style, "SUFFIXES", ("svg",))


def test_a_full_sweep_leaves_figures_tables_and_a_report(full):
    folder, _, printed = full
    figures = {f"{stem}.{suffix}" for stem in STEMS for suffix in ("png", "svg", "pdf")}
    tables = {"cells.csv", "table.md", "table.tex", "report.md", "ranking.csv", "contrasts.csv"}
    assert {path.name for path in folder.iterdir()} == figures | tables
    assert all(path.stat().st_size > 100 for path in folder.iterdir())
    report = (folder / "report.md").read_text()
    for stem in STEMS:
        assert f"({stem}.png)" in report
    assert (folder / "table.md").read_text() in report + "\n"
    for words in ("5 runs (seeds) per cell", "95 % percentile-bootstrap", "after the last update"):
        assert words in report
        assert words.replace("%", r"\%") in (folder / "table.tex").read_text()
        assert words in " ".join(printed.split())
    # CartPole has no best covered policy, and one learner does not run there: both are said.
    assert "Left out, since the quantity is not known there: cartpole." in report
    assert r"Not part of the experiment: fqi\_exact on cartpole." in report
    # TrueType outlines (type 42) are embedded, no bitmap-like type 3.
    pdf = (folder / f"{STEMS[0]}.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_a_cell_is_the_interquartile_mean_of_its_runs(full):
    folder, records, _ = full
    scores = sorted(
        r.final["normalized_regret"]
        for r in records
        if (r.environment, r.dataset["degradation"], r.dataset["severity"], r.algorithm)
        == ("garnet", "region", 0.5, "cql")
    )
    by_hand = (scores[1] + scores[2] + scores[3]) / 3
    line = cells(folder)["garnet", "region", "0.5", "cql"]
    assert float(line["normalized_regret"]) == pytest.approx(by_hand, rel=1e-5)
    assert scores[0] <= float(line["normalized_regret_low"]) < by_hand
    assert by_hand < float(line["normalized_regret_high"]) <= scores[-1]
    assert line["num_runs"] == "5"
    row = next(
        line
        for line in (folder / "table.md").read_text().splitlines()
        if line.startswith("| garnet | region | 0.5 |")
    )
    assert row.split("|")[6].strip(" *") == f"{by_hand:.2f}"


def test_the_long_table_has_every_cell_once(full):
    folder, records, _ = full
    lines = cells(folder)
    # Three environments with seven learners, one with six; severity 0 is one condition.
    assert len(lines) == (3 * 7 + 6) * (3 * 4 + 1)
    assert {line["coverage_measure"] for line in lines.values()} == {
        "support_fraction",
        "nearest_neighbor_support",
    }
    covered = [
        r.coverage["support_fraction"]
        for r in records
        if (r.environment, r.dataset["degradation"], r.dataset["severity"]) == ("lock", "thin", 0.9)
    ]
    line = lines["lock", "thin", "0.9", "bc"]
    assert float(line["coverage"]) == pytest.approx(np.mean(covered), rel=1e-5)
    assert lines["cartpole", "thin", "0.9", "bc"]["regret_to_covered"] == ""
    assert lines["cartpole", "thin", "0.9", "bc"]["informative"] == ""


def test_every_degradation_starts_from_the_shared_severity_0(frame):
    shared = Condition("lock", "none", 0.0)
    for degradation in DEGRADATIONS:
        curve = frame.curve("lock", degradation)
        assert curve[0] == shared
        assert [c.severity for c in curve] == list(SEVERITIES)
        assert {c.degradation for c in curve[1:]} == {degradation}
    assert frame.degradations == ("actions", "region", "thin")


def test_the_order_of_the_records_does_not_matter():
    records = sweep(**SMALL)
    assert build_frame("x", records[::-1]) == build_frame("x", records)


def test_settings_that_vary_within_an_environment_split_a_learner():
    records = sweep(learners=(CQL, *LEARNERS[3:5]), seeds=range(2))
    labels = learner_labels(records)
    # The discount differs between environments only and is in no label.
    assert set(labels.values()) == {"cql", "fqi (initial_value=v_max)", "fqi (initial_value=zero)"}
    # Where only one variant was run it has the same name as elsewhere.
    few = [r for r in records if r.environment != "cartpole" or "v_max" not in r.run_id]
    names = {labels[r.run_id] for r in few if r.environment == "cartpole"}
    assert {learner_labels(few)[r.run_id] for r in few if r.environment == "cartpole"} == names


def test_runs_that_differ_outside_the_algorithm_are_not_pooled():
    base = make_record("lock", "thin", 0.5, CQL, 0)
    longer = replace(base, run_id="longer", config={**base.config, "num_updates": 9000})
    other_seed = make_record("lock", "thin", 0.5, CQL, 1)
    labels = learner_labels([base, longer, other_seed])
    assert set(labels.values()) == {"cql (num_updates=2000)", "cql (num_updates=9000)"}
    slab, ball = (
        replace(
            base,
            run_id=shape,
            config={**base.config, "coverage": {"name": "thin", "severity": 0.5, "shape": shape}},
        )
        for shape in ("slab", "ball")
    )
    assert set(degradation_labels([slab, ball]).values()) == {
        "thin (shape=slab)",
        "thin (shape=ball)",
    }


def test_a_degradation_made_of_others_is_labelled_by_their_names():
    def of(name, **settings):
        coverage = {"name": name, "severity": 0.5, **settings}
        config = {**one.config, "coverage": coverage}
        facts = {**one.dataset, "degradation": name}
        return replace(one, run_id=str(coverage), config=config, dataset=facts)

    one = make_record("lock", "thin", 0.5, LEARNERS[0], 0)
    region, actions = ({"name": name, "severity": 1.0} for name in ("region", "actions"))
    records = [
        of("size_matched", of={**region, "shape": "slab"}),
        of("size_matched", of={**region, "shape": "ball"}),
        of("size_matched", of=actions),
        of("composite", steps=[region, actions]),
        of("rewards", kind="zero"),
        of("rewards", kind="random"),
    ]
    assert set(degradation_labels(records).values()) == {
        "size_matched: region (of.shape=slab)",
        "size_matched: region (of.shape=ball)",
        "size_matched: actions",
        "composite: region + actions",
        "rewards (kind=zero)",
        "rewards (kind=random)",
    }


def test_whole_numbers_are_one_setting_whatever_their_type():
    one, same = (make_record("lock", "thin", 0.5, ("cql", {"c": c}), 0) for c in (1, 1.0))
    assert set(learner_labels([one, replace(same, run_id="same")]).values()) == {"cql"}


def uninformative_records() -> list[RunRecord]:
    """Return two severities, in the higher of which the best covered policy is nearly uniform."""
    records = []
    for record in sweep(**SMALL):
        share = 0.5 if record.dataset["severity"] == 0 else 0.09
        values = {"optimum": 3.0, "uniform": 1.0, "behavior": 1.0, "best_covered": 1 + 2 * share}
        records.append(replace(record, values=values))
    return records


@pytest.mark.usefixtures("one_figure")
def test_conditions_that_cannot_tell_methods_apart_are_marked(tmp_path, capsys):
    records = uninformative_records()
    store(records, tmp_path)
    assert plot(tmp_path) == 0
    folder = tmp_path / "figures" / "coverage_ablation"
    lines = cells(folder)
    assert lines["lock", "none", "0", "bc"]["informative"] == "true"
    assert lines["lock", "thin", "0.9", "bc"]["informative"] == "false"
    marked = [x for x in (folder / "table.md").read_text().splitlines() if "†" in x]
    assert len(marked) == 1
    assert marked[0].startswith("| lock | thin | 0.9 † |")
    assert "**" not in marked[0]
    assert r"\dagger" in (folder / "table.tex").read_text()
    assert "0.9†" in capsys.readouterr().out
    assert "Hatched: the best covered policy" in (folder / "report.md").read_text()


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


def test_the_lowest_of_a_row_is_best_and_so_is_what_prints_the_same():
    regrets = {"bc": 0.101, "cql": 0.104, "fqi": 0.2}
    records = [
        with_final(r, normalized_regret=regrets[r.algorithm])
        for r in sweep(**{**SMALL, "learners": (BC, CQL, FQI)})
    ]
    for row in compact_rows(build_frame("x", records)):
        assert [(e.text, e.best) for e in row.entries] == [
            ("0.10", True),
            ("0.10", True),
            ("0.20", False),
        ]


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


def test_many_environments_are_drawn_on_several_legible_pages(tmp_path, monkeypatch, one_figure):
    def named(number):
        return replace(
            make_record("lock", "thin", 0.5, LEARNERS[0], 0), environment=f"world{number}"
        )

    records = [replace(named(n), run_id=f"run{n}") for n in range(ROWS_PER_PAGE + 3)]
    folder = write(build_frame("many", records), tmp_path)
    figures = ["normalized_regret_by_severity.svg", "normalized_regret_by_severity_2.svg"]
    assert sorted(path.name for path in folder.glob("*.svg")) == figures
    report = (folder / "report.md").read_text()
    assert "(normalized_regret_by_severity_2.png)" in report
    plot = PLOTS[0]
    frame = build_frame("many", records)
    first, second = pages(frame, plot)
    assert len(rows(frame, first)) == ROWS_PER_PAGE
    assert len(rows(frame, second)) == 3
    assert {*rows(frame, first), *rows(frame, second)} == {r.environment for r in records}
    # With fewer environments the second page is gone.
    write(build_frame("many", records[:3]), tmp_path)
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


def test_redrawing_gives_the_same_bytes(tmp_path):
    records = uninformative_records()
    for place, order in (("one", 1), ("two", -1)):
        store(records[::order], tmp_path / place)
    assert plot(tmp_path / "one") == 0
    options = ["--store", str(tmp_path / "two/runs"), "--output", str(tmp_path / "two/figures")]
    subprocess.run(
        [sys.executable, "-m", "plots", "coverage_ablation", *options],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    folders = [tmp_path / place / "figures" / "coverage_ablation" for place in ("one", "two")]
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]
    for name in names[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


@pytest.mark.usefixtures("one_figure")
def test_failed_empty_and_missing_runs_are_counted(tmp_path):
    records = sweep(**SMALL)
    records[0] = replace(records[0], status="failed", final={}, dataset={}, error="a\nb | c_d")
    records[5] = replace(records[5], status="empty", final={})
    absent = records.pop()
    store(records, tmp_path)
    assert plot(tmp_path) == 0
    folder = tmp_path / "figures" / "coverage_ablation"
    report = (folder / "report.md").read_text()
    assert (
        "Of 19 recorded runs, 17 completed, 1 were left without data by the degradation, 1 failed; "
        "1 more are missing." in report
    )
    assert r"b \| c\_d" in report
    assert "4 to 5 runs (seeds) per cell" in report
    assert absent.algorithm == "cql"
    assert "| lock | thin | 0.9 | cql | 4 | 0 | 0 | 1 |" in report
    assert "| lock | none | 0 | bc | 4 | 0 | 1 | 0 |" in report
    assert "| lock | none | 0 | cql | 4 | 1 | 0 | 0 |" in report
    assert "(4)" in (folder / "table.tex").read_text()


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
    frame = build_frame("x", sweep(**SMALL))
    with style.styled():
        (axes,) = draw(frame, PLOTS[0]).axes
    # Two learners, each with one band and a bar at both severities.
    assert sorted(len(drawn.get_paths()) for drawn in axes.collections) == [1, 1, 2, 2]


def test_a_figure_that_no_longer_applies_is_removed(tmp_path):
    store(sweep(**SMALL), tmp_path)
    assert plot(tmp_path) == 0
    folder = tmp_path / "figures" / "coverage_ablation"
    (folder / "notes.txt").write_text("mine")
    assert (folder / f"{STEMS[1]}.png").exists()
    for path in (tmp_path / "runs" / "coverage_ablation").glob("*.json"):
        path.unlink()
    store(sweep(**{**SMALL, "environments": ("cartpole",)}), tmp_path)
    assert plot(tmp_path) == 0
    assert not (folder / f"{STEMS[1]}.png").exists()
    assert (folder / f"{STEMS[0]}.png").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def refused(root: Path, capsys, experiment: str = "coverage_ablation") -> str:
    """Return the sentence that the command ends with, having written nothing."""
    assert plot(root, experiment) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "Traceback" not in printed.err
    assert not (root / "figures").exists()
    return printed.err


def test_an_empty_store_is_refused(tmp_path, capsys):
    assert "no run record under" in refused(tmp_path, capsys)


@pytest.mark.parametrize("name", ["coverage_ablatoin", "*", "..", "../runs/coverage_ablation", ""])
def test_an_unknown_experiment_is_refused(tmp_path, capsys, name):
    store([make_record("lock", "thin", 0.5, BC, 0)], tmp_path)
    assert "it has coverage_ablation" in refused(tmp_path, capsys, name)


def test_an_experiment_without_a_completed_run_is_refused(tmp_path, capsys):
    failed = {"status": "failed", "final": {}, "error": "Traceback\nValueError: too hot"}
    records = [make_record("lock", "thin", 0.5, BC, seed, **failed) for seed in range(3)]
    records.append(make_record("lock", "thin", 0.9, BC, 0, status="empty", final={}))
    store(records, tmp_path)
    sentence = refused(tmp_path, capsys)
    assert "None of the 4 runs of 'coverage_ablation' completed: 3 failed and 1 were" in sentence
    assert "ValueError: too hot" in sentence


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"run_id": "x"}', "\x00", "null"])
def test_a_file_that_is_no_record_is_named(tmp_path, capsys, text):
    folder = store(sweep(**SMALL), tmp_path) / "coverage_ablation"
    (folder / "broken.json").write_text(text)
    assert "coverage_ablation/broken.json is not a run record" in refused(tmp_path, capsys)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"status": "running"}, "status is 'running'"),
        ({"final": {}}, "without a `final.normalized_regret`"),
        ({"final": None}, "`final` is not a mapping"),
        ({"final": {"normalized_regret": "low"}}, "other than finite numbers"),
        ({"final": {"normalized_regret": float("nan")}}, "other than finite numbers"),
        ({"dataset": {}, "config": {}}, "does not say which degradation"),
        ({"config": {"algorithm": 3, "coverage": {}}}, "`config.algorithm` is not a mapping"),
        ({"environment": 3}, "`environment` is not a name"),
    ],
)
def test_a_record_that_lacks_what_is_drawn_is_named(tmp_path, capsys, changes, fault):
    folder = store(sweep(**SMALL), tmp_path) / "coverage_ablation"
    path = next(folder.iterdir())
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    sentence = refused(tmp_path, capsys)
    assert fault in sentence


def test_an_output_that_cannot_be_written_is_refused(tmp_path, capsys):
    store(sweep(**SMALL), tmp_path)
    (tmp_path / "figures").write_text("a file")
    assert plot(tmp_path) == 2
    assert str(tmp_path / "figures") in capsys.readouterr().err


def test_without_an_experiment_the_usage_is_shown(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2
    assert "usage: python -m plots" in capsys.readouterr().err


def test_every_configured_algorithm_has_its_own_look(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "_CONF", tmp_path)
    names = [f"algorithm_{i:02}" for i in range(30)]
    for name in names:
        (tmp_path / f"{name}.yaml").touch()
    looks = [style.look(Learner(name, name, 0)) for name in names]
    assert len({(look.color, look.marker) for look in looks}) == len(names)
    stranger = style.look(Learner("mine", "mine", 0))
    assert stranger == style.look(Learner("mine", "mine", 0))
    variants = [style.look(Learner(str(i), names[0], i)) for i in range(8)]
    assert len({look.color for look in variants}) == 1
    assert len({(str(look.dashes), look.hollow) for look in variants}) == len(variants)


def test_variants_of_one_algorithm_alone_in_a_figure_get_colours_of_their_own():
    variants = [Learner(str(i), "bc", i) for i in range(8)]
    alone = style.looks(variants)
    assert len({look.color for look in alone.values()}) == len(variants)
    beside = style.looks([*variants, Learner("cql", "cql", 0)])
    assert {look.color for label, look in beside.items() if label != "cql"} == {
        style.look(variants[0]).color
    }


def test_the_repositorys_algorithms_are_found():
    configured = {path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml")}
    assert configured == {path.stem for path in style._CONF.glob("*.yaml")}


def test_latex_is_escaped():
    assert escape_latex("a_b 5 % {x} \\ ~") == r"a\_b 5 \% \{x\} \textbackslash{} \textasciitilde{}"


def test_every_latex_row_has_as_many_columns(full):
    lines = (full[0] / "table.tex").read_text().splitlines()
    rows = [line for line in lines if line.endswith(r"\\") and " & " in line]
    assert len(rows) == 1 + 4 * 13
    assert {line.count(" & ") for line in rows} == {9}
