"""Packs: every record byte for byte, read by everything, and lost by no kill."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.store import heartbeats, pack
from bench.store.folders import SweepFiles
from bench.store.packing import pack_records, unpack_records
from bench.store.record import RunRecord
from bench.store.records import DamagedRecordError, RunStore

RECORD = RunRecord(
    run_id="0",
    experiment="sweep",
    status="completed",
    algorithm="cql",
    environment="lock",
    seed=0,
    config={"note": "\u2028 and \xe4"},
    final={"regret": 0.1},
    metrics={"loss": [[10, 0.5]]},
    code="c0de",
)
IDS = [f"{i:016x}" for i in range(5)]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Return a store of five records written at times of their own, one in odd bytes."""
    made = RunStore(tmp_path / "runs")
    for i, run_id in enumerate(IDS):
        path = made.write(replace(RECORD, run_id=run_id, seed=i))
        if i == 3:
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + b"\n\n")
        os.utime(path, ns=(10**18 + 123_456_789 * i,) * 2)
    return made


def said(store: RunStore) -> dict[str, object]:
    """Return all that a store says of its records, by every way of asking."""
    codes = dict.fromkeys(IDS, RECORD.code)
    return {
        "experiments": store.experiments(),
        "contents": {p.name: store.content(p) for p in store.paths("sweep")},
        "records": list(store.read("sweep")),
        "heads": store.heads("sweep"),
        "summaries": list(store.summaries("sweep")),
        "times": store.times("sweep"),
        "found": [store.find(i) for i in IDS],
        "written": [store.written(i) for i in IDS],
        "holds": [store.holds(store.path("sweep", i)) for i in [*IDS, "none"]],
        "looked up": store.look_up(codes, "sweep"),
    }


def files(store: RunStore) -> dict[str, bytes]:
    """Return the bytes of the records that lie as files."""
    return {p.name: p.read_bytes() for p in store.root.glob("sweep/[!.]*.json")}


@pytest.mark.parametrize("few", [0, 64], ids=["by index", "one by one"])
def test_everything_is_the_same_of_a_pack_and_after_it(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("bench.store.records.FEW", few)
    before, loose = said(store), files(store)
    assert pack_records(store, "sweep").records == len(IDS)
    assert files(store) == {}
    assert said(store) == before
    assert unpack_records(store, "sweep").records == len(IDS)
    assert not (store.root / "sweep" / pack.FILE).exists()
    assert said(store) == before
    assert files(store) == loose


def test_a_pack_is_an_archive_that_anything_opens(store: RunStore) -> None:
    loose = files(store)
    pack_records(store, "sweep")
    with zipfile.ZipFile(store.root / "sweep" / pack.FILE) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == loose


def test_what_is_known_of_records_stays_known_when_they_are_packed(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.store.records.FEW", 0)
    heads, summaries = store.heads("sweep"), list(store.summaries("sweep"))
    pack_records(store, "sweep")

    def refuse(*_: object) -> None:
        raise AssertionError("a record was read")

    monkeypatch.setattr(RunStore, "load", refuse)
    assert store.heads("sweep") == heads
    assert list(store.summaries("sweep")) == summaries


def test_a_new_record_goes_before_the_packed_one_and_is_merged(store: RunStore) -> None:
    pack_records(store, "sweep")
    new = replace(RECORD, run_id=IDS[1], status="failed")
    added = replace(RECORD, run_id="f" * 16)
    for record in (new, added):
        store.write(record)
    for moved in (2, 0):
        assert store.load(store.path("sweep", IDS[1])) == new
        assert [head.status for head in store.heads("sweep")].count("failed") == 1
        assert len(store.paths("sweep")) == len(IDS) + 1
        assert pack_records(store, "sweep").records == moved
        assert files(store) == {}


ACTS = ("replace", "unlink", "fsync", "utime")


def die_at(number: int, act: Callable[[], object]) -> bool:
    """Run `act` in a process that ends as if killed at its n-th act on the disk; say if it did."""
    child = os.fork()
    if child == 0:
        left = [number]

        def counting(original: Callable[..., object]) -> Callable[..., object]:
            def counted(*words: object, **named: object) -> object:
                left[0] -= 1
                if left[0] == 0:
                    os._exit(9)
                return original(*words, **named)

            return counted

        for name in ACTS:
            setattr(os, name, counting(getattr(os, name)))
        zipfile.ZipFile.writestr = counting(zipfile.ZipFile.writestr)  # type: ignore[method-assign]
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize("move", [pack_records, unpack_records])
def test_a_kill_at_any_moment_loses_nothing_and_the_command_goes_on(store: RunStore, move) -> None:
    loose = files(store)
    if move is unpack_records:
        pack_records(store, "sweep")
    number = 0
    while die_at(number := number + 1, lambda: move(store, "sweep")):
        assert {p.name: store.content(p) for p in store.paths("sweep")} == loose
        # From the beginning for the next moment.
        if move is pack_records:
            if (store.root / "sweep" / pack.FILE).exists():
                unpack_records(store, "sweep")
        else:
            pack_records(store, "sweep")
    assert number > 2 * len(IDS)
    assert files(store) == ({} if move is pack_records else loose)
    assert {p.name: store.content(p) for p in store.paths("sweep")} == loose


def test_it_is_refused_while_a_sweep_is_at_work(store: RunStore) -> None:
    before = files(store)
    code = (
        "import sys, time; from pathlib import Path; from bench.store.claims import at_work\n"
        "with at_work(Path(sys.argv[1]), 'sweep') as held:\n"
        "    print(held, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(store.root.resolve())]
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as sweep:  # fmt: skip
        assert sweep.stdout is not None
        assert sweep.stdout.readline() == "True\n"
        for move in (pack_records, unpack_records):
            with pytest.raises(UserError, match=r"^A sweep is at work in 'sweep': "):
                move(store, "sweep")
        sweep.communicate("")
    with (
        heartbeats.beating(SweepFiles(store.root / "sweep").heartbeats, "c", IDS, 0, 9),
        pytest.raises(UserError, match=r"^A sweep is at work in 'sweep': "),
    ):
        pack_records(store, "sweep")
    assert files(store) == before
    assert pack_records(store, "sweep").records == len(IDS)


def test_what_cannot_be_moved_is_said_in_a_sentence_and_left(store: RunStore) -> None:
    with pytest.raises(UserError, match=r"^There is no record of 'other' under .*; there are"):
        pack_records(store, "other")
    with pytest.raises(UserError, match=r"^The records of 'sweep' are not packed\.$"):
        unpack_records(store, "sweep")
    store.path("sweep", "damaged").write_text("garbage")
    before = files(store)
    with pytest.raises(DamagedRecordError, match=r"damaged\.json is not a run record"):
        pack_records(store, "sweep")
    assert files(store) == before
    assert not (store.root / "sweep" / pack.FILE).exists()


@pytest.mark.parametrize(
    "harm",
    [lambda b: b"", lambda b: b"garbage", lambda b: b[:-50], lambda b: b[:80] + b"?" + b[81:]],
    ids=["empty", "garbage", "cut", "a flipped letter"],
)
def test_a_damaged_pack_is_named(store: RunStore, harm: Callable[[bytes], bytes]) -> None:
    pack_records(store, "sweep")
    file = store.root / "sweep" / pack.FILE
    file.write_bytes(harm(file.read_bytes()))
    with pytest.raises(UserError, match=r"records\.zip is (damaged at|no pack)"):
        list(store.read("sweep"))


def test_reading_many_packed_records_opens_the_archive_not_each_for_its_directory(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack_records(store, "sweep")
    read: list[object] = []
    directory = pack._directory
    monkeypatch.setattr(pack, "_known", {})
    monkeypatch.setattr(pack, "_directory", lambda *a: read.append(a) or directory(*a))
    said(store)
    assert len(read) == 1
