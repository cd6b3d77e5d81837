"""Contrasts hold one algorithm against the others on paired seeds, and the report counts them."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from bench.measures.statistics.intervals import Estimate
from bench.store.record import RunRecord
from plots.data.contrasts import contrasts, verdict
from plots.data.frame import build_frame
from plots.look.links import unlinked
from plots.sections import sections
from plots.sections.comparisons.contrasts import contrasts_csv, verdict_table
from plots.sections.curves import regret
from tests.support import commands
from tests.support.plotting import CQL, LEARNERS, bare, figures, plot, store, sweep

BASELINES = {"bc": 0.4, "cql": 0.2, "fqi": 0.6}
# Optimum minus uniform is 10, of which best covered minus uniform is 8.
VALUES = {"optimum": 11.0, "uniform": 1.0, "best_covered": 9.0}


def record(algorithm, seed, share, severity=0.5, environment="lock", values=None, **settings):
    """Return a completed run that loses a share of optimum - uniform to the best covered policy."""
    values = VALUES if values is None else values
    scale = values["optimum"] - values["uniform"]
    covered = values["best_covered"]
    lost = 0.0 if covered is None else values["optimum"] - covered
    variant = "-".join(map(str, settings.values()))
    return RunRecord(
        run_id=f"{environment}-{algorithm}-{variant}-{severity}-{seed}",
        experiment="claim",
        status="completed",
        algorithm=algorithm,
        environment=environment,
        seed=seed,
        config={
            "seed": seed,
            "algorithm": {"name": algorithm, **settings},
            "dataset": {"name": environment, "seed": seed},
            "coverage": {"name": "region", "severity": severity},
        },
        dataset={"degradation": "region", "severity": severity},
        values=dict(values),
        final={
            "normalized_regret": share + lost / scale,
            "regret": share * scale + lost,
            "regret_to_covered": None if covered is None else share * scale,
        },
    )


def condition(own=0.1, seeds=range(6), own_seeds=None, **changes):
    """Return runs of three baselines and the chosen algorithm; seeds are hard for all alike."""
    noise = {seed: np.random.default_rng(seed).standard_normal() for seed in range(50)}
    runs = [
        record(name, seed, level + noise[seed], **changes)
        for name, level in BASELINES.items()
        for seed in seeds
    ]
    own_seeds = seeds if own_seeds is None else own_seeds
    return runs + [record("stackelberg", s, own + noise[s], **changes) for s in own_seeds]


def found(runs):
    return contrasts(build_frame("claim", runs))


def section(runs):
    """Return the section's text and its file's lines."""
    title = "Against the best of the others"
    (own,) = [s for s in sections(build_frame("claim", runs)) if s.title == title]
    (file,) = own.files
    return bare(own.text), list(csv.DictReader(io.StringIO(file.text)))


def test_a_condition_is_held_against_the_best_and_the_median_of_the_others():
    (row,) = found(condition()).rows
    assert (row.measure, row.best_other) == ("regret_to_covered", "cql")
    assert (row.num_others, row.num_pairs, row.informative) == (3, 6, True)
    assert row.best_mean - row.mean == pytest.approx(0.1)
    # Noise that a seed has for all learners leaves no trace.
    assert row.to_best[:3] == pytest.approx((-0.1,) * 3)
    assert row.to_median[:3] == pytest.approx((-0.3,) * 3)
    assert verdict(row.to_best) == "under"


def test_only_seeds_that_all_completed_count():
    runs = condition(own_seeds=range(3, 9))
    runs += [replace(record("bc", 7, 0.0), status="failed", error="x", final={})]
    (row,) = found(runs).rows
    assert row.num_pairs == 3
    assert row.to_best.point == pytest.approx(-0.1)


def test_fewer_than_two_paired_seeds_are_left_out_and_counted():
    runs = [*condition(), *condition(severity=0.75, own_seeds=[5, 6])]
    result = found(runs)
    assert [row.condition.severity for row in result.rows] == [0.5]
    assert result.num_left_out == 1
    assert "two paired seeds: 1." in section(runs)[0]
    assert "left out" not in section(condition())[0]


def test_without_the_algorithm_or_without_others_there_is_nothing():
    for own in (True, False):
        runs = [r for r in condition() if (r.algorithm == "stackelberg") == own]
        assert found(runs).rows == ()
        assert not [s for s in sections(build_frame("claim", runs)) if "best" in s.title]


def test_where_no_best_covered_policy_is_known_it_is_the_regret():
    unknown = {"optimum": 500.0, "uniform": 20.0, "best_covered": None}
    (row,) = found(condition(values=unknown, environment="cartpole")).rows
    assert (row.measure, row.informative) == ("regret", None)
    assert row.to_best.point == pytest.approx(-0.1)


def test_a_run_without_anchors_is_not_compared():
    runs = condition()
    flat = {"optimum": 1.0, "uniform": 1.0, "best_covered": 1.0}
    unscaled = [replace(r, values=flat) if r.seed == 0 else r for r in runs]
    assert found(unscaled).rows[0].num_pairs == 5
    assert found([replace(r, values={}) for r in runs]).rows == ()


def test_a_repeated_seed_is_one():
    runs = condition()
    again = replace(runs[-1], run_id="again")
    assert found([*runs, again]).rows[0].num_pairs == 6


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((-0.2, -0.3, -0.1), "under"),
        ((0.2, 0.1, 0.3), "over"),
        ((0.2, -0.1, 0.5), "at"),
        ((0.0, 0.0, 0.0), "at"),
        # As good as nothing, however sure.
        ((0.009, 0.008, 0.0095), "at"),
        ((-0.009, -0.0095, -0.008), "at"),
    ],
)
def test_a_verdict_by_its_interval(ends, expected):
    assert verdict(Estimate(*ends, 20)) == expected


def test_the_report_counts_verdicts_and_keeps_what_tells_nothing_apart():
    blind = {"optimum": 11.0, "uniform": 1.0, "best_covered": 1.5}
    runs = [*condition(), *condition(own=0.2, severity=0.25), *condition(own=0.9, severity=0.6)]
    runs += condition(own=0.9, severity=0.75, values=blind)
    result = found(runs)
    lines = verdict_table(result.rows, unlinked).splitlines()[2:]
    # under, at, over, estimate at or under; under, at, over the median
    assert lines == [
        "| stackelberg | lock | region | yes | 1 | 1 | 1 | 2 | 2 | 0 | 1 |",
        "| stackelberg | lock | region | no | 0 | 0 | 1 | 0 | 0 | 0 | 1 |",
    ]
    # Pooled over the three that tell: -0.1, 0 and 0.7.
    (pooled,) = result.pooled
    assert pooled.num_conditions == 3
    assert pooled.to_best[:3] == pytest.approx((0.2,) * 3)
    text, rows = section(runs)
    assert "over 3 conditions" in text
    assert "+0.200 (95 % interval +0.200 to +0.200" in text
    assert [row["to_best_verdict"] for row in rows] == ["at", "under", "over", "over"]
    assert [row["informative"] for row in rows] == ["true", "true", "true", "false"]


def test_pooled_seeds_are_drawn_once_for_all_conditions():
    # A seed's luck has opposite signs in the two conditions: jointly drawn, it cancels.
    signs = {0.25: 1, 0.75: -1}
    runs = []
    for severity, sign in signs.items():
        for seed in range(8):
            luck = sign * np.random.default_rng(seed).standard_normal()
            runs.append(record("cql", seed, 0.0, severity))
            runs.append(record("stackelberg", seed, 0.3 + luck, severity))
    result = found(runs)
    assert result.pooled[0].to_best[:3] == pytest.approx((0.3,) * 3)
    assert all(row.to_best.high - row.to_best.low > 0.5 for row in result.rows)


def gradients(total=0.1, individual=0.3, **settings):
    """Return the baselines and two variants that differ in the leader's gradient."""
    own = [
        record("stackelberg", seed, level, leader_gradient=name, **settings)
        for name, level in (("total", total), ("individual", individual))
        for seed in range(6)
    ]
    return [record(n, seed, s) for n, s in BASELINES.items() for seed in range(6)] + own


def test_total_gradients_are_held_against_individual_ones():
    runs = gradients()
    by_opponent = {(row.against, row.label): row for row in found(runs).rows}
    total, individual = (
        f"stackelberg (leader_gradient={name})" for name in ("total", "individual")
    )
    assert set(by_opponent) == {
        ("others", total),
        ("others", individual),
        ("individual", total),
    }
    # The best of the others is of another algorithm, although a variant is better.
    assert by_opponent["others", individual].best_other == "cql"
    row = by_opponent["individual", total]
    assert (row.best_other, row.to_best.point) == (individual, pytest.approx(-0.2))
    text, rows = section(runs)
    assert "Total gradients against individual ones" in text
    assert "| stackelberg (leader\\_gradient=total) | lock | region | yes | 1 | 0 | 0 | 1 |\n" in (
        text + "\n"
    )
    assert len(rows) == 3


def test_gradients_are_compared_only_where_all_else_is_equal():
    runs = [*gradients(conservatism=1.0), *gradients(conservatism=5.0)[18:]]
    pairs = [row for row in found(runs).rows if row.against == "individual"]
    assert len(pairs) == 2
    for row in pairs:
        assert row.label == row.best_other.replace("individual", "total")
    unlike = [r for r in runs if ("total" in r.run_id) == ("5.0" in r.run_id)]
    assert not [row for row in found(unlike).rows if row.against == "individual"]


def test_the_order_of_the_records_does_not_matter():
    runs = [*gradients(), *condition(severity=0.75)]
    assert contrasts_csv(found(runs[::-1]).rows) == contrasts_csv(found(runs).rows)
    assert found(runs[::-1]) == found(runs)


def test_a_file_of_an_earlier_time_goes_with_the_algorithm(tmp_path, monkeypatch):
    monkeypatch.setattr(regret, "PLOTS", ())
    small = {"environments": ("lock",), "degradations": ("thin",), "severities": (0.5,)}
    store(sweep(learners=(CQL, LEARNERS[-1]), **small), tmp_path)
    assert plot(tmp_path) == 0
    path = figures(tmp_path) / "contrasts.csv"
    assert path.exists()
    assert "<h2>Against the best of the others</h2>" in (path.parent / "report.html").read_text()
    for file in (tmp_path / "runs").rglob("*stackelberg*"):
        file.unlink()
    assert plot(tmp_path) == 0
    assert not path.exists()


def test_the_preset_gives_every_condition_to_every_learner():
    cells = {}
    for run in commands.plan("experiment=claim", "seed=19").runs:
        config = run.config
        assert config.eval_every == config.num_updates
        place = (config.dataset.environment_name, config.coverage.name, config.coverage.severity)
        seeds = cells.setdefault(place, {}).setdefault(config.algorithm_name, [])
        seeds.append(config.seed)
    everywhere = {"atac", "awac", "bc", "bcq", "cql", "fqi", "iql", "pspi", "stackelberg"}
    on_tables = {"fqi_exact", "vi_lcb", "cppo", "spibb"}
    assert {severity for _, _, severity in cells} == {0.25, 0.5, 0.75}
    assert len(cells) == 14 * 2 * 3
    for (dataset, _, _), own in cells.items():
        assert own.keys() == everywhere | (on_tables if "cartpole" not in dataset else set())
        # Of stackelberg with total and with individual gradients.
        assert own.pop("stackelberg") == [19, 19]
        assert all(seeds == [19] for seeds in own.values())
