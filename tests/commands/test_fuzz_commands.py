"""Command lines from a grammar: each is a plan or one sentence, and none writes anything."""

import contextlib
import io
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.__main__ import main

NUMBERS = ("0", "1", "-1", "0.5", "1e-3", "1e400", "-1e400", "nan", "inf", "-0.0", "1" + 30 * "0",
           "0x10", "1_000", "1e39", "5e-324")  # fmt: skip
WORDS = (
    "null", "true", "''", "\"\"", "é", "'é'", "~", "~/x", "a b", "a,b", "data", "full", "zero",
    "${seed}", "${nope}", "${", "$x", "..", "/", "\\", "'", "\"", "=", ":", "@", "#", "\t", "日",
    "*", "?", "%s", "{}", "()", "\x00", "-", "--", "-m",
)  # fmt: skip
SHAPES = (
    "[]", "[{v}]", "[{v},{v}]", "[[{v}]]", "{{a:{v}}}", "[{{epsilon:{v},share:1}}]", "[{v}",
    "{{name:{v}}}", "range({v})", "range(0,{v},{v})", "choice({v},1)", "sort({v},2)", "glob(*)",
    "int({v})", "str({v})", "shuffle({v},1)", "tag(x,{v})", "{v},{v}", "{v}", "'{v}'",
)  # fmt: skip
KEYS = (
    "seed", "num_updates", "batch_size", "eval_every", "eval_episodes", "coverage_estimates",
    "value_estimates", "experiment_name", "results_dir", "device", "compile",
    "updates_per_graph", "precision", "grid",
    "algorithm", "dataset",
    "coverage", "behavior", "launcher", "tracking", "chosen", "experiment",
    "algorithm.learning_rate", "algorithm.hidden_sizes", "algorithm.discount", "algorithm.target",
    "algorithm.name", "algorithm.follower", "dataset.num_transitions", "dataset.discount",
    "dataset.behavior", "dataset.environment", "dataset.environment.num_states", "dataset.seed",
    "dataset.hidden", "dataset.history", "dataset.normalization", "coverage.severity",
    "coverage.steps", "coverage.of", "coverage.worse_id", "coverage.num_cells",
    "launcher.memory_gb", "launcher.engine", "tracking.mode", "nonsense", "a.b.c", "é", "", ".",
    "seed.x", "hydra", "hydra.run.dir", "defaults",
)  # fmt: skip
CHOICES = (
    "algorithm=bc", "algorithm=fqi_exact", "algorithm=stackelberg", "algorithm=td3_bc",
    "dataset=lock", "dataset=cartpole", "dataset=lqr", "coverage=thin",
    "coverage=region", "coverage=composite", "coverage=size_matched", "coverage=quality",
    "behavior=mixed", "launcher=local", "tracking=none",
    "-m", "--cfg", "job", "run", "describe", "-x",
)  # fmt: skip

# The first of these words decides the command; `describe` alone would make data.
values = st.sampled_from(NUMBERS + WORDS)
shaped = st.builds(lambda shape, value: shape.format(v=value), st.sampled_from(SHAPES), values)
setting = st.builds(
    lambda sign, key, value: f"{sign}{key}={value}",
    st.sampled_from(("", "", "", "", "+", "++", "~")),
    st.sampled_from(KEYS),
    st.one_of(values, shaped, st.text(max_size=6)),
)
word = st.one_of(setting, setting, st.sampled_from(CHOICES), st.text(max_size=4))
commands = st.lists(word, min_size=1, max_size=4).map(lambda words: [*words, "--dry-run"])

# Seconds of processor time, after which further examples are let pass; a command takes some 40 ms.
BUDGET = 6.0
SPENT: list[float] = [0.0]
FAILED: list[list[str]] = []


@settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(words=commands)
def test_a_command_is_a_plan_or_one_sentence(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(words, tmp_path, monkeypatch, BUDGET)


@pytest.mark.slow
@settings(
    max_examples=3000,
    derandomize=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(words=commands)
def test_many_commands_are_plans_or_one_sentence(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(words, tmp_path, monkeypatch, float("inf"))


def check(words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, budget: float) -> None:
    """Run a command in an empty folder and look at all that it leaves."""
    if (SPENT[0] > budget and not FAILED) or words[0] in (
        "describe",
        "status",
        "sync",
        "speed",
        "plot",
        "export",
    ):
        return
    begun = time.process_time()
    # Once one has failed they are looked at whatever it costs, so that the smallest is found.
    FAILED.append(words)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as stop,
    ):
        main()
    said = err.getvalue()
    assert stop.value.code in (0, 2), (words, said)
    assert "Traceback" not in said + out.getvalue()
    if stop.value.code == 2:
        assert len(said.strip().splitlines()) == 1, (words, said)
    assert not list(folder.iterdir()), words
    FAILED.pop()
    SPENT[0] += time.process_time() - begun
