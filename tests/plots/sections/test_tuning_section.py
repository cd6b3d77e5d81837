"""What tuning is worth, from the records of a grid of settings."""

from dataclasses import replace

import numpy as np
import pytest

from plots.data.frame import build_frame
from plots.look import style
from plots.sections.comparisons.tuning import draw, section, tuned
from tests.support.plotting import BC, CQL, make_record, with_final

REGRETS = (0.5, 0.1, 0.3)


def grid():
    """Return three settings of one learner with regret and own value, and one of another."""
    made = [make_record("lock", "thin", 0.5, BC, seed) for seed in range(2)]
    for place, regret in enumerate(REGRETS):
        for seed in range(2):
            record = make_record("lock", "thin", 0.5, (CQL[0], {"conservatism": place}), seed)
            record = with_final(record, normalized_regret=regret)
            made.append(replace(record, metrics={"value": [[1, 0.0], [2, regret]]}))
    return made


def test_the_curve_ends_at_the_best_and_the_learners_own_value_picks_the_worst():
    (found,) = tuned(build_frame("tuning", grid()))
    assert (found.algorithm, found.num_tasks) == ("cql", 1)
    assert found.curve.regret[0] == pytest.approx(np.mean(REGRETS), abs=0.02)
    assert found.curve.regret[-1] == pytest.approx(min(REGRETS))
    # The highest value is claimed by the setting with the highest regret here.
    assert found.offline == {"value": pytest.approx(max(REGRETS))}


def test_curves_are_drawn_and_a_learner_without_choices_has_none():
    frame = build_frame("tuning", grid())
    with style.styled():
        figure = draw(tuned(frame))
    assert [len(axes.lines) for axes in figure.axes] == [1]
    assert section(build_frame("x", grid()[:2])) is None
