"""A store is written to W&B as it is, once, and whatever goes wrong loses nothing."""

import json
import os
import socket
from dataclasses import replace

import pytest
import requests
import wandb

from bench.commands import sync
from bench.store.record import RunRecord
from bench.store.records import RunStore
from bench.tracking.mirror import curves
from tests.support import offline_wandb
from tests.support.wandb_server import wandb_server

RECORD = RunRecord(
    run_id="a",
    experiment="study",
    status="completed",
    algorithm="cql",
    environment="lock",
    seed=3,
    config={"algorithm": {"name": "cql"}, "seed": 3},
    evaluations=[
        {"update": 5, "returns": [1.0, 2.0], "exact_value": 0.5, "sampled_value": None},
        {"update": 10, "returns": [3.0, 3.0], "exact_value": 0.75, "sampled_value": 0.7},
    ],
    final={"regret": 0.25, "normalized_regret": None},
    metrics={"loss": [[1, 0.9], [5, 0.5], [10, 0.25]]},
)
IDS = ("a", "b", "c")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """No key, no settings, no server and no proxy of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith("WANDB_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(tmp_path)
    wandb.teardown()
    yield
    wandb.teardown()


@pytest.fixture
def store(tmp_path):
    store = RunStore(tmp_path / "results" / "runs")
    for run_id in IDS:
        store.write(replace(RECORD, run_id=run_id))
    return store


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Let the real client write files where it would send; return the arguments of each run."""
    begun, init = [], wandb.init

    def into_files(**arguments):
        assert arguments["settings"].mode == "online"
        begun.append(arguments)
        offline = {"settings": arguments["settings"].model_copy(update={"mode": "offline"})}
        return init(**{**arguments, **offline, "dir": tmp_path, "resume": None})

    monkeypatch.setattr(wandb, "init", into_files)
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(requests, "head", lambda *_, **__: None)
    return begun


def ids(server):
    """Return the ids of runs begun since this was last asked."""
    found = [arguments["id"] for arguments in server]
    server.clear()
    return found


def test_what_arrives_is_what_the_records_hold(store, server, tmp_path, capsys):
    assert sync.main(["study", "--project", "p", "--entity", "us"]) == 0
    assert capsys.readouterr().out == "3 written to us/p.\n"
    assert {(a["project"], a["entity"], a["resume"]) for a in server} == {("p", "us", "allow")}
    wandb.teardown()
    arrived = offline_wandb.read_all(tmp_path / "wandb")
    assert set(arrived) == {"study-a", "study-b", "study-c"}
    tracked = arrived["study-a"]
    config = {k: v for k, v in tracked.config.items() if not k.startswith("_")}
    assert config == {**RECORD.config, "run_id": "a"}
    assert tracked.run.run_group == "study"
    rows = [{k: v for k, v in row.items() if not k.startswith("_")} for row in tracked.history]
    assert rows == list(curves(RECORD))
    # W&B takes no step twice, so a run that is pushed again or goes on keeps one curve.
    assert [row["_step"] for row in tracked.history] == [1, 5, 10]
    assert tracked.summary["final"] == RECORD.final
    assert tracked.summary["status"] == "completed"


def test_what_has_been_pushed_is_left_out_until_it_changes(store, server, capsys):
    assert sync.main(["study"]) == 0
    assert ids(server) == ["study-a", "study-b", "study-c"]
    assert sync.main(["study"]) == 0
    assert ids(server) == []
    assert "0 written to stackelberg-bench, 3 were there already" in capsys.readouterr().out
    store.write(replace(RECORD, run_id="b", seed=4))
    store.write(replace(RECORD, run_id="d"))
    assert sync.main(["study"]) == 0
    assert ids(server) == ["study-b", "study-d"]
    assert sync.main(["study", "--again"]) == 0
    assert len(ids(server)) == 4
    # Another place knows nothing of it yet.
    assert sync.main(["study", "--project", "other"]) == 0
    assert len(ids(server)) == 4
    assert sync.main(["study"]) == 0
    assert ids(server) == []


def test_no_network_is_needed_where_nothing_is_left(store, server, monkeypatch):
    assert sync.main(["study"]) == 0
    monkeypatch.setattr(sync, "out_of_reach", lambda: pytest.fail("asked the server"))
    assert sync.main(["study"]) == 0


def test_figures_are_pushed_with_the_records_and_again_once_redrawn(store, server, tmp_path):
    from matplotlib.figure import Figure

    folder = tmp_path / "results" / "figures" / "study"
    folder.mkdir(parents=True)
    Figure().savefig(folder / "regret.png")
    (folder / "table.md").write_text("| a |")
    assert sync.main(["study"]) == 0
    assert ids(server)[-1] == "study-figures"
    assert list((tmp_path / "wandb").glob("offline-run-*/files/table.md"))
    (folder / "table.md").write_text("| b |")
    assert sync.main(["study"]) == 0
    assert ids(server) == ["study-figures"]


def test_a_single_failure_is_said_and_the_rest_goes_on(store, server, monkeypatch, capsys):
    store.path("study", "a").write_text("garbage")
    into_files = wandb.init

    def breaks(**arguments):
        if arguments["id"] == "study-b":
            raise RuntimeError("broken\ninside")
        return into_files(**arguments)

    monkeypatch.setattr(wandb, "init", breaks)
    assert sync.main(["study"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "1 written to stackelberg-bench, 2 failed.\n"
    said = [line for line in printed.err.splitlines() if line.strip()]
    assert len(said) == 2
    assert said[0].startswith("a was not written: DamagedRecordError")
    assert said[1] == "b was not written: RuntimeError: broken inside"
    monkeypatch.setattr(wandb, "init", into_files)
    store.write(replace(RECORD, run_id="a"))
    ids(server)
    assert sync.main(["study"]) == 0
    assert ids(server) == ["study-a", "study-b"]


def test_failures_in_a_row_stop_it(store, server, monkeypatch, capsys):
    for i in range(20):
        store.write(replace(RECORD, run_id=f"{i:02d}"))
    tried = []

    def breaks(**arguments):
        tried.append(arguments["id"])
        raise RuntimeError("no such project")

    monkeypatch.setattr(wandb, "init", breaks)
    assert sync.main(["study"]) == 1
    assert len(tried) == sync.MOST_FAILURES_IN_A_ROW
    assert "5 runs in a row failed; 0 written, 23 left" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [KeyboardInterrupt, requests.ConnectionError])
def test_what_arrived_before_it_stopped_is_remembered(store, server, monkeypatch, capsys, stop):
    into_files = wandb.init

    def stops(**arguments):
        if arguments["id"] == "study-b":
            if stop is KeyboardInterrupt:
                raise KeyboardInterrupt
            monkeypatch.setattr(requests, "head", gone)
            raise TimeoutError
        return into_files(**arguments)

    def gone(*_, **__):
        raise stop

    monkeypatch.setattr(wandb, "init", stops)
    if stop is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            sync.main(["study"])
    else:
        assert sync.main(["study"]) == 1
        assert "1 written, 2 left, the same command goes on with them." in capsys.readouterr().err
    monkeypatch.setattr(requests, "head", lambda *_, **__: None)
    monkeypatch.setattr(wandb, "init", into_files)
    ids(server)
    assert sync.main(["study"]) == 0
    assert ids(server) == ["study-b", "study-c"]


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "garbage"])
def test_a_damaged_memory_is_none(store, server, text):
    (store.root / "study" / ".sweep").mkdir()
    (store.root / "study" / sync.SYNCED).write_text(text)
    assert sync.main(["study"]) == 0
    assert len(ids(server)) == 3
    assert sync.main(["study"]) == 0
    assert ids(server) == []


def test_a_run_that_is_there_already_stays_one_run_with_one_curve(store, monkeypatch):
    """Against as much of a server as it takes, with the client as it is."""
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    with wandb_server() as (address, runs):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        for number in range(2):
            assert sync.main(["study", "--again"]) == 0
            assert set(runs) == {"study-a", "study-b", "study-c"}, number
            rows = [{k: v for k, v in x.items() if k[0] != "_"} for x in runs["study-a"].history]
            assert rows == list(curves(RECORD)), number
        # The run went on after all, say from a checkpoint.
        longer = {"loss": [*RECORD.metrics["loss"], [20, 0.1]]}
        store.write(replace(RECORD, metrics=longer, final={"regret": 0.125}))
        assert sync.main(["study"]) == 0
        wandb.teardown()
    assert [row["update"] for row in runs["study-a"].history] == [1, 5, 10, 20]
    assert [row["update"] for row in runs["study-b"].history] == [1, 5, 10]
    assert json.loads(runs["study-a"].summary)["final"] == {"regret": 0.125}
    assert json.loads(runs["study-a"].config)["run_id"]["value"] == "a"


# Nothing to push to


def check_stops(store, capsys, named, *words):
    before = sorted(store.root.rglob("*"))
    assert sync.main(["study", *words]) == 1
    printed = capsys.readouterr()
    said = [line for line in printed.err.splitlines() if line.strip()]
    assert len(said) == 1, said
    assert said[0].startswith("W&B does not work here: ")
    assert named in said[0]
    assert said[0].endswith("0 written, 3 left, the same command goes on with them.")
    assert printed.out == ""
    assert sorted(store.root.rglob("*")) == before


def test_without_a_key_one_sentence_says_so(store, monkeypatch, capsys):
    monkeypatch.setattr(requests, "head", lambda *_, **__: None)
    check_stops(store, capsys, "there is no API key")


def test_a_key_of_the_wrong_form_is_one_sentence(store, monkeypatch, capsys):
    monkeypatch.setattr(requests, "head", lambda *_, **__: None)
    monkeypatch.setenv("WANDB_API_KEY", "short")
    check_stops(store, capsys, "WANDB_API_KEY")


def test_without_a_network_one_sentence_says_so(store, monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        check_stops(store, capsys, f"{address} cannot be reached")


def test_a_client_that_was_told_to_stay_offline_is_one_sentence(store, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_stops(store, capsys, "WANDB_MODE is 'offline'")


@pytest.mark.parametrize("words", [(), ("--offline",)])
@pytest.mark.parametrize(
    ("name", "value"), [("WANDB_MODE", "disabled"), ("WANDB_DISABLED", "true")]
)
def test_a_client_that_was_switched_off_writes_nothing(
    name, value, words, store, monkeypatch, capsys
):
    monkeypatch.setenv(name, value)
    check_stops(store, capsys, f"{name} is {value!r}", *words)


def test_an_unknown_experiment_is_one_sentence_with_the_known_ones(store, capsys):
    assert sync.main(["nope"]) == 2
    assert capsys.readouterr().err.endswith("under results/runs; there are study.\n")


def test_the_memory_is_small_and_beside_the_records(store, server):
    sync.main(["study"])
    (place,) = json.loads((store.root / "study" / sync.SYNCED).read_text()).items()
    assert place[0].endswith(" /stackelberg-bench")
    assert set(place[1]) == set(IDS)
    assert sorted(record.run_id for record in store.read("study")) == sorted(IDS)
