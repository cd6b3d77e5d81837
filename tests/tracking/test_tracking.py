"""The W&B mirror holds what the records hold, and no trouble with it reaches a run."""

import http.server
import json
import os
import socketserver
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
import wandb

from bench.__main__ import main
from bench.commands import sync
from bench.store.record import RunRecord
from bench.store.records import RunStore
from bench.tracking import mirror as tracking
from bench.tracking.mirror import Mirror, TrackingConfig, curves
from tests.support import offline_wandb

RECORD = RunRecord(
    run_id="0123456789abcdef",
    experiment="study",
    status="completed",
    algorithm="cql",
    environment="lock",
    seed=3,
    config={"algorithm": {"name": "cql", "hidden_sizes": [64, 64]}, "seed": 3},
    dataset={"fingerprint": "fedcba", "num_transitions": 12},
    coverage={"support_fraction": 0.5, "saco": None, "by_policy": {"optimal": {"a": 0.25}}},
    values={"optimum": 1.0, "best_covered": None},
    evaluations=[
        {"update": 5, "returns": [1.0, 2.0], "exact_value": 0.5, "sampled_value": None},
        {"update": 10, "returns": [3.0, 3.0], "exact_value": 0.75, "sampled_value": 0.7},
    ],
    final={"regret": 0.25, "normalized_regret": None},
    metrics={"loss": [[1, 0.9], [5, 0.5], [10, 0.25]]},
    timing={"wall_seconds": 1.5},
    versions={"torch": "2"},
)
KEY = "a" * 40


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No key, no settings and no server of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    # W&B reads the environment once in a process.
    wandb.teardown()
    yield
    wandb.teardown()


def mirror(folder, mode="offline", time_limit=2.0):
    config = TrackingConfig(mode=mode, project="p", entity=None, time_limit=time_limit)
    return Mirror(config, folder)


def read_all(folder):
    """Return the runs under a folder by id, once W&B's own process has written all of them."""
    wandb.teardown()
    return offline_wandb.read_all(folder)


def test_an_offline_file_holds_what_the_record_holds(tmp_path):
    mirror(tmp_path).write(RECORD)
    (tracked,) = read_all(tmp_path / "wandb").values()
    assert tracked.run.run_id == tracked.run.display_name == "study-0123456789abcdef"
    assert tracked.run.run_group == "study"
    assert tracked.run.project == "p"
    assert set(tracked.run.tags) == {"cql", "lock", "completed"}
    assert tracked.exit_code == 0
    config = {key: value for key, value in tracked.config.items() if not key.startswith("_")}
    assert config == {**RECORD.config, "run_id": RECORD.run_id}
    for name in tracking.SUMMARY:
        assert tracked.summary[name] == getattr(RECORD, name)
    rows = [{k: v for k, v in row.items() if k[0] != "_"} for row in tracked.history]
    assert rows == list(curves(RECORD))


def test_discounted_returns_have_a_curve_where_there_are_some():
    evaluation = {**RECORD.evaluations[0], "exact_value": None, "discounted_returns": [1.0, 0.5]}
    rows = {row["update"]: row for row in curves(replace(RECORD, evaluations=[evaluation]))}
    assert rows[5]["evaluation/discounted_return_mean"] == 0.75
    assert "evaluation/exact_value" not in rows[5]


def test_curves_are_rows_by_update():
    assert list(curves(RECORD)) == [
        {"update": 1, "metrics/loss": 0.9},
        {"update": 5, "metrics/loss": 0.5, "evaluation/return_mean": 1.5,
         "evaluation/exact_value": 0.5},
        {"update": 10, "metrics/loss": 0.25, "evaluation/return_mean": 3.0,
         "evaluation/exact_value": 0.75, "evaluation/sampled_value": 0.7},
    ]  # fmt: skip


@pytest.mark.parametrize(("status", "exit_code"), [("failed", 1), ("empty", 0)])
def test_runs_that_failed_or_were_empty_are_mirrored_too(status, exit_code, tmp_path):
    error = "ValueError: no" if status == "failed" else None
    mirror(tmp_path).write(
        RunRecord("id", "study", status, "cql", "lock", 0, {"seed": 0}, error=error)
    )
    (tracked,) = read_all(tmp_path / "wandb").values()
    assert tracked.summary["status"] == status
    assert tracked.summary["error"] == error
    assert tracked.exit_code == exit_code
    assert tracked.history == []


def test_what_it_cost_is_said(tmp_path):
    one = mirror(tmp_path)
    for run_id in ("a", "b"):
        one.write(RunRecord(run_id, "study", "empty", "cql", "lock", 0, {}))
    line = one.closing_line()
    assert "W&B mirror: 2 offline in " in line
    assert " ms each, " in line
    assert line.endswith(" s to start.")
    assert mirror(tmp_path).closing_line() is None


def test_inside_an_agent_of_a_sweep_every_record_is_a_run_of_its_own(tmp_path, monkeypatch):
    for name, value in {
        "WANDB_SWEEP_ID": "sweep7",
        "WANDB_RUN_ID": "agent9",
        "WANDB_NAME": "one",
        "WANDB_RUN_GROUP": "one",
        "WANDB_RESUME": "must",
    }.items():
        monkeypatch.setenv(name, value)
    one = mirror(tmp_path)
    for run_id in ("a", "b"):
        one.write(replace(RECORD, run_id=run_id))
    assert one.mirrored == {"offline": 2}
    found = read_all(tmp_path / "wandb")
    assert set(found) == {"study-a", "study-b"}
    for run_id, tracked in found.items():
        assert tracked.run.display_name == run_id
        assert tracked.run.run_group == "study, sweep sweep7"
        assert not tracked.run.sweep_id
        assert tracked.config["wandb_agent"] == {"sweep": "sweep7", "run": "agent9"}
    assert os.environ["WANDB_RUN_ID"] == "agent9"


@pytest.mark.parametrize(
    ("name", "value", "mode", "effective"),
    [
        ("WANDB_MODE", "disabled", "offline", "none"),
        ("WANDB_MODE", "disabled", "online", "none"),
        ("WANDB_MODE", "dryrun", "online", "offline"),
        ("WANDB_MODE", "offline", "online", "offline"),
        ("WANDB_MODE", "dryrun", "offline", "offline"),
        ("WANDB_MODE", "online", "offline", "offline"),
        ("WANDB_MODE", "online", "none", "none"),
        ("WANDB_MODE", "online", "online", "online"),
        ("WANDB_DISABLED", "true", "online", "none"),
        ("WANDB_DISABLED", "1", "offline", "none"),
        ("WANDB_DISABLED", "false", "offline", "offline"),
    ],
)
def test_the_more_reserved_of_setting_and_environment_counts(
    name, value, mode, effective, tmp_path, monkeypatch
):
    monkeypatch.setenv(name, value)
    assert mirror(tmp_path, mode).config.mode == effective
    if effective == "none":
        mirror(tmp_path, mode).write(RECORD)
        assert not list(tmp_path.iterdir())


def test_silent_is_silent(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("WANDB_SILENT", "true")
    one = mirror(tmp_path)
    one.write(RECORD)
    assert one.mirrored == {"offline": 1}
    assert one.closing_line() is None
    out = capfd.readouterr()
    assert out.out == out.err == ""


def test_no_mirror_imports_and_writes_nothing(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "wandb"]:
        monkeypatch.delitem(sys.modules, name)
    one = mirror(tmp_path / "out", "none")
    one.write(RECORD)
    assert "wandb" not in sys.modules
    assert one.closing_line() is None
    assert not (tmp_path / "out").exists()


# Trouble


@contextmanager
def server(answer):
    """Run a server that does with every connection what `answer` says; yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            answer(self)

        do_GET = do_POST

        def log_message(self, *arguments):
            pass

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def refuse(handler):
    handler.send_response(401)
    handler.end_headers()
    handler.wfile.write(b'{"errors":[{"message":"invalid key"}]}')


def say_nothing(handler):
    time.sleep(20)


def check_falls_back(folder, capfd, named):
    """Mirror two records online and check one warning, both offline, in bounded time."""
    one = mirror(folder, "online")
    start = time.perf_counter()
    for run_id in ("a", "b"):
        one.write(RunRecord(run_id, "study", "completed", "cql", "lock", 0, {}))
    assert time.perf_counter() - start < 12
    warnings = capfd.readouterr().err.strip().splitlines()
    assert len(warnings) == 1, warnings
    assert named in warnings[0]
    assert "go on being mirrored in" in warnings[0]
    assert set(read_all(folder / "wandb")) == {"study-a", "study-b"}
    assert dict(one.mirrored) == {"offline": 2}


def test_without_a_key_the_mirror_goes_on_offline(tmp_path, capfd):
    check_falls_back(tmp_path, capfd, "there is no API key")


def test_a_key_of_the_wrong_form_is_no_failure(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    check_falls_back(tmp_path, capfd, "WANDB_API_KEY")


@pytest.mark.parametrize(("answer", "named"), [(refuse, "401"), (say_nothing, "")])
def test_a_server_that_refuses_or_hangs_is_no_failure(answer, named, tmp_path, capfd, monkeypatch):
    with server(answer) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        check_falls_back(tmp_path, capfd, named)


def test_no_network_is_no_failure(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    check_falls_back(tmp_path, capfd, "refused")


@pytest.mark.parametrize("where", ["init", "log", "finish", "import"])
def test_a_mirror_that_breaks_is_one_warning_and_stays_off(where, tmp_path, capfd, monkeypatch):
    def broken(*arguments, **settings):
        raise RuntimeError("broken inside")

    if where == "init":
        monkeypatch.setattr(wandb, "init", broken)
    elif where == "import":
        monkeypatch.setitem(sys.modules, "wandb", None)
    else:
        monkeypatch.setattr(wandb.Run, where, broken)
    one = mirror(tmp_path)
    one.write(RECORD)
    one.write(RECORD)
    warnings = capfd.readouterr().err.strip().splitlines()
    assert len(warnings) == 1
    assert "their records are complete" in warnings[0]
    assert one.closing_line() is None
    monkeypatch.undo()


# Through the command


@pytest.fixture
def command(monkeypatch, capsys):
    """Return a function that runs a command in a folder and gives its status and its words."""

    def run(folder, *words):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        tiny = ["dataset=lock", "dataset.num_transitions=100", "num_updates=5", "launcher=local"]
        monkeypatch.setattr(sys, "argv", ["bench", *words, *tiny])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), capsys.readouterr()

    return run


def test_a_sweep_is_mirrored_as_its_records_are_stored(tmp_path, command):
    words = ["-m", "algorithm=bc,fqi"]
    status, printed = command(tmp_path, *words)
    assert status == 0
    assert "W&B mirror: 2 offline in results/wandb, " in printed.out
    records = list(RunStore(tmp_path / "results" / "runs").read("default"))
    tracked = read_all(tmp_path / "results" / "wandb")
    assert set(tracked) == {f"default-{record.run_id}" for record in records}
    for record in records:
        summary = tracked[f"default-{record.run_id}"].summary
        assert summary["final"] == json.loads(json.dumps(record.final))
    # What is stored is not trained again, and so is not mirrored twice.
    _, printed = command(tmp_path, *words)
    assert "W&B" not in printed.out
    assert len(list((tmp_path / "results" / "wandb").glob("offline-run-*"))) == 2


def test_without_a_mirror_the_same_records_are_left(tmp_path, command):
    ids = []
    for name, words in {"none": ["tracking=none"], "wandb": []}.items():
        assert command(tmp_path / name, *words)[0] == 0
        ids.append([p.name for p in (tmp_path / name / "results/runs/default").iterdir()])
        assert (tmp_path / name / "results" / "wandb").exists() == (name == "wandb")
    assert ids[0] == ids[1]


def test_training_goes_on_whatever_the_server_does(tmp_path, command, monkeypatch):
    with server(refuse) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        status, printed = command(tmp_path, "tracking=online")
    assert status == 0
    assert printed.err.count("W&B") == 1
    (record,) = RunStore(tmp_path / "results" / "runs").read("default")
    assert record.status == "completed"


def test_figures_and_what_no_sweep_has_mirrored_are_written_into_the_same_files(tmp_path, capsys):
    from matplotlib.figure import Figure

    store = RunStore(tmp_path / "runs")
    for run_id in ("a", "b"):
        store.write(replace(RECORD, run_id=run_id))
    mirror(tmp_path).write(replace(RECORD, run_id="a"))
    folder = tmp_path / "figures" / "study"
    folder.mkdir(parents=True)
    Figure().savefig(folder / "regret.png")
    (folder / "table.md").write_text("| a |")
    options = ["--offline", "--results", str(tmp_path)]
    assert sync.main(["study", *options]) == 0
    assert capsys.readouterr().out.startswith("2 written to ")
    wandb.teardown()
    written = sorted(path.name.split("-", 3)[-1] for path in (tmp_path / "wandb").glob("off*"))
    assert written == ["study-a", "study-b", "study-figures"]
    tracked = read_all(tmp_path / "wandb")
    assert tracked["study-b"].summary["final"] == RECORD.final
    (row,) = tracked["study-figures"].history
    assert "media/images/regret" in json.dumps(row)
    assert list((tmp_path / "wandb").glob("offline-run-*/files/media/images/regret*.png"))
    assert list((tmp_path / "wandb").glob("offline-run-*/files/table.md"))
    # Once more there is nothing to do, until a figure is redrawn.
    assert sync.main(["study", *options]) == 0
    assert "0 written to " in capsys.readouterr().out
    (folder / "table.md").write_text("| b |")
    assert sync.main(["study", *options]) == 0
    assert "1 written to " in capsys.readouterr().out
    assert sync.main(["nothing", *options]) == 2
    assert "There is no record of 'nothing'" in capsys.readouterr().err
