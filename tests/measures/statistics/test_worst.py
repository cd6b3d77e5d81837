"""The worst case over cells, and regret against each cell's best."""

import numpy as np
import pytest

from bench.measures.statistics.worst import worst_cases


def strata(seed=0, learners=4, seeds=6):
    rng = np.random.default_rng(seed)
    return [rng.gamma(1.0, 0.3, (learners, tasks, seeds)) for tasks in (2, 3)]


def by_hand(scores):
    """Return worst, mean, behind and far behind per learner, cell by cell."""
    cells = [[stratum[i, t].mean() for stratum in scores for t in range(stratum.shape[1])]
             for i in range(len(scores[0]))]  # fmt: skip
    best = [min(column) for column in zip(*cells, strict=True)]
    behind = [[x - y for x, y in zip(own, best, strict=True)] for own in cells]
    return [
        (max(own), np.mean(own), np.mean(b), np.percentile(b, 95))
        for own, b in zip(cells, behind, strict=True)
    ]


def test_worst_cases_are_those_found_cell_by_cell():
    scores = strata()
    found = worst_cases(scores)
    for case, expected in zip(found, by_hand(scores), strict=True):
        points = (case.worst.point, case.mean.point, case.behind.point, case.far_behind.point)
        assert points == pytest.approx(expected, abs=1e-12)
        place, task = case.worst_cell
        learner = found.index(case)
        assert scores[place][learner, task].mean() == pytest.approx(case.worst.point)
        assert case.num_cells == 5
    order = sorted(found, key=lambda case: case.worst.point)
    assert [case.minimax_rank for case in order] == [1, 2, 3, 4]


def test_intervals_are_those_of_resampling_seeds_jointly():
    scores, rng = strata(1), np.random.default_rng(2)
    slow = []
    for _ in range(3000):
        picks = [rng.integers(0, s.shape[-1], s.shape[-1]) for s in scores]
        slow.append(by_hand([s[..., p] for s, p in zip(scores, picks, strict=True)]))
    low, high = np.quantile(slow, [0.025, 0.975], axis=0)
    for case, lows, highs in zip(worst_cases(scores), low, high, strict=True):
        estimates = (case.worst, case.mean, case.behind, case.far_behind)
        assert [e.low for e in estimates] == pytest.approx(lows, abs=0.05)
        assert [e.high for e in estimates] == pytest.approx(highs, abs=0.05)


def test_the_best_everywhere_is_behind_nowhere():
    scores = [np.stack([np.zeros((2, 4)), np.ones((2, 4))])]
    best, other = worst_cases(scores)
    assert best.behind[:3] == (0, 0, 0)
    assert other.behind[:3] == (1, 1, 1)
    assert (best.minimax_rank, other.minimax_rank) == (1, 2)


def test_a_cell_without_a_learner_is_refused():
    scores = strata()
    scores[0][1, 0] = np.nan
    with pytest.raises(ValueError, match="every cell"):
        worst_cases(scores)
    scores[0][1, 0, 0] = 0.5
    assert len(worst_cases(scores)) == 4
