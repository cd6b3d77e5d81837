"""Whatever is wrong with a file is one sentence; nothing is cached and nothing is written."""

import ctypes
import errno
import json
import os
import sys
from contextlib import contextmanager

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from bench.__main__ import main
from bench.files import flat
from bench.files.minari import dataset_path
from tests.support import files

ID = "noise/mixed-v0"


@pytest.fixture
def command(tmp_path, monkeypatch, capfd):
    """Return a function that runs words and gives exit status and complaint, having left nothing.

    What may stay in the cache is a remembered hash, which is of the file as it is.
    """
    results = tmp_path / "results"
    results.mkdir()

    def run(*words):
        monkeypatch.chdir(results)
        monkeypatch.setattr(sys, "argv", ["bench", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capfd.readouterr()
        assert printed.out == ""
        assert list(results.iterdir()) == []
        kept = [p for p in flat.cache_folder().rglob("*") if p.is_file()]
        assert all(p.parent.name == "hashes" and len(p.read_text()) == 64 for p in kept)
        assert not list(flat.cache_folder().rglob("*.partial"))
        return int(stop.value.code or 0), printed.err

    return run


def assert_one_sentence(status, complaint, named):
    """Assert exit status 2 and one sentence that names what is wrong."""
    assert status == 2
    assert named in complaint
    assert len(complaint.splitlines()) == 1
    assert complaint.endswith(".\n")
    assert "Traceback" not in complaint
    assert "None" not in complaint


# D4RL


def cut(share):
    def damage(path):
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return damage


def zeroed(path):
    """Overwrite what follows the header; no size tells."""
    content = bytearray(path.read_bytes())
    content[100 : len(content) // 2] = bytes(len(content) // 2 - 100)
    path.write_bytes(content)


def damaged_chunk(path):
    """Write compressed observations of which a part cannot be unpacked."""
    with h5py.File(path, "w") as file:
        for name, column in files.d4rl_columns((400, 300)).items():
            file.create_dataset(
                name, data=column, compression="gzip", chunks=(100, *column.shape[1:])
            )
        chunk = file["observations"].id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 10 : chunk.byte_offset + 60] = b"\xff" * 50
    path.write_bytes(content)


def without(*names):
    def damage(path):
        with h5py.File(path, "a") as file:
            for name in names:
                del file[name]

    return damage


def replaced(name, make):
    """Return a damage that puts something else in a column's place."""

    def damage(path):
        with h5py.File(path, "a") as file:
            column = file[name][:]
            del file[name]
            found = make(column)
            file.create_dataset(name, **found) if isinstance(found, dict) else file.__setitem__(
                name, found
            )

    return damage


def put(value, row=3, dtype=None):
    def change(column):
        column = column.astype(dtype or column.dtype)
        column[row] = value
        return column

    return change


def folder_instead(path):
    path.unlink()
    path.mkdir()


D4RL_DAMAGE = {
    "cut in half": (cut(0.5), "truncated"),
    "cut near its end": (cut(0.99), "truncated"),
    "zeros": (zeroed, "no readable HDF5"),
    "a chunk damaged": (damaged_chunk, "damaged"),
    "no HDF5": (lambda path: path.write_text("<html>404</html>"), "no readable HDF5"),
    "of no bytes": (lambda path: path.write_bytes(b""), "no readable HDF5"),
    "a folder": (folder_instead, "should be a file"),
    "keys missing": (without("rewards", "terminals"), "has no rewards, terminals"),
    "a group for a key": (
        lambda p: [without("rewards")(p), h5py.File(p, "a").create_group("rewards")],
        "has no rewards",
    ),
    "a null for a key": (replaced("rewards", lambda _: h5py.Empty("f4")), "has no rewards"),
    "a number for a key": (replaced("rewards", lambda _: 1.0), "has no rewards"),
    "NaN observed": (replaced("observations", put(np.nan)), "observations should be finite"),
    "infinite action": (replaced("actions", put(np.inf)), "row 3 holds inf"),
    "NaN action": (replaced("actions", put(np.nan)), "actions should be finite"),
    "NaN reward": (replaced("rewards", put(np.nan)), "rewards should be finite"),
    "a reward beyond float32": (replaced("rewards", put(1e39, dtype="f8")), "row 3 holds 1e+39"),
    "NaN terminal": (replaced("terminals", put(np.nan, dtype="f4")), "terminals should be 0 or 1"),
    "overflow": (replaced("observations", put(1e300, dtype="f8")), "row 3 holds 1e+300"),
    "ragged": (replaced("actions", lambda c: c[:-1]), "13 of actions"),
    "text": (replaced("rewards", lambda c: {"data": ["x"] * len(c)}), "has type object"),
    "complex": (replaced("rewards", lambda c: c.astype("c8")), "has type complex64"),
    "two rewards a row": (replaced("rewards", lambda c: np.stack([c, c], 1)), "(N,) or (N, 1)"),
    "flags of 2": (replaced("timeouts", lambda c: 2 * c.astype("u1")), "timeouts should be 0 or 1"),
    "rows of nothing": (replaced("observations", lambda c: c[:, :0]), "its rows hold nothing"),
    "negative actions": (replaced("actions", lambda c: np.full(len(c), -1)), "numbered from 0"),
    "all timed out": (replaced("timeouts", np.ones_like), "holds no transition"),
}


@pytest.mark.parametrize("damage", D4RL_DAMAGE)
def test_a_bad_d4rl_file_is_one_sentence(command, damage):
    make, named = D4RL_DAMAGE[damage]
    make(files.write_d4rl(files.d4rl_columns()))
    words = ("dataset=d4rl", f"dataset.id={files.HOPPER}")
    assert_one_sentence(*command(*words), named)


def test_a_d4rl_file_of_no_rows_is_one_sentence(command):
    files.write_d4rl({name: column[:0] for name, column in files.d4rl_columns().items()})
    words = ("dataset=d4rl", f"dataset.id={files.HOPPER}")
    assert_one_sentence(*command(*words), "is empty")


def test_a_d4rl_file_of_one_row_is_one_sentence(command):
    files.write_d4rl({name: column[:1] for name, column in files.d4rl_columns().items()})
    words = ("dataset=d4rl", f"dataset.id={files.HOPPER}")
    assert_one_sentence(*command(*words), "holds no transition")


@pytest.mark.parametrize("program", ["describe", "export"])
def test_other_commands_say_the_same(command, program):
    cut(0.5)(files.write_d4rl(files.d4rl_columns()))
    words = ("dataset=d4rl", f"dataset.id={files.HOPPER}")
    words = words if program == "describe" else ("mine/x-v0", *words)
    assert_one_sentence(*command(program, *words), "it may be truncated")
    assert not dataset_path("mine").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("dataset=d4rl dataset.id=hoper-medium-v2", "hopper-medium-v2"),
        ("dataset=d4rl dataset.id=7", "string"),
        ("dataset=d4rl dataset.boundaries=mine", "'d4rl' or 'corrected'"),
        ("dataset=minari dataset.id=pen/human", "should be a Minari id such as D4RL/pen/human-v2"),
        ("dataset=minari dataset.id=../../etc-v0", "should be a Minari id"),
        ("dataset=minari dataset.expert_return=much", "number"),
    ],
)
def test_wrong_settings_are_one_sentence(command, words, named):
    assert_one_sentence(*command(*words.split()), named)


def refusals(path, source, rounds, seed):
    """Return the sentences that bytes damaged at random lead to; most of them change no more."""
    rng = np.random.default_rng(seed)
    content = path.read_bytes()
    sentences = []
    for _ in range(rounds):
        damaged = bytearray(content)
        for at in rng.integers(len(content), size=6):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        files.forget()
        try:
            source.load("any", 0, 0.9, None)
        except flat.UnusableFile as refused:
            sentences.append(str(refused))
    return sentences


def test_random_damage_is_never_a_traceback():
    path = files.write_d4rl(files.d4rl_columns((4, 3)))
    sentences = refusals(path, files.d4rl_source(), 150, seed=0)
    assert len(sentences) > 2
    assert all(len(sentence.splitlines()) == 1 for sentence in sentences)


def test_random_damage_of_a_minari_dataset_is_never_a_traceback():
    episodes, *kinds = files.uneven_vectors((2, 3))
    files.write_minari(ID, episodes, *kinds)
    sentences = refusals(minari_file(), files.minari_source(ID), 30, seed=1)
    assert len(sentences) > 2
    assert all(len(sentence.splitlines()) == 1 for sentence in sentences)


# Minari


def minari_file():
    return dataset_path(ID) / "data" / "main_data.hdf5"


def minari_says(**changes):
    def damage():
        path = dataset_path(ID) / "data" / "metadata.json"
        said = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in said.items() if v is not None}))

    return damage


def in_episode(damage):
    """Return a damage of the second episode."""

    def change():
        with h5py.File(minari_file(), "a") as file:
            damage(file["episode_1"])

    return change


def column(name, make):
    def damage(episode):
        found = make(episode[name][:])
        del episode[name]
        episode[name] = found

    return damage


def remove(name):
    def damage(episode):
        del episode[name]

    return damage


MINARI_DAMAGE = {
    "cut in half": (lambda: cut(0.5)(minari_file()), "cannot be read to its end"),
    "cut near its end": (lambda: cut(0.99)(minari_file()), "cannot be read to its end"),
    "no HDF5": (lambda: minari_file().write_text("<html>"), "cannot be read to its end"),
    "no data": (lambda: minari_file().unlink(), "no readable Minari dataset"),
    "a folder": (lambda: folder_instead(minari_file()), ""),
    "metadata cut": (
        lambda: cut(0.5)(minari_file().with_name("metadata.json")),
        "no readable Minari",
    ),
    "metadata no mapping": (
        lambda: minari_file().with_name("metadata.json").write_text("[]"),
        "no readable Minari",
    ),
    "metadata missing": (
        lambda: minari_file().with_name("metadata.json").unlink(),
        "no readable Minari",
    ),
    "spaces of nonsense": (minari_says(observation_space='{"type": "Box"}'), "no readable Minari"),
    "of text": (
        minari_says(
            observation_space=json.dumps(
                {"type": "Text", "max_length": 3, "min_length": 1, "charset": "a"}
            )
        ),
        "more than numbers",
    ),
    "another format": (minari_says(data_format="arrow"), "should be as hdf5"),
    "too few steps": (minari_says(total_steps=20), "should have 20 steps, but holds 14"),
    "too many steps": (minari_says(total_steps=3), "should have 3 steps, but holds more"),
    "no steps": (minari_says(total_steps=0, total_episodes=0), "is empty"),
    "an episode too many": (minari_says(total_episodes=9), "cannot be read to its end"),
    "keys missing": (in_episode(remove("rewards")), "cannot be read to its end"),
    "observations missing": (in_episode(remove("observations")), "cannot be read to its end"),
    "NaN observed": (
        in_episode(column("observations", put(np.nan, 0))),
        "each observation should be finite",
    ),
    "infinite reward": (
        in_episode(column("rewards", put(np.inf, 0))),
        "each reward should be finite",
    ),
    "a reward beyond float32": (
        in_episode(column("rewards", put(1e39, 0))),
        "each reward should be finite",
    ),
    "overflow": (
        in_episode(column("observations", put(1e300, 0, "f8"))),
        "each observation should be finite",
    ),
    "ragged": (in_episode(column("actions", lambda c: np.append(c, 0))), "should be 1 actions"),
    "an observation short": (
        in_episode(column("observations", lambda c: c[:-1])),
        "should be 2 observations",
    ),
    "terminations short": (
        in_episode(column("terminations", lambda c: c[:0])),
        "1 rewards, but 0 termin",
    ),
    "another size": (in_episode(column("observations", lambda c: c[:, :2])), "rows of shape (2,)"),
    "text observed": (
        in_episode(column("observations", lambda c: np.full(c.shape, b"x"))),
        "values of type",
    ),
    "text rewards": (
        in_episode(column("rewards", lambda c: np.full(c.shape, b"x"))),
        "one number per step",
    ),
    "action out of range": (in_episode(column("actions", put(2, 0))), "values such as 2"),
    "action below range": (in_episode(column("actions", put(-1, 0))), "values such as -1"),
    "action a fraction": (
        in_episode(column("actions", put(0.5, 0, "f4"))),
        "values of type float32",
    ),
}


@pytest.mark.parametrize("damage", MINARI_DAMAGE)
def test_a_bad_minari_dataset_is_one_sentence(command, damage):
    make, named = MINARI_DAMAGE[damage]
    episodes, *kinds = files.uneven_vectors()
    files.write_minari(ID, episodes, *kinds)
    make()
    words = ("dataset=minari", f"dataset.id={ID}")
    assert_one_sentence(*command(*words), named)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (put(np.nan, 0), "each action should be finite"),
        (lambda c: c[:, :1], "rows of shape (1,)"),
    ],
    ids=["NaN", "another size"],
)
def test_a_bad_continuous_action_is_one_sentence(command, make, named):
    rng = np.random.default_rng(0)
    episodes = [
        files.episode(rng.normal(size=(4, 3)).astype("f4"), rng.uniform(-1, 1, (3, 2)), np.zeros(3))
        for _ in range(2)
    ]
    files.write_minari(ID, episodes, spaces.Box(-9, 9, (3,)), spaces.Box(-1, 1, (2,), np.float64))
    in_episode(column("actions", make))()
    words = ("dataset=minari", f"dataset.id={ID}")
    assert_one_sentence(*command(*words), named)


def test_actions_that_are_no_single_choice_are_refused(command):
    episodes = [files.episode(np.zeros((3, 3), "f4"), np.zeros((2, 2), dtype=int), np.zeros(2))]
    box = spaces.Box(-1, 1, (3,))
    files.write_minari(ID, episodes, box, spaces.MultiDiscrete([2, 2]))
    words = ("dataset=minari", f"dataset.id={ID}")
    assert_one_sentence(*command(*words), "has MultiDiscrete actions")


# The machine


def test_a_full_disk_is_one_sentence(command, monkeypatch):
    files.write_d4rl(files.d4rl_columns())
    written = flat.Columns.append

    def full(self, **parts):
        if "observation" in parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(self, **parts)

    monkeypatch.setattr(flat.Columns, "append", full)
    words = ("dataset=d4rl", f"dataset.id={files.HOPPER}")
    assert_one_sentence(*command(*words), "There is no space left in")
    assert list((flat.cache_folder() / "flat").iterdir()) == []


def test_a_really_full_disk_is_one_sentence_too(tmp_path):
    """/dev/full refuses every byte, but only once they are written: as a disk does."""
    (tmp_path / "reward.npy").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"), flat.Columns(tmp_path, 10**5) as columns:
        columns.append(reward=np.zeros(10**5))


def test_a_cache_that_is_a_file_is_one_sentence(command, monkeypatch, tmp_path):
    files.write_d4rl(files.d4rl_columns())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STACKELBERG_BENCH_CACHE", str(tmp_path / "file"))
    words = ("dataset=d4rl", f"dataset.id={files.HOPPER}")
    assert_one_sentence(*command(*words), str(tmp_path / "file"))


class Header(ctypes.Structure):
    """Of Linux's calls about capabilities."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class Data(ctypes.Structure):
    """Sets of capabilities, as bits."""

    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


@pytest.fixture
def no_privilege():
    """Take from root, for the time of a test, what lets it pass over permissions."""
    if os.getuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None)
    header, data = Header(0x20080522, 0), (Data * 2)()
    if not hasattr(libc, "capset") or libc.capget(ctypes.byref(header), data) != 0:
        pytest.skip("root's privileges cannot be taken from it here")
    before = data[0].effective
    # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
    data[0].effective = before & ~0b110
    libc.capset(ctypes.byref(header), data)
    yield
    data[0].effective = before
    libc.capset(ctypes.byref(header), data)


@contextmanager
def shut(path, mode=0):
    """Take the rights to a file or a folder from everybody for a while."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


def written(kind):
    """Write a dataset and return its file and the words that name it."""
    if kind == "d4rl":
        path = files.write_d4rl(files.d4rl_columns())
        return path, ("dataset=d4rl", f"dataset.id={files.HOPPER}")
    episodes, *kinds = files.uneven_vectors()
    files.write_minari(ID, episodes, *kinds)
    return minari_file(), ("dataset=minari", f"dataset.id={ID}")


@pytest.mark.usefixtures("no_privilege")
@pytest.mark.parametrize("kind", ["d4rl", "minari"])
@pytest.mark.parametrize("place", ["file", "folder"])
def test_what_may_not_be_read_is_named(command, kind, place):
    path, words = written(kind)
    path = path if place == "file" else path.parent
    with shut(path):
        status, complaint = command(*words)
    assert_one_sentence(status, complaint, "may not be read or written here")
    assert str(path) in complaint


@pytest.mark.usefixtures("no_privilege")
@pytest.mark.parametrize("kind", ["d4rl", "minari"])
def test_a_cache_that_may_not_be_written_is_named(command, kind):
    _, words = written(kind)
    flat.cache_folder().mkdir()
    with shut(flat.cache_folder(), 0o555):
        status, complaint = command(*words)
    assert_one_sentence(status, complaint, "may not be read or written here")
    assert str(flat.cache_folder()) in complaint


@pytest.mark.usefixtures("no_privilege")
@pytest.mark.parametrize("dataset", ["d4rl", "minari"])
def test_a_folder_for_downloads_that_may_not_be_seen_is_named(
    command, dataset, tmp_path, monkeypatch
):
    for variable in ("MINARI_DATASETS_PATH", "D4RL_DATASET_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / "shut" / variable))
    (tmp_path / "shut").mkdir()
    with shut(tmp_path / "shut"):
        status, complaint = command(f"dataset={dataset}")
    assert_one_sentence(status, complaint, "may not be read or written here")
    assert str(tmp_path / "shut") in complaint
