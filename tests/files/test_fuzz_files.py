"""Files of any content: a dataset of finite numbers or one sentence, and nothing half-written."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.files import flat
from bench.files.minari import dataset_path
from tests.support import files, sweeps

# Of no simulator: what is tried here is the file.
ID = "pen-cloned-v1"
MINARI_ID = "fuzz/any-v0"
ROWS = 9
NUMBERS = (0, 1, -1, 2, 0.5, 1e-45, 5e-324, -3.4e38, 3.4e38, 1e39, 1e300, np.nan, np.inf, -np.inf)
TYPES = ("f2", "f4", "f8", ">f8", "i1", "i8", "u8", "?", "c8", "S3", "text")
SHAPES = ((), (0,), (ROWS,), (ROWS, 1), (ROWS, 3), (ROWS, 0), (ROWS - 1,), (ROWS, 2, 2), (1, ROWS))
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@st.composite
def odd_columns(draw):
    """Return a column of some type and shape, and how it is stored."""
    kind, shape = draw(st.sampled_from(TYPES)), draw(st.sampled_from(SHAPES))
    size = int(np.prod(shape, dtype=int))
    numbers = draw(st.lists(st.sampled_from(NUMBERS), min_size=size, max_size=size))
    if kind == "text":
        return {"data": np.full(shape, "x", dtype=object), "dtype": h5py.string_dtype()}
    with np.errstate(all="ignore"):
        values = np.array(numbers, dtype="f8" if kind in ("i1", "i8", "u8", "?") else None)
        values = np.nan_to_num(values) if kind in ("i1", "i8", "u8") else values
        data = values.astype(kind).reshape(shape)
    stored = {"compression": "gzip"} if draw(st.booleans()) and data.ndim and data.size else {}
    return {"data": data, **stored}


@st.composite
def extreme(draw, column):
    """Return a column with one number of it replaced."""
    changed = column.astype("f8")
    at = draw(st.integers(0, changed.size - 1))
    changed.reshape(-1)[at] = draw(st.sampled_from(NUMBERS))
    return {"data": changed}


@st.composite
def changes(draw, names, columns):
    """Return what takes the place of one or two columns, None where one is left away."""
    changed = {}
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        choice = draw(st.integers(0, 4))
        if choice == 0:
            changed[name] = None
        elif choice < 3 and np.asarray(columns[name]).size:
            changed[name] = draw(extreme(np.asarray(columns[name])))
        else:
            changed[name] = draw(odd_columns())
    return changed


def replace_columns(group, changed):
    """Put other columns into a file."""
    for name, given_ in changed.items():
        if name in group:
            del group[name]
        if given_ is not None:
            group.create_dataset(name, **given_)


def check(source):
    """Load the source and look at what it gives and leaves."""
    files.forget()
    task, said = None, ""
    try:
        task = source.load("any", 0, 0.9, None)
    except flat.UnusableFile as refused:
        said = str(refused)
    if task is None:
        assert len(said.splitlines()) == 1
        kept = [path for path in flat.cache_folder().rglob("*") if path.is_file()]
        assert all(path.parent.name == "hashes" for path in kept), said
        return
    storage = task.data.storage
    assert len(storage) > 0
    for name, column in storage.columns.items():
        assert len(column) == len(storage), name
        assert np.isfinite(column.astype(np.float32)).all(), name
    spec = task.data.spec
    ends = (spec.reward_min, spec.reward_max, spec.v_min, spec.v_max, task.behavior_value)
    assert np.isfinite(ends).all()
    clear()


def clear():
    """Remove what an example has left in the cache."""
    for path in sorted(flat.cache_folder().rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


COLUMNS = files.d4rl_columns((4, 5))


@settings(max_examples=80, suppress_health_check=SLOW)
@given(changed=changes(tuple(COLUMNS), COLUMNS))
def test_any_d4rl_file_is_a_dataset_or_one_sentence(changed):
    path = files.write_d4rl(COLUMNS, ID)
    with h5py.File(path, "a") as file:
        replace_columns(file, changed)
    check(files.d4rl_source(ID))


IN_EPISODE = ("observations", "actions", "rewards", "terminations", "truncations")


@settings(max_examples=40, suppress_health_check=SLOW)
@given(data=st.data())
def test_any_minari_file_is_a_dataset_or_one_sentence(data):
    path = dataset_path(MINARI_ID) / "data" / "main_data.hdf5"
    if not path.exists():
        episodes, *kinds = files.uneven_vectors((ROWS, 3))
        files.write_minari(MINARI_ID, episodes, *kinds)
        path.with_suffix(".whole").write_bytes(path.read_bytes())
    path.write_bytes(path.with_suffix(".whole").read_bytes())
    with h5py.File(path, "a") as file:
        episode = file["episode_0"]
        columns = {name: episode[name][:] for name in IN_EPISODE}
        replace_columns(episode, data.draw(changes(IN_EPISODE, columns)))
    check(files.minari_source(MINARI_ID))


@settings(max_examples=4, suppress_health_check=SLOW)
@given(data=st.data())
def test_no_completed_record_holds_a_number_that_is_not_finite(
    data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    changed = {name: COLUMNS[name].astype("f8") for name in ("observations", "rewards", "actions")}
    for column in changed.values():
        numbers = st.sampled_from((0.0, 1e-45, 1e-30, -1e-30, 1e30, 3.4e38, -3.4e38))
        column.reshape(-1)[:] = data.draw(
            st.lists(numbers, min_size=column.size, max_size=column.size)
        )
    files.forget()
    files.write_d4rl({**COLUMNS, **changed}, ID)
    monkeypatch.chdir(tmp_path)
    words = ("dataset=d4rl", f"dataset.id={ID}", "algorithm=bc", "num_updates=2", "eval_every=2",
             "launcher=local", "tracking=none", "compile=off")  # fmt: skip
    assert sweeps.run_here(monkeypatch, *words) in (0, 1, 2)
    for path in (tmp_path / "results/runs/default").glob("*.json"):
        record = json.loads(path.read_text(), parse_constant=pytest.fail)
        assert record["status"] in ("completed", "failed")
    assert not list(tmp_path.rglob("*.partial"))
