"""What runs have in common is read, typed and checked once for all of them, and ids are as ever."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest

from bench.settings import composition
from bench.settings import run as runs
from bench.settings.run import run_config, run_id, worse_recipes
from bench.settings.typed import ConfigError
from bench.sweeps import opening, plan
from tests.support import commands

# Two learners on one dataset that is thinned in two steps, with five seeds each.
GRID = ("algorithm=bc,cql", "dataset=lock", "coverage=thin", "coverage.severity=0.1,0.5",
        "seed=range(5)")  # fmt: skip
SEEDS, SEVERITIES, LEARNERS = 5, 2, 2


@pytest.fixture
def count(monkeypatch):
    """Return a function that counts the calls of another, by its name in a module."""
    calls = Counter()

    def counted(module, name):
        called = getattr(module, name)

        def call(*given, **named):
            calls[name] += 1
            return called(*given, **named)

        monkeypatch.setattr(module, name, call)

    counted.calls = calls
    return counted


def test_settings_are_resolved_and_checked_once_for_all_seeds(count):
    count(composition, "resolved_but_seed")
    count(plan, "check_together")
    assert len(commands.plan(*GRID).runs) == SEEDS * SEVERITIES * LEARNERS
    once = SEVERITIES * LEARNERS
    assert count.calls == {"resolved_but_seed": once, "check_together": once}


def test_a_group_is_typed_once_per_content(count):
    count(runs, "typed_object")
    planned = commands.plan(*GRID).runs
    source = 1
    assert count.calls["typed_object"] == LEARNERS + SEVERITIES + source
    assert len({id(run.config.algorithm) for run in planned}) == LEARNERS
    assert len({id(run.config.dataset) for run in planned}) == SEEDS


def test_whole_numbers_and_floats_are_typed_apart():
    (job,) = commands.settings("algorithm=cql", "dataset=lock")
    job["algorithm"]["conservatism"] = 1
    run_config(job)
    job["dataset"]["num_transitions"] = 2000.0
    with pytest.raises(ConfigError, match=r"num_transitions is 2000\.0, but should be"):
        run_config(job)


def test_axes_flatten_a_group_once_per_kind_of_run(count, capsys):
    planned = commands.plan(*GRID)
    count(opening, "_flat")
    opening.print_plan(planned)
    parts = {"algorithm": 1, "dataset": SEEDS, "coverage": SEVERITIES, "training": SEEDS}
    assert count.calls["_flat"] == LEARNERS * sum(parts.values())
    assert "coverage.severity: 0.1, 0.5\n" in capsys.readouterr().out


def test_every_seed_has_its_own_data_unless_that_has_a_seed():
    jobs = commands.settings("dataset=lock", "seed=3,4")
    assert [(job["seed"], job["dataset"]["seed"]) for job in jobs] == [(3, 3), (4, 4)]
    jobs = commands.settings("dataset=lock", "seed=3,4", "dataset.seed=7")
    assert [(job["seed"], job["dataset"]["seed"]) for job in jobs] == [(3, 7), (4, 7)]


def test_what_refers_to_the_seed_follows_it():
    jobs = commands.settings("dataset=lock", "seed=3,4", "dataset.seed=${seed}")
    assert [job["dataset"]["seed"] for job in jobs] == [3, 4]
    jobs = commands.settings("dataset=lock", "seed=30,40", "num_updates='${seed}',7")
    assert [(job["seed"], job["num_updates"]) for job in jobs] == [
        (30, 30),
        (30, 7),
        (40, 40),
        (40, 7),
    ]


def plain_id(settings):
    """Return a run's id in one pass over everything that it is of."""
    config = run_config(settings)
    source = config.dataset.source
    dataset = dict(settings["dataset"])
    if "path" in dataset:
        dataset["path"] = source.environment_name("")
    identity = {"settings": canonical({**settings, "dataset": dataset}), "recipe": source.recipe()}
    if worse := worse_recipes(config):
        identity["worse"] = worse
    if not source.facts().can_evaluate:
        identity["evaluation"] = None
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def canonical(value):
    """Return the value, whole numbers as floats."""
    if isinstance(value, dict):
        return {key: canonical(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(inner) for inner in value]
    return float(value) if type(value) is int and abs(value) < 2**53 else value


@pytest.mark.parametrize(
    "words",
    [
        GRID,
        ("dataset=cartpole", "batch_size=full", "value_estimates=everywhere", "eval_every=7"),
        ("algorithm=stackelberg", "dataset=garnet,lqr", "behavior=medium", f"seed=0,{2**53 + 1}"),
        ("coverage=composite", "coverage.steps=[{name: thin, severity: 0.5}, {name: region}]"),
        ("dataset=file", "dataset.path=mine.npz", "coverage=thin", "seed=1,2"),
    ],
    ids=["grid", "training", "kinds", "steps", "file"],
)  # fmt: skip
def test_an_id_is_the_hash_of_all_settings(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, n = np.random.default_rng(0), 50
    np.savez("mine.npz", observations=rng.normal(size=(n, 2)), actions=rng.integers(2, size=n),
             rewards=rng.normal(size=n), terminals=np.arange(n) % 10 == 9)  # fmt: skip
    jobs = commands.settings(*words)
    assert [run_id(job, run_config(job)) for job in jobs] == [plain_id(job) for job in jobs]
