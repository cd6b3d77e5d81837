"""D4RL's files are trained on: with gymnasium's counterpart, and without any simulator."""

import html
import re
from importlib.metadata import version

import gymnasium
import numpy as np
import pytest
import torch

from bench.files.d4rl import COUNTERPARTS
from bench.files.references import d4rl_table
from bench.measures.evaluation import PolicyEvaluation
from bench.measures.regret import FINAL, Anchors, scores
from bench.settings.run import run_config, run_id
from bench.worlds.simulators import live
from tests.support import files
from tests.support.builders import build_algorithm, make_cohort
from tests.support.commands import settings
from tests.support.plotting import plot
from tests.support.sweeps import records, run_here

SHORT = ("num_updates=4", "batch_size=16", "eval_every=2", "eval_episodes=2", "tracking=none",
         "launcher=local",
         "algorithm.hidden_sizes=[8]")  # fmt: skip


def bench(folder, monkeypatch, *words):
    """Run the command and return its records."""
    monkeypatch.chdir(folder)
    assert run_here(monkeypatch, *SHORT, *words) == 0
    return list(records(folder).values())


def captions(folder):
    """Draw the records and return what is written beside the figures."""
    assert plot(folder / "results", "default") == 0
    (report,) = (folder / "results" / "figures").rglob("report.html")
    return html.unescape(re.sub("<[^>]+>", "", report.read_text()))


@pytest.fixture
def no_mujoco(monkeypatch):
    """Hide the package."""
    find = live.importlib.util.find_spec
    monkeypatch.setattr(
        live.importlib.util, "find_spec", lambda name: None if name == "mujoco" else find(name)
    )


def test_every_counterpart_is_registered_and_names_datasets():
    for word, gymnasium_id in COUNTERPARTS.items():
        assert gymnasium_id in gymnasium.registry
        assert any(name.startswith(f"{word}-") for name in d4rl_table())


@pytest.mark.parametrize("algorithm", ["bc", "td3_bc", "iql"])
def test_a_file_of_hopper_trains_and_is_evaluated_in_its_counterpart(
    algorithm, tmp_path, monkeypatch
):
    pytest.importorskip("mujoco")
    files.write_d4rl(files.rollouts("Hopper-v4"))
    (record,) = bench(tmp_path, monkeypatch, "dataset=d4rl", f"algorithm={algorithm}")
    assert record["evaluation"] == f"Hopper-v4 (mujoco {version('mujoco')}), for hopper-medium-v2"
    assert record["evaluation_reason"] is None
    assert [e["update"] for e in record["evaluations"]] == [2, 4]
    final = record["final"]
    achieved = np.mean(record["evaluations"][-1]["returns"])
    random, expert = -20.272305, 3234.3
    assert final["normalized_score"] == pytest.approx(100 * (achieved - random) / (expert - random))
    assert final["regret"] == pytest.approx(expert - achieved)
    assert f"episodes on {record['evaluation']}" in captions(tmp_path)


CASES = {
    "no counterpart": ("pen-human-v1", "no simulator of it is known"),
    "no extra": ("hopper-medium-v2", 'Hopper-v4 needs `pip install -e ".[mujoco]"`'),
}


@pytest.mark.usefixtures("no_mujoco")
@pytest.mark.parametrize("case", CASES)
def test_without_a_simulator_a_run_trains_and_says_why_it_has_no_evaluation(
    case, tmp_path, monkeypatch, capsys
):
    dataset, reason = CASES[case]
    files.write_d4rl(files.rollouts("Pendulum-v1"), dataset)
    words = ("dataset=d4rl", f"dataset.id={dataset}", "algorithm=bc,td3_bc", "seed=0,1",
             "coverage=thin", "coverage.severity=0,0.5")  # fmt: skip
    found = bench(tmp_path, monkeypatch, *words)
    assert len(found) == 8
    for record in found:
        assert record["status"] == "completed", record["error"]
        assert (record["evaluation"], record["evaluation_reason"]) == (None, reason)
        assert record["evaluations"] == []
        assert record["final"] == dict.fromkeys(FINAL)
        assert record["values"]["optimum"] is not None
        assert {update for points in record["metrics"].values() for update, _ in points} == {2, 4}
    assert run_here(monkeypatch, "status", "default") == 0
    written = f"none on {dataset} ({reason})"
    assert written in captions(tmp_path)
    # On the terminal too, where brackets might be taken for marks.
    assert written in " ".join(capsys.readouterr().out.split())


def test_actions_beyond_the_counterpart_s_bounds_are_counted_and_learned_as_the_nearest(
    monkeypatch, capsys
):
    columns = files.d4rl_columns((40, 30))
    columns["actions"] = np.clip(columns["actions"], -0.9, 0.9)
    columns["actions"][7] = 1.5, -3.0
    files.write_d4rl(columns)
    assert run_here(monkeypatch, "describe", "dataset=d4rl") == 0
    assert re.search(r"at a bound or beyond\s+1 of 69", capsys.readouterr().out)
    dataset = files.d4rl_source().load("d4rl", 0, 0.9, None).data
    np.testing.assert_array_equal(dataset.action[7], np.float32([1.5, -3.0]))
    cohort = make_cohort([build_algorithm("td3_bc")], [dataset], batch_size="full")
    batch = cohort.replay.batch(0)
    assert batch.action.abs().max() == 1
    assert (batch.action[0, 7] == torch.tensor([1.0, -1.0])).all()


def test_numbers_without_an_evaluation_have_the_names_of_those_with_one():
    against = Anchors(1.0, 0.0, 0.5, None)
    assert tuple(scores(None, against)) == FINAL
    assert tuple(scores(PolicyEvaluation(1, [0.0, 1.0], None, None, None), against)) == FINAL


def identity():
    (job,) = settings("dataset=d4rl", "algorithm=bc")
    return run_id(job, run_config(job))


def test_a_run_is_another_one_once_there_is_a_simulator(request):
    pytest.importorskip("mujoco")
    files.write_d4rl(files.rollouts("Hopper-v4"))
    evaluated = identity()
    request.getfixturevalue("no_mujoco")
    files.forget()
    assert identity() != evaluated
