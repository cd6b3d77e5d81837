"""Sweeps from their words to their records: what is planned, trained, skipped and survived."""

import itertools
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.initialize import initialize_config_dir

from bench import CONF
from bench.__main__ import main
from bench.data import degradations
from bench.settings.run import HARNESS_KEYS, run_config
from bench.store.record import RunRecord
from bench.store.records import RunStore
from bench.sweeps import opening, plan
from bench.sweeps.execution import HarnessConfig
from tests.support import commands
from tests.support.sweeps import TINY


def only_id(*words: str) -> str:
    (run,) = commands.plan(*words).runs
    return run.run_id


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs a command in an empty folder and gives its exit status."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["bench", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return run


def records(experiment: str = "default") -> dict[str, RunRecord]:
    return {r.run_id: r for r in RunStore(Path("results/runs")).read(experiment)}


def test_a_run_leaves_its_record_its_plan_and_the_cached_dataset(command: Any) -> None:
    assert command(*TINY) == 0
    (record,) = records().values()
    assert record.status == "completed"
    assert [e["update"] for e in record.evaluations] == [10, 20, 30]
    assert all(len(e["returns"]) == 3 for e in record.evaluations)
    assert record.final["regret"] == pytest.approx(
        record.values["optimum"] - record.evaluations[-1]["exact_value"]
    )
    assert record.config["dataset"]["num_transitions"] == 200
    left = {path.parent.parent.as_posix() for path in Path().rglob("*") if path.is_file()}
    # Beside them what the command was for, and the file that claims are made on.
    assert left == {"results", "results/datasets", "results/runs", "results/runs/default/.sweep"}


def test_a_record_says_what_its_training_took(command: Any, device: str) -> None:
    assert command("-m", *TINY, "seed=0,1", f"device={device}") == 0
    for record in records().values():
        assert record.timing["cohort_size"] == 2
        assert record.timing["peak_memory_mb"] > 0
        assert (record.timing["peak_gpu_memory_mb"] is not None) == (device == "cuda")


def test_stored_runs_are_skipped_and_the_rest_is_trained(
    command: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command("-m", *TINY, "seed=0,1") == 0
    before = {run_id: path.stat().st_mtime_ns for run_id, path in stored().items()}
    assert command("-m", *TINY, "seed=0,1,2") == 0
    assert "1 runs completed, 0 empty, 0 failed, 2 stored before" in capfd.readouterr().out
    after = stored()
    assert len(after) == 3
    assert {run_id: after[run_id].stat().st_mtime_ns for run_id in before} == before


def stored() -> dict[str, Path]:
    return {path.stem: path for path in Path("results/runs").glob("*/[!.]*.json")}


def test_a_run_of_another_experiment_is_adopted_instead_of_trained(
    command: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    command(*TINY, "experiment_name=first")
    command(*TINY, "experiment_name=second")
    assert "0 runs completed, 0 empty, 0 failed, 1 stored before" in capfd.readouterr().out
    (first,), (second,) = records("first").values(), records("second").values()
    assert second.experiment == "second"
    assert first.final == second.final


def test_a_failed_run_is_recorded_stops_no_other_and_fails_the_command(
    command: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("-m", *TINY, "algorithm.learning_rate=0.01,1e38")
    assert command(*words) == 1
    assert "1 failed: A parameter was not finite at update" in capfd.readouterr().err
    by_status = {record.status: record for record in records().values()}
    assert by_status["failed"].final == {}
    assert by_status["failed"].config["algorithm"]["learning_rate"] == 1e38
    assert by_status["completed"].final["normalized_regret"] is not None
    assert command(*words) == 1
    assert "1 runs failed before and were not tried again" in capfd.readouterr().err
    assert command(*words, "launcher.retry_failed=true") == 1
    assert "1 failed" in capfd.readouterr().err


def test_a_run_beside_a_failing_one_ends_as_if_alone(command: Any) -> None:
    command("-m", *TINY, "algorithm.learning_rate=0.01,1e38", "experiment_name=company")
    command(*TINY, "algorithm.learning_rate=0.01", "results_dir=elsewhere")
    (company,) = [r for r in records("company").values() if r.status == "completed"]
    (alone,) = RunStore(Path("elsewhere/runs")).read("default")
    assert company.run_id == alone.run_id
    assert company.final == pytest.approx(alone.final)


def test_data_that_cannot_be_made_fails_that_run_only(
    command: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    intact = degradations.thin

    def breaks_at_a_half(dataset: Any, severity: float, rng: Any) -> Any:
        if severity == 0.5:
            raise RuntimeError("no such half")
        return intact(dataset, severity, rng)

    monkeypatch.setattr(degradations, "thin", breaks_at_a_half)
    assert command("-m", *TINY, "coverage=thin", "coverage.severity=0.25,0.5") == 1
    statuses = {r.dataset["severity"]: r.status for r in records().values()}
    assert statuses == {0.25: "completed", 0.5: "failed"}
    said = capfd.readouterr().err
    assert "in __call__: RuntimeError: no such half" in said
    assert "1 failed: bench/data/degradations.py:" in said


def test_a_missing_gpu_is_said_at_once_and_leaves_no_failed_record(
    command: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command(*TINY, "device=cuda") == 2
    assert "use cpu or auto" in capfd.readouterr().err
    assert list(Path().iterdir()) == []


def test_a_damaged_record_is_named_in_one_sentence(
    command: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    command(*TINY)
    (path,) = stored().values()
    path.write_text("garbage")
    capfd.readouterr()
    assert command(*TINY) == 2
    message = capfd.readouterr().err.strip()
    assert len(message.splitlines()) == 1
    assert path.name in message


def test_data_that_ends_up_empty_is_empty_and_not_failed(command: Any) -> None:
    words = ("dataset=cartpole", "coverage=region", "coverage.severity=1.0")
    assert command(*TINY[1:], *words) == 0
    (record,) = records().values()
    assert record.status == "empty"
    assert record.dataset["num_transitions"] == 0


def test_a_dry_run_writes_nothing(command: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert command("-m", *TINY, "seed=range(3)", "launcher.dry_run=true") == 0
    assert capfd.readouterr().out.startswith("3 runs planned (algorithm x dataset ")
    assert list(Path().iterdir()) == []


def test_a_dry_run_says_how_much_of_everything_there_is(
    command: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("-m", *TINY, "algorithm=bc,cql", "coverage=thin", "coverage.severity=0,0.5")
    command(*words, "seed=0", "algorithm.learning_rate=0.01,1e38")
    capfd.readouterr()
    grid = ("seed=range(3)", "algorithm.learning_rate=0.01,1e38", "launcher.cohort_size=8")
    assert command(*words, *grid, "launcher.dry_run=true") == 0
    first, *rest = capfd.readouterr().out.splitlines()
    assert first == (
        "24 runs planned (algorithm x dataset x coverage x severity x seed x "
        "algorithm.learning_rate: 2 x 1 x 2 x 2 x 3 x 2), 8 stored, 16 to train in 2 cohorts."
    )
    rows = [line.split() for line in rest]
    at = rows.index(["algorithm", "0", "0.5", "all"])
    assert rows[at + 2 : at + 5] == [["bc", "1/6", "1/6", "2/12"], ["failed", "1", "1", "2"],
                                     ["missing", "4", "4", "8"]]  # fmt: skip
    assert ["all", "2/12", "2/12", "4/24"] in rows
    assert ["lock", "cql", "30", "8"] in rows
    # Failed runs that would be tried again are to be trained, and still said to have failed.
    assert command(*words, *grid, "launcher.dry_run=true", "launcher.retry_failed=true") == 0
    printed = capfd.readouterr().out
    assert ", 4 stored, 20 to train in 4 cohorts." in printed
    assert ["failed", "1", "1", "2"] in [line.split() for line in printed.splitlines()]
    assert "2 x" in printed or "8 + 2" in printed


def test_the_plan_of_ten_runs_fits_a_small_screen(
    command: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("algorithm=bc,cql", "coverage=thin", "coverage.severity=0,0.2,0.4,0.6,0.8")
    assert command("-m", *TINY, *words, "launcher.dry_run=true") == 0
    printed = capfd.readouterr().out.splitlines()
    assert printed[0].startswith("10 runs planned ")
    assert sum(1 + len(line) // 80 for line in printed) <= 24


def test_the_plan_of_a_large_sweep_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("seed=0", "coverage=thin", "behavior=mixed,random")
    plan = commands.plan("experiment=coverage_full", *words)
    opening.print_plan(plan)
    printed = capsys.readouterr().out.splitlines()
    assert len(plan.runs) > 300
    assert printed[0].startswith(f"{len(plan.runs):,} runs planned (")
    assert f", 0 stored, {len(plan.runs):,} to train in " in printed[0]
    assert len(printed) < 120
    assert max(map(len, printed[1:])) <= 100


def test_evaluating_more_often_changes_no_result(command: Any) -> None:
    words = [word for word in TINY if not word.startswith("eval_every=")]
    command("-m", *words, "eval_every=3,30", "algorithm=bcq")
    often, once = records().values()
    assert often.config["eval_every"] != once.config["eval_every"]
    assert often.final == once.final


def test_severity_zero_is_one_run_for_all_degradations() -> None:
    runs = commands.plan(*TINY, "coverage=thin,region,actions", "coverage.severity=0,0.5").runs
    assert [run.config.coverage.name for run in runs].count("none") == 1
    assert len(runs) == 4
    assert only_id(*TINY, "coverage=thin", "coverage.severity=0") == only_id(*TINY)


def test_a_run_is_typed_once_and_as_it_arrives_at_whoever_trains_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed = []

    def count(settings: Any) -> Any:
        typed.append(settings)
        return run_config(settings)

    monkeypatch.setattr(plan, "run_config", count)
    words = ("coverage=thin,region", "coverage.severity=0,0.5")
    runs = commands.plan(*TINY, *words).runs
    assert len(typed) == 4
    for run in runs:
        arrived = pickle.loads(pickle.dumps(run)).config.coverage
        here = run.config.coverage
        assert (arrived.name, arrived.severity) == (here.name, here.severity)
        assert (arrived.degrade.func, arrived.settings) == (here.degrade.func, here.settings)


@pytest.mark.parametrize(
    "word",
    [
        "seed=1",
        "num_updates=31",
        "batch_size=65",
        "eval_every=11",
        "eval_episodes=4",
        "algorithm.learning_rate=0.0010001",
        "algorithm.conservatism=1.5",
        "algorithm.discount=0.91",
        "algorithm.hidden_sizes=[64]",
        "dataset.num_transitions=201",
        "dataset.discount=0.91",
        "dataset.seed=7",
        "dataset.environment.slip=0.06",
        "dataset.behavior=[{epsilon:0.03,share:1.0}]",
        "dataset=cliff",
        "algorithm=bcq",
    ],
)
def test_settings_that_differ_in_one_value_have_two_ids(word: str) -> None:
    words = [w for w in TINY if w.split("=")[0] != word.split("=")[0]]
    rest = [w for w in TINY if w.split("=")[0] == word.split("=")[0]]
    assert only_id(*words, word) != only_id(*words, *rest)


@pytest.mark.parametrize(
    "word",
    ["experiment_name=x", "results_dir=y", "device=auto", "compile=off", "launcher.cohort_size=3",
     "dataset.seed=0", "algorithm.discount=0.9", "algorithm.conservatism=0.1"],
)  # fmt: skip
def test_what_cannot_change_a_result_does_not_change_the_id(word: str) -> None:
    assert only_id(*TINY, word) == only_id(*TINY)


def test_the_id_of_a_run_is_stable() -> None:
    """Ids name records for good: this one changes only if the settings' meaning does."""
    assert only_id(*TINY) == only_id(*TINY)
    assert len(only_id(*TINY)) == 16


def test_hydra_composes_once_per_choice_of_groups_and_not_per_job() -> None:
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        words = ("algorithm=bc,cql", "coverage=thin", "coverage.severity=0.1,0.5", "seed=range(50)")
        composition = commands.composer(*words)
        assert len(list(composition.jobs())) == 200
        assert len(composition.composed) == 3  # the bare command and one per algorithm


@pytest.mark.parametrize(
    "fixed", [(), ("seed=3", "algorithm.learning_rate=0.5")], ids=["", "fixed"]
)
def test_of_choices_in_several_groups_at_most_their_sum_is_composed(fixed: tuple[str, ...]) -> None:
    """Each choice alone, put together, is what Hydra composes from all of them.

    It is composed where words reach into its group; a file that stands for itself is just read.
    """
    choices = {"dataset": ("lock", "taxi"), "algorithm": ("bc", "cql"),
               "coverage": ("thin", "region")}  # fmt: skip
    words = [f"{group}={','.join(names)}" for group, names in choices.items()]
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        composition = commands.composer(*words, *fixed)
        jobs = list(composition.jobs())
        loaded = len(composition.composed)
        together = [
            next(commands.composer(*(f"{k}={v}" for k, v in zip(choices, point, strict=True)),
                                   *fixed).jobs())
            for point in itertools.product(*choices.values())
        ]  # fmt: skip
    assert jobs == together
    composed = 2 if fixed else 0
    assert loaded == 1 + composed + len(jobs)  # the last ones put together, not composed


def test_cohorts_share_everything_but_seeds_data_and_float_settings() -> None:
    words = (*TINY, "algorithm=cql,bc", "algorithm.learning_rate=0.01,0.1", "seed=range(3)",
             "coverage=thin,actions", "coverage.severity=0.5")  # fmt: skip
    cohorts = commands.plan(*words).cohorts
    assert [len(cohort) for cohort in cohorts] == [12, 12]
    assert [len(c) for c in commands.plan(*words, "launcher.cohort_size=5").cohorts] == [
        4,
        4,
        4,
        4,
        4,
        4,
    ]


def test_the_command_line_selects_from_a_grid_or_replaces_its_values() -> None:
    grid = "grid=[{dataset:[lock,cliff],seed:[0,1]},{dataset:[garnet],seed:[0,1,2]}]"
    assert len(commands.plan(grid).runs) == 7
    assert len(commands.plan(grid, "dataset=garnet").runs) == 3
    assert len(commands.plan(grid, "seed=2").runs) == 1
    assert len(commands.plan(grid, "dataset=taxi").runs) == 3
    assert {run.config.seed for run in commands.plan(grid, "seed=9").runs} == {9}


def test_the_default_sweep_is_the_one_the_readme_promises() -> None:
    runs = commands.plan("experiment=coverage_ablation", "seed=0").runs
    cells = {
        (r.config.dataset.name, r.config.coverage.name, r.config.coverage.severity) for r in runs
    }
    assert {name for name, _, _ in cells} == {"garnet", "lock", "cliff", "cartpole"}
    assert len(cells) == 4 * (1 + 3 * 4)
    # Ten learners on tables; counts, which four of them need, do not exist on CartPole.
    assert len(runs) == 13 * (3 * 10 + 6)
    assert f"trains {5 * len(runs):,} runs" in (Path(__file__).parents[2] / "README.md").read_text()
    one_cell = ("dataset=lock", "algorithm=bc", "coverage=thin", "coverage.severity=0.5")
    seeds = [r.config.seed for r in commands.plan("experiment=coverage_ablation", *one_cell).runs]
    assert seeds == list(range(5))


def test_a_record_does_not_follow_later_edits_of_the_configuration(command: Any) -> None:
    command(*TINY)
    (path,) = stored().values()
    stored_config = json.loads(path.read_text())["config"]
    assert stored_config["algorithm"]["target"] == "algorithms.cql.ConservativeQLearning"
    assert stored_config["algorithm"]["discount"] == stored_config["dataset"]["discount"]
    assert "${" not in path.read_text()
    assert None not in (stored_config["dataset"]["seed"], stored_config["algorithm"]["discount"])


def test_the_keys_of_the_harness_are_those_that_it_reads() -> None:
    assert set(HARNESS_KEYS) == set(HarnessConfig.model_fields)
