"""What the words of a command make of an experiment's grid."""

from bench.settings.grid import narrowed

DATA = {"dataset": ["lock", "cliff"], "coverage.severity": [0, 0.5], "seed": [0, 1]}
GRID = [
    {**DATA, "algorithm": ["bc", "cql"]},
    {
        **DATA,
        "algorithm": ["fqi"],
        "algorithm.initial_value": ["zero", "v_max"],
        "coverage": ["region"],
        "coverage.shape": ["ball"],
    },
]


def points(grid):
    """Return all combinations of a grid's values as a set."""
    found = set()
    for sub in grid:
        combined = [{}]
        for key, values in sub.items():
            combined = [{**point, key: str(value)} for point in combined for value in values]
        found |= {tuple(sorted(point.items())) for point in combined}
    return found


def test_a_value_that_the_grid_has_selects():
    grid = narrowed(GRID, {"dataset": ["lock"], "algorithm": ["fqi"]})
    assert [sub["dataset"] for sub in grid] == [["lock"]]
    assert grid[0]["algorithm.initial_value"] == ["zero", "v_max"]


def test_a_value_that_it_has_not_is_added_and_none_is_dropped():
    grid = narrowed(GRID, {"coverage.severity": [0.5, 0.6], "seed": [0, 7]})
    both = points(grid)
    for severity in ("0.5", "0.6"):
        for seed in ("0", "7"):
            wanted = {("coverage.severity", severity), ("seed", seed)}
            assert any(wanted <= set(point) for point in both)
    assert not any(("seed", "1") in point or ("coverage.severity", "0") in point for point in both)


def test_a_new_algorithm_gets_the_data_and_no_other_s_settings():
    grid = narrowed(GRID, {"algorithm": ["mine", "cql"]})
    assert {value for sub in grid for value in sub["algorithm"]} == {"mine", "cql"}
    for sub in grid:
        assert "algorithm.initial_value" not in sub
    mine = points([sub for sub in grid if sub["algorithm"] == ["mine"]])
    assert {dict(point)["dataset"] for point in mine} == {"lock", "cliff"}


def test_a_new_degradation_keeps_the_severities():
    (_, sub) = narrowed(GRID, {"coverage": ["truncate"]})
    assert sub["coverage.severity"] == [0, 0.5]
    assert "coverage.shape" not in sub


def test_a_setting_that_the_grid_does_not_know_holds_everywhere():
    grid = narrowed(GRID, {"num_updates": [200]})
    assert all(sub["num_updates"] == [200] for sub in grid)
    assert len(grid) == len(GRID)


def test_without_a_grid_the_words_are_the_grid():
    assert narrowed([{}], {"seed": [0, 1]}) == [{"seed": [0, 1]}]
