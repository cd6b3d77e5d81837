"""Where the regret comes from: bars that add up to it, and what is said of a learner in words."""

from dataclasses import replace

import numpy as np
import pytest

from bench.measures import splits as measured
from plots.data import splits as told
from plots.data.frame import build_frame
from plots.data.records import UnusableRecords, rounded
from plots.look import style
from plots.report import write_report
from plots.sections.curves import regret_split
from tests.support.plotting import BC, CQL, FQI, make_record, table

PARTS = {
    "off_support_error": 0.9, "on_support_uncertainty": 0.05, "on_support_bias": -0.02,
    "misspecification": 0.0, "optimization": -0.3,
}  # fmt: skip


def with_split(record, missed=1.1, known=True, **parts):
    """Return a record whose regret, in units of optimum minus uniform, is made of parts."""
    terms = {**PARTS, **parts}
    unit = record.values["optimum"] - record.values["uniform"]
    regret = sum(x for x in terms.values() if x is not None)
    off = terms["off_support_error"]
    sides = {
        "comparator": {"off_support_error": missed},
        "learned": {"off_support_error": missed - off},
    }
    value = record.values["optimum"] - regret * unit
    sides = {name: {**side, "estimate": value / unit + 0.25} for name, side in sides.items()}
    scaled = {k: {a: b * unit for a, b in side.items()} for k, side in sides.items()}
    split = {
        "comparator": "optimal policy",
        "terms": {k: None if v is None else v * unit for k, v in terms.items()},
        "by_policy": scaled,
        "reasons": {},
    }
    final = {**record.final, "normalized_regret": regret, "regret": regret * unit, "value": value}
    return replace(record, final=final, regret_split=split if known else {})


def sweep(learners=(CQL, FQI), severities=(0.0, 0.5, 0.9), seeds=2, **changes):
    """Return records of two worlds."""
    return [
        with_split(make_record(world, "thin", severity, learner, seed), **changes)
        for world in ("garnet", "lock")
        for severity in severities
        for learner in learners
        for seed in range(seeds)
    ]


def frame_of(records):
    return build_frame("splits", list(map(rounded, records)))


def test_the_parts_are_those_of_records():
    assert sorted(told.TERMS) == sorted(measured.TERMS)


def test_bars_add_up_to_the_regret(tmp_path):
    frame = frame_of(sweep())
    section = regret_split.section(frame)
    with style.styled():
        figure = section.illustrations[0].draw()
    for axes in figure.axes:
        dots = [line for line in axes.lines if line.get_marker() == "D"]
        assert len(dots) == 3
        for dot in dots:
            place, regret = dot.get_xdata()[0], dot.get_ydata()[0]
            bars = [b for b in axes.patches if b.get_x() < place < b.get_x() + b.get_width()]
            assert len(bars) == 4
            assert sum(bar.get_height() for bar in bars) == pytest.approx(regret)
            # Those above 0 stand on each other from 0 on, those below hang likewise.
            ends = sorted((b.get_y(), b.get_y() + b.get_height()) for b in bars)
            assert max(e for pair in ends for e in pair) == pytest.approx(0.95)
            assert min(e for pair in ends for e in pair) == pytest.approx(-0.32)
    write_report(frame, [section], tmp_path)
    assert (tmp_path / "regret_split.png").stat().st_size > 1000


def test_the_csv_has_every_cell_and_the_mean_over_worlds(tmp_path):
    records = [
        with_split(make_record(world, "thin", 0.5, CQL, seed), off_support_error=part)
        for world, parts in (("garnet", (0.2, 0.4)), ("lock", (0.9, 0.9)))
        for seed, part in enumerate(parts)
    ]
    frame = frame_of(records)
    (file,) = regret_split.section(frame).files
    (tmp_path / file.name).write_text(file.text)
    lines = {line["environment"]: line for line in table(tmp_path / file.name)}
    assert float(lines["garnet"]["off_support_error"]) == pytest.approx(0.3)
    assert float(lines["all"]["off_support_error"]) == pytest.approx(0.6)
    assert float(lines["all"]["regret"]) == pytest.approx(0.6 - 0.27)
    assert (lines["garnet"]["num"], lines["all"]["num"]) == ("2", "2")
    assert float(lines["all"]["missed"]) == pytest.approx(1.1)
    assert float(lines["all"]["chased"]) == pytest.approx(-0.5)
    assert float(lines["all"]["promised"]) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "under thin most of its regret of 0.63 is off-support error, 0.90 (the critic "
             "undervalues unseen pairs of the optimal policy), less 0.30 of optimization error."),
        ({"missed": 0.1}, "0.90 (the critic overvalues unseen pairs that the learner takes)"),
        ({"off_support_error": 0.0, "optimization": 0.04, "on_support_bias": 0.045},
         "the largest part of its regret of 0.14 is on-support uncertainty, 0.05, then 0.04 of "
         "on-support bias and 0.04 of optimization error."),
        ({"off_support_error": 0.0, "optimization": -0.03}, "next to no regret (0.00)"),
    ],
)  # fmt: skip
def test_a_learners_finding_in_words(changes, said):
    # At severity 0 something else, which the finding is not of.
    records = sweep((CQL,), (0.5, 0.9), **changes) + sweep((CQL,), (0.0,), optimization=7.0)
    text = regret_split.section(frame_of(records)).text
    assert "**CQL" in text
    assert said in text


def test_intact_data_alone_is_said_to_be_that():
    text = regret_split.section(frame_of(sweep((CQL,), (0.0,)))).text
    assert "on intact data most of its regret" in text


def test_who_has_no_split_is_named_with_the_reason():
    records = sweep((CQL,))
    none = {"terms": None, "reasons": {"terms": "There is no critic."}}
    records += [replace(record, regret_split=none) for record in sweep((BC,))]
    records += sweep((FQI,), known=False)
    for record in records:
        record.values["best_supported"] = 1.0
    section = regret_split.section(frame_of(records))
    assert "BC, 12 runs without a split: There is no critic." in section.text
    assert f"12 runs without a split: {told.MADE_BEFORE}" in section.text
    with style.styled():
        assert len(section.illustrations[0].draw().axes) == 1


def test_records_without_any_have_no_section():
    assert regret_split.section(frame_of(sweep(known=False))) is None


def test_a_part_that_is_not_known_is_left_empty(tmp_path):
    section = regret_split.section(frame_of(sweep((CQL,), misspecification=None)))
    (file,) = section.files
    (tmp_path / file.name).write_text(file.text)
    assert {line["misspecification"] for line in table(tmp_path / file.name)} == {""}
    assert "not known of critics with hidden layers" in section.illustrations[0].caption


def test_many_settings_of_a_learner_are_in_the_csv_alone():
    learners = [("cql", {"conservatism": float(c)}) for c in np.arange(17)]
    section = regret_split.section(frame_of(sweep(learners, (0.5,), seeds=1)))
    assert section.illustrations == ()
    assert len(section.files[0].text.splitlines()) == 1 + 3 * 17


@pytest.mark.parametrize(
    "damaged",
    [
        {"terms": [1]},
        {"terms": {"optimization": 1.0}, "by_policy": {"comparator": {}, "learned": {}}},
        {"terms": PARTS, "by_policy": None},
        {"terms": {**PARTS, "optimization": "much"}, "by_policy": {}},
    ],
)
def test_a_split_that_is_damaged_is_refused_in_a_sentence(damaged):
    records = [*sweep()[1:], replace(sweep()[0], regret_split=damaged)]
    with pytest.raises(UnusableRecords, match="its `regret_split` is not what"):
        told.splits(build_frame("rooms", records))
