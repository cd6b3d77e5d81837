"""Colours, markers and dashes tell learners apart, and newcomers change none of them."""

import itertools
from collections import Counter

import pytest
from matplotlib.figure import Figure

from plots.data.frame import Learner
from plots.look import style
from tests.support.plotting import ROOT

CONFIGURED = sorted(path.stem for path in (ROOT / "conf" / "algorithm").glob("*.yaml"))


def one_of_each(names):
    return [Learner(name, name, 0) for name in names]


def clashing():
    """Return two names of algorithms with one colour and marker."""
    seen = {}
    for number in itertools.count():
        name = f"algorithm_{number}"
        (look,) = style.looks([Learner(name, name, 0)]).values()
        if (look.color, look.marker) in seen:
            return seen[look.color, look.marker], name
        seen[look.color, look.marker] = name


def test_a_newcomer_leaves_colour_and_marker_of_all_others():
    # Not the dashes of one that shares both with it, as "aaa" does with atac.
    def pairs(looks):
        return {name: (looks[name].color, looks[name].marker) for name in CONFIGURED}

    before = style.looks(one_of_each(CONFIGURED))
    for newcomer in ("aaa", "mopo", "zzz"):
        after = style.looks(one_of_each(sorted([*CONFIGURED, newcomer])))
        assert pairs(after) == pairs(before)


def test_algorithms_there_are_and_are_likely_to_come_differ():
    names = [*CONFIGURED, "crr", "mopo", "rebrac"]
    looks = list(style.looks(one_of_each(sorted(set(names)))).values())
    assert len({(look.color, look.marker) for look in looks}) == len(looks)
    for colors_or_markers in zip(*((look.color, look.marker) for look in looks), strict=True):
        assert max(Counter(colors_or_markers).values()) <= 4


def test_places_are_spread_over_all_colours_and_markers():
    looks = style.looks(one_of_each([f"algorithm_{number}" for number in range(2000)])).values()
    for counts in (Counter(x.color for x in looks), Counter(x.marker for x in looks)):
        expected = 2000 / len(counts)
        assert all(abs(count - expected) < 0.2 * expected for count in counts.values())
    assert {x.color for x in looks} == set(style.COLORS)
    assert {x.marker for x in looks} == set(style.MARKERS)


def test_algorithms_with_one_colour_and_marker_are_told_apart_by_dashes():
    first, second = style.looks(one_of_each(clashing())).values()
    assert (first.color, first.marker) == (second.color, second.marker)
    assert first.dashes != second.dashes
    assert first.hollow != second.hollow


@pytest.mark.parametrize("beside", [(), ("cql",)])
def test_variants_of_one_algorithm_differ(beside):
    variants = [Learner(str(i), "bc", i) for i in range(8)]
    looks = style.looks([*variants, *one_of_each(beside)])
    own = [looks[variant.label] for variant in variants]
    assert len({(x.color, x.marker, str(x.dashes), x.hollow) for x in own}) == 8
    # Beside others they share a colour; alone each has its own.
    assert len({look.color for look in own}) == (1 if beside else 8)


def test_the_first_ten_learners_have_a_colour_each():
    numbered = ["bc", "bcq", "cql", "fqi", "fqi_exact", "stackelberg", "crr"]
    looks = style.looks(one_of_each([*numbered, "atac", "iql", "td3_bc"])).values()
    assert len({look.color for look in looks}) == 10


def test_a_saved_figure_is_laid_out_as_a_drawn_one(tmp_path):
    places = []
    for found in (Figure.draw_without_rendering, lambda figure: style.save(figure, tmp_path, "x")):
        figure = Figure(layout="constrained")
        for number, axes in enumerate(figure.subplots(2, 2).ravel()):
            axes.plot([0, 10**number])
            axes.set_ylabel("wide\n" * number)
        figure.legend(handles=axes.lines, labels=["line"], loc="outside upper center")
        found(figure)
        places.append([axes.get_position().bounds for axes in figure.axes])
    assert places[0] == places[1]
    assert len(set(places[0])) == 4
