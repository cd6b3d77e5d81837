"""The index of the store: a cache that saves reading and is never believed against a record."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.store.index import FILE
from bench.store.record import RunRecord
from bench.store.records import DamagedRecordError, RunStore, Stored

RECORD = RunRecord(
    run_id="a",
    experiment="sweep",
    status="completed",
    algorithm="cql",
    environment="lock",
    seed=0,
    config={"algorithm": {"name": "cql"}, "note": "tab\tand\nline, \u2028 and \xe4"},
    evaluations=[{"update": 1, "returns": [0.5, 1.5]}, {"update": 2, "returns": [2.0]}],
    final={"regret": 0.1, "regret_to_covered": None},
    metrics={"loss": [[10, 0.5], [20, 0.25]]},
    code="c0de",
)
MEAN = {"update": 1, "returns": [1.0]}
SUMMARY = replace(RECORD, metrics={}, evaluations=[MEAN, RECORD.evaluations[-1]])
COUNT = 20


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so few records as are here be many enough for an index."""
    monkeypatch.setattr("bench.store.records.FEW", 0)


class CountingStore(RunStore):
    """A store that counts the records it parses."""

    parsed = 0

    def load(self, path: Path) -> RunRecord:
        self.parsed += 1
        return super().load(path)


def age(root: Path) -> None:
    """Make every record old enough for its time of change to tell of any further one."""
    for path in root.glob("*/*.json"):
        os.utime(path, ns=(time.time_ns() - 10**9,) * 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a store of two experiments, half of one failed."""
    store = RunStore(tmp_path)
    for i in range(COUNT):
        status = "failed" if i % 2 else "completed"
        store.write(replace(RECORD, run_id=f"{i:02d}", status=status))
    store.write(replace(RECORD, run_id="01", experiment="other"))
    age(tmp_path)
    return tmp_path


def look_up(store: RunStore) -> dict[str, Stored]:
    """Return what there is of every run of the store."""
    paths = store.root.glob("*/[!.]*.json")
    return store.look_up({path.stem: RECORD.code for path in paths}, "sweep")


def status(store: RunStore, path: Path) -> str:
    """Return a record's status by way of the store's index."""
    return store.look_up({path.stem: None}, path.parent.name)[path.stem].status


def parsed(root: Path) -> int:
    """Return how many records a new store parses to know them all."""
    store = CountingStore(root)
    stored = look_up(store)
    assert sorted(stored) == [f"{i:02d}" for i in range(COUNT)]
    # The failed run of one experiment gives way to that of the other.
    assert sum(found.status == "failed" for found in stored.values()) == COUNT // 2 - 1
    assert [r.run_id for r in store.summaries("sweep")] == [f"{i:02d}" for i in range(COUNT)]
    return store.parsed


def test_the_second_look_parses_nothing(root: Path) -> None:
    assert parsed(root) == COUNT + 1
    assert parsed(root) == 0


def test_a_summary_is_the_record_without_what_is_long(root: Path) -> None:
    for _ in range(2):
        found = RunStore(root).summaries("other")
        assert list(found) == [replace(SUMMARY, run_id="01", experiment="other")]


@pytest.mark.parametrize("together", [1, 3, COUNT, 64])
def test_summaries_come_in_order_however_many_are_parsed_together(
    root: Path, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.store.records.TOGETHER", together)
    found = list(RunStore(root).summaries("sweep"))
    assert [record.run_id for record in found] == [f"{i:02d}" for i in range(COUNT)]
    assert [replace(record, run_id="", status="completed") for record in found] == [
        replace(SUMMARY, run_id="")
    ] * COUNT
    # Names in what is parsed together are one text.
    assert len({id(list(record.final)[1]) for record in found}) == -(-COUNT // together)


@pytest.mark.parametrize("keep_times", [False, True], ids=["edited", "edited, old time restored"])
def test_a_record_changed_by_hand_is_noticed(root: Path, keep_times: bool) -> None:
    parsed(root)
    store, path = RunStore(root), root / "sweep" / "00.json"
    assert status(store, path) == "completed"
    before = path.stat()
    # Of the same length, so that only times can tell.
    path.write_text(path.read_text().replace('"completed"', '"failed"   '))
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    for one in (store, RunStore(root)):
        assert status(one, path) == "failed"
        assert next(one.summaries("sweep")).status == "failed"


def test_what_is_written_twice_within_a_tick_is_read_twice(tmp_path: Path) -> None:
    store = CountingStore(tmp_path)
    path = store.write(RECORD)
    os.utime(path, ns=(time.time_ns() + 10**9,) * 2)
    assert status(store, path) == "completed"
    before = store.parsed
    assert status(store, path) == "completed"
    assert store.parsed > before


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"\xff\x00garbage\n\n"),
        lambda file: file.write_bytes(file.read_bytes()[:-100]),
        lambda file: file.write_bytes(file.read_bytes().replace(b"completed", b"cOmpleted", 1)),
        lambda file: (file.unlink(), file.mkdir()),
    ],
    ids=["missing", "empty", "garbage", "cut", "a flipped letter", "a folder"],
)
def test_an_index_that_is_no_good_costs_time_only(root: Path, harm) -> None:
    parsed(root)
    harm(root / "sweep" / FILE)
    mended = not (root / "sweep" / FILE).is_dir()
    assert parsed(root) == COUNT * (1 if mended else 2)
    if mended:
        assert parsed(root) == 0


def test_an_index_of_records_with_other_fields_is_not_used(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed(root)
    monkeypatch.setattr("bench.store.records.SUMMARY_VERSION", "2 run_id")
    assert parsed(root) == COUNT + 1


@pytest.mark.parametrize("error", [PermissionError(13, "no"), OSError(28, "No space left")])
def test_a_store_that_may_only_be_read_is_read(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("bench.store.index.atomic_write", refuse)
    for _ in range(2):
        # All of them for one question, and those of one experiment for another.
        assert parsed(root) == 2 * COUNT + 1
    assert not list(root.rglob(".sweep"))


def test_a_damaged_record_is_named_when_it_is_wanted_and_stops_nothing_else(root: Path) -> None:
    parsed(root)
    path = root / "sweep" / "04.json"
    path.write_text("garbage")
    for _ in range(2):
        store = RunStore(root)
        others = {f"{i:02d}": None for i in range(COUNT) if i != 4}
        assert store.look_up(others, "sweep").keys() == others.keys()
        with pytest.raises(DamagedRecordError, match=r"04\.json is not a run record"):
            look_up(store)
        with pytest.raises(DamagedRecordError, match=r"04\.json is not a run record"):
            list(store.summaries("sweep"))


def test_a_record_whose_evaluations_are_no_list_is_damaged(tmp_path: Path) -> None:
    RunStore(tmp_path).write(replace(RECORD, evaluations={"a": 1}))  # type: ignore[arg-type]
    with pytest.raises(DamagedRecordError, match=r"a\.json is not a run record"):
        list(RunStore(tmp_path).summaries("sweep"))


def test_two_processes_at_once_leave_an_index_that_one_of_them_wrote(root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from bench.store import records\n"
        "records.FEW = 0\n"
        "for i in range(40):\n"
        "    (Path(sys.argv[1]) / 'sweep' / '.sweep' / 'index').unlink(missing_ok=True)\n"
        "    assert len([*records.RunStore(Path(sys.argv[1])).summaries('sweep')]) == 20"
    )
    command = [sys.executable, "-c", program, str(root)]
    running = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert {p.name for p in (root / "sweep" / ".sweep").iterdir()} == {"index", "summaries"}
    assert parsed(root) <= 1  # that of the other experiment


@given(st.lists(st.tuples(st.sampled_from("wdrt"), st.integers(0, 3)), max_size=12))
def test_whatever_happens_to_records_the_index_tells_what_the_files_say(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Write, damage, remove or touch records in any order, and ask after each step."""
    root = tmp_path_factory.mktemp("store")
    for number, (step, i) in enumerate(steps):
        path = root / "sweep" / f"{i}.json"
        if step == "w":
            ended = "failed" if number % 2 else "completed"
            RunStore(root).write(replace(RECORD, run_id=str(i), seed=number, status=ended))
            age(root)
        elif step == "d" and path.exists():
            path.write_text(json.dumps({"run_id": number}))
        elif step == "r":
            path.unlink(missing_ok=True)
        elif path.exists():
            path.touch()
        store = RunStore(root)
        for one in root.glob("*/[!.]*.json"):
            try:
                expected = store.load(one).status
            except DamagedRecordError:
                with pytest.raises(DamagedRecordError):
                    status(store, one)
            else:
                assert status(store, one) == expected


@pytest.mark.parametrize("count", [COUNT, 4 * COUNT])
def test_a_second_look_opens_a_few_files_and_looks_at_each_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    for i in range(count):
        RunStore(tmp_path).write(replace(RECORD, run_id=f"{i:02d}"))
    age(tmp_path)
    ids = {f"{i:02d}": RECORD.code for i in range(count)}
    RunStore(tmp_path).look_up(ids, "sweep")
    opened: list[str] = []
    looked_at: list[str] = []
    stat, open_path, read = os.stat, Path.open, Path.read_bytes
    monkeypatch.setattr(os, "stat", lambda p, **k: looked_at.append(str(p)) or stat(p, **k))
    monkeypatch.setattr(Path, "open", lambda p, *a, **k: opened.append(p.name) or open_path(p, *a))
    monkeypatch.setattr(Path, "read_bytes", lambda p: opened.append(p.name) or read(p))
    store = RunStore(tmp_path)
    for ask in (lambda: store.look_up(ids, "sweep"), lambda: store.heads("sweep")):
        opened.clear(), looked_at.clear()
        assert len(ask()) == count
        assert set(opened) <= {"index", "records.zip"}
        assert len(opened) <= 2
        assert sum(name.endswith(".json") for name in looked_at) == count
        assert len(looked_at) <= count + 4
    opened.clear()
    assert len(list(store.summaries("sweep"))) == count
    assert set(opened) <= {"index", "summaries", "records.zip"}
    assert len(opened) <= 3
