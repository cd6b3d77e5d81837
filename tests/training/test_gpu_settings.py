"""What is said of how a GPU computes: how many updates it replays at once, how it multiplies."""

import json
from functools import partial

import pytest
import torch

from bench.cohorts.cohort import Cohort
from bench.programs import compilation, gpu
from bench.settings.typed import ConfigError
from bench.training import trainer
from tests.support import commands, sweeps
from tests.support.graphs import replay_here


@pytest.fixture
def pretended(monkeypatch):
    """Let there be a GPU as far as planning goes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.version, "cuda", "13.0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("updates_per_graph=8",), "it needs device=cuda or device=auto"),
        (("updates_per_graph=0",), "updates_per_graph is 0"),
        (("updates_per_graph=many",), "an integer or 'auto'|valid integer or 'auto'"),
        (("precision=tf32",), "it needs device=cuda"),
        (("precision=tf32", "device=auto"), "it needs device=cuda"),
        (("precision=half", "device=cuda"), "should be 'float32' or 'tf32'"),
    ],
)
@pytest.mark.usefixtures("pretended")
def test_what_no_device_does_is_one_sentence(words, said):
    with pytest.raises(ConfigError, match=said) as error:
        commands.plan("algorithm=bc", "dataset=lock", *words)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("pretended")
def test_precision_is_part_of_a_run_and_what_a_call_makes_is_not():
    words = "algorithm=bc", "dataset=lock", "device=cuda"
    (usual,), (same,), (fast,) = (
        commands.plan(*words, *more).runs
        for more in ((), ("updates_per_graph=8", "precision=float32"), ("precision=tf32",))
    )
    assert usual.run_id == same.run_id != fast.run_id
    assert fast.settings["precision"] == "tf32"
    assert "precision" not in usual.settings
    assert usual.cohort_key != fast.cohort_key


def test_a_gpu_that_cannot_multiply_so_is_told_before_training(monkeypatch, pretended):
    words = "algorithm=bc", "dataset=lock", "device=cuda", "precision=tf32"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.raises(ConfigError, match="nothing that the GPU of this machine can do"):
        commands.plan(*words)
    # Of another machine nothing is known.
    assert commands.plan(*words, "launcher=slurm").runs


def test_torch_is_told_how_to_compute(monkeypatch):
    told = []
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch, "set_float32_matmul_precision", told.append)
    monkeypatch.setattr(torch.backends.cuda, "preferred_linalg_library", told.append)
    monkeypatch.setattr(
        torch, "use_deterministic_algorithms", lambda on, warn_only: told.append(on)
    )
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    gpu.set_up()
    gpu.set_up("tf32")
    assert told == ["highest", "cusolver", True, "high", "cusolver", True]
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_checkpoints_of_calls_are_those_of_as_many_updates(pretended):
    (run,) = commands.plan("algorithm=bc", "dataset=lock", "eval_every=1000").runs
    told = []
    for device, asked in (("cpu", "auto"), ("cuda", "auto"), ("cuda", 8)):
        own = trainer.Trainer(None, device, "off", asked)
        told.append(own.updates(run))
    assert told == ["traced", "traced, 20 a call", "traced, 8 a call"]


def test_a_training_of_calls_leaves_the_records_of_single_updates(tmp_path, monkeypatch):
    words = (*sweeps.TINY, "algorithm=iql", "algorithm.polyak=0.1", "seed=0,1", "num_updates=62",
             "eval_every=25", "batch_size=16", "launcher.checkpoint_seconds=0")  # fmt: skip
    monkeypatch.setattr(compilation, "WORTH_TRACING", 20)
    found = []
    for number in (1, 10):
        steps = []
        monkeypatch.setattr(trainer, "updates_at_once", lambda *_, number=number: number)
        monkeypatch.setattr(trainer, "Cohort", partial(Cohort, capture=replay_here))
        monkeypatch.setattr(
            trainer.Checkpoints, "write", lambda self, step, _, steps=steps: steps.append(step)
        )
        (folder := tmp_path / str(number)).mkdir()
        monkeypatch.chdir(folder)
        assert sweeps.run_here(monkeypatch, *words) == 0
        found.append((sweeps.records(folder), steps))
    (single, every), (together, some) = found
    assert json.dumps(single, sort_keys=True) == json.dumps(together, sort_keys=True)
    # Checkpoints are written between calls; the end is none, but that of two runs.
    assert every == [*range(1, 62), 62]
    assert some == [10, 20, 21, 22, 23, 24, 25, 35, 45, 46, 47, 48, 49, 50, 60, 61, 62]
    assert {record["status"] for record in together.values()} == {"completed"}
