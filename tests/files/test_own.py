"""A table of one's own: every format and name, with and without a world, and what is refused."""

import csv
import importlib.util

import gymnasium
import h5py
import numpy as np
import pytest

from bench.files.flat import UnusableFile, cache_folder
from bench.files.own import File
from bench.files.readers.own import Names
from bench.measures.regret import FINAL
from bench.worlds.cartpole import CartPoleEnvironment
from bench.worlds.tabular import TabularEnvironment
from tests.support import files
from tests.support.sweeps import records, run_here

SHORT = ("num_updates=3", "batch_size=8", "eval_episodes=2", "tracking=none", "launcher=local")


def source(path, environment=None, trust="check", **columns):
    """Return the source of `conf/dataset/file.yaml`."""
    return File(
        random_return=None,
        expert_return=None,
        trust=trust,
        path=str(path),
        environment=environment,
        columns=Names(**columns),
    )


def load(path, environment=None, **settings):
    return source(path, environment, **settings).load("file", 0, 0.9, None)


def rows_of(world_id, num_episodes=4, max_steps=20, cut=True):
    """Return D4RL's columns of random episodes; each is cut where it is not over."""
    world = gymnasium.make(world_id).unwrapped
    episodes = files.random_episodes(world, num_episodes, max_steps)
    columns = {
        "observations": [one.observations[:-1] for one in episodes],
        "next_observations": [one.observations[1:] for one in episodes],
        "actions": [one.actions for one in episodes],
        "rewards": [one.rewards for one in episodes],
        "terminals": [one.terminations for one in episodes],
        "timeouts": [one.truncations for one in episodes],
    }
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def vectors(lengths=(5, 3, 6), seed=0):
    """Return D4RL's columns of vectors with two actions; every other episode terminates."""
    columns = files.d4rl_columns(lengths, seed)
    return columns | {"actions": np.arange(sum(lengths)) % 2}


def write(path, columns):
    """Write columns in the format that the name ends in."""
    if path.suffix == ".npz":
        np.savez(path, **columns)
    elif path.suffix in (".hdf5", ".h5"):
        with h5py.File(path, "w") as file:
            for name, column in columns.items():
                file[name] = column
    else:
        flat = {}
        for name, column in columns.items():
            if column.ndim == 1:
                flat[name] = column
            else:
                flat |= {f"{name}_{i}": column[:, i] for i in range(column.shape[1])}
        with path.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(flat)
            out.writerows(zip(*(column.tolist() for column in flat.values()), strict=True))
    return path


# Formats and names


@pytest.mark.parametrize("ending", ["npz", "hdf5", "h5", "csv"])
@pytest.mark.parametrize("kind", ["vectors", "continuous", "states"])
def test_every_format_holds_the_same(ending, kind, tmp_path):
    columns = {
        "vectors": vectors,
        "continuous": files.d4rl_columns,
        "states": lambda: vectors() | {"observations": np.arange(14) % 5},
    }[kind]()
    storage = load(write(tmp_path / f"x.{ending}", columns)).data.storage
    # Without next observations, what was cut has no successor; what ended needs none.
    kept = [row for row in range(14) if row != 7]
    np.testing.assert_array_equal(storage.observation, columns["observations"][kept])
    np.testing.assert_array_equal(storage.action, columns["actions"][kept])
    np.testing.assert_allclose(storage.reward, columns["rewards"][kept], rtol=1e-6)
    assert storage.terminated.tolist() == columns["terminals"][kept].tolist()
    assert storage.episode.tolist() == [0] * 5 + [1] * 2 + [2] * 6
    assert storage.step.tolist() == [0, 1, 2, 3, 4, 0, 1, 0, 1, 2, 3, 4, 5]
    going_on = ~storage.terminated
    following = columns["observations"][np.array(kept)[going_on] + 1]
    np.testing.assert_array_equal(storage.next_observation[going_on], following)


def test_next_observations_keep_every_row(tmp_path):
    columns = rows_of("CartPole-v1", 3, 7)
    storage = load(write(tmp_path / "x.npz", columns)).data.storage
    assert len(storage) == len(columns["rewards"])
    np.testing.assert_array_equal(storage.next_observation, columns["next_observations"])


def test_gymnasium_s_names_and_own_ones_are_understood(tmp_path):
    columns = vectors()
    renamed = {
        "observation": columns["observations"], "action": columns["actions"],
        "reward": columns["rewards"], "terminated": columns["terminals"],
        "truncated": columns["timeouts"],
    }  # fmt: skip
    usual = load(write(tmp_path / "x.npz", columns)).data.fingerprint
    assert load(write(tmp_path / "y.npz", renamed)).data.fingerprint == usual
    own = {
        "speed": columns["observations"][:, 0], "angle": columns["observations"][:, 1],
        "height": columns["observations"][:, 2], "dose": columns["actions"],
        "gain": columns["rewards"], "died": columns["terminals"],
        "patient": np.repeat([7, 3, 9], [5, 3, 6]),
    }  # fmt: skip
    path = write(tmp_path / "z.csv", own)
    task = load(
        path, observations=("speed", "angle", "height"), actions="dose", rewards="gain",
        terminals="died", episodes="patient",
    )  # fmt: skip
    assert task.data.fingerprint == usual


def test_whole_numbers_may_be_a_matrix_of_one_column(tmp_path):
    columns = vectors()
    usual = load(write(tmp_path / "x.npz", columns)).data.fingerprint
    matrix = columns | {"actions": columns["actions"][:, np.newaxis]}
    assert load(write(tmp_path / "y.npz", matrix)).data.fingerprint == usual


def test_flags_may_be_words(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("obs_0,action,reward,terminated\n0.5,0,1,False\n1.5,1,2,false\n2.5,0,3,TRUE\n")
    storage = load(path).data.storage
    assert storage.observation.tolist() == [[0.5], [1.5], [2.5]]
    assert storage.terminated.tolist() == [False, False, True]
    assert storage.action.dtype == np.int64


# Worlds


def test_a_world_of_this_project_is_exact_and_agrees(tmp_path):
    path = write(tmp_path / "pole.npz", rows_of("CartPole-v1"))
    task = load(path, "CartPole-v1")
    assert isinstance(task.environment, CartPoleEnvironment)
    assert task.data.provenance["world_check"]["result"] == "agrees"


def test_states_and_actions_that_nobody_met_are_the_world_s(tmp_path):
    columns = rows_of("FrozenLake-v1", 3, 5)
    assert max(columns["observations"].max(), columns["next_observations"].max()) < 15
    task = load(write(tmp_path / "lake.npz", columns), "FrozenLake-v1")
    assert isinstance(task.environment, TabularEnvironment)
    assert task.data.provenance["world_check"]["result"] == "agrees"


def test_another_world_is_refused(tmp_path):
    path = write(tmp_path / "pole.npz", rows_of("CartPole-v1"))
    with pytest.raises(UnusableFile, match="Acrobot-v1 is not the world of pole"):
        load(path, "Acrobot-v1")


def test_rows_that_were_shifted_are_refused(tmp_path):
    columns = rows_of("CartPole-v1", 6)
    del columns["next_observations"]
    honest = load(write(tmp_path / "pole.npz", columns), "CartPole-v1")
    assert honest.data.provenance["world_check"]["result"] == "agrees"
    columns["actions"] = np.roll(columns["actions"], 1)
    with pytest.raises(UnusableFile, match="lead where the world does not"):
        load(write(tmp_path / "late.npz", columns), "CartPole-v1")


def test_episodes_without_an_end_are_longer_than_the_world_s(tmp_path):
    columns = rows_of("MountainCar-v0", 11, 20)
    del columns["next_observations"], columns["timeouts"]
    with pytest.raises(UnusableFile, match="the longest recorded episode has 220 steps"):
        load(write(tmp_path / "car.npz", columns), "MountainCar-v0")


def test_without_a_world_all_but_evaluation_works(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "mine.csv", vectors((20,) * 8))
    monkeypatch.chdir(tmp_path)
    words = ("dataset=file", "dataset.path=mine.csv")
    assert run_here(monkeypatch, "describe", *words) == 0
    assert "dataset.environment names no world" in " ".join(capsys.readouterr().out.split())
    degraded = ("coverage=thin", "coverage.severity=0.5")
    assert run_here(monkeypatch, *words, *degraded, *SHORT, "algorithm=bc") == 0
    (record,) = records(tmp_path).values()
    assert record["status"] == "completed", record["error"]
    assert (record["environment"], record["dataset"]["num_episodes"]) == ("mine", 4)
    assert record["final"] == dict.fromkeys(FINAL)
    assert record["evaluation_reason"] == "dataset.environment names no world"
    assert record["dataset"]["world_check"]["result"] == "not compared"
    assert run_here(monkeypatch, "export", "mine/half-v0", *words, *degraded) == 0
    exported = files.minari_source("mine/half-v0").load("minari", 0, 0.9, None).data
    assert len(exported) == record["dataset"]["num_transitions"]
    # Wherever the file lies, it is the same run.
    (tmp_path / "elsewhere").mkdir()
    path.rename(tmp_path / "elsewhere" / "mine.csv")
    moved = ("dataset=file", "dataset.path=elsewhere/mine.csv")
    assert run_here(monkeypatch, *moved, *degraded, *SHORT, "algorithm=bc") == 0
    assert len(records(tmp_path)) == 1


def test_quality_takes_its_worse_episodes_from_another_file(tmp_path):
    better, worse = vectors(), vectors()
    worse["rewards"] = worse["rewards"] - 5
    write(tmp_path / "better.npz", better)
    write(tmp_path / "worse.npz", worse)
    own = source(tmp_path / "better.npz")
    own.check_worse(1.0, str(tmp_path / "worse.npz"))
    assert own.worse(1.0, str(tmp_path / "worse.npz"), 1).reward.mean() < -3
    with pytest.raises(ValueError, match="should be worse than better"):
        own.check_worse(1.0, str(tmp_path / "better.npz"))


# What is refused


def damaged(**changes):
    return lambda path: write(
        path, {k: v for k, v in (vectors() | changes).items() if v is not None}
    )


def text(content):
    return lambda path: path.write_text(content)


BAD = {
    "no file": ("x.npz", lambda path: None, "x.npz does not exist"),
    "a folder": ("x.npz", lambda path: path.mkdir(), "should be a file in a folder"),
    "another ending": ("x.xlsx", text("1"), "should end in one of .npz, .hdf5, .h5, .csv"),
    "no archive": ("x.npz", text("1"), "is no readable npz file (it is no archive of arrays)"),
    "no HDF5": ("x.h5", text("1"), "is no readable h5 file"),
    "objects": ("x.npz", damaged(rewards=np.array([{}] * 14)), "is no readable npz file"),
    "words": ("x.npz", damaged(rewards=np.array(["x"] * 14)), "rewards has type <U1"),
    "no rewards": ("x.npz", damaged(rewards=None), "dataset.columns.rewards can name another"),
    "too short": ("x.npz", damaged(rewards=np.zeros(13)), "13 of rewards"),
    "NaN": ("x.npz", damaged(rewards=np.full(14, np.nan)), "rewards should be finite"),
    "NaN seen": ("x.npz", damaged(observations=np.full((14, 2), np.nan)), "row 0 holds nan"),
    "too large": ("x.npz", damaged(observations=np.full((14, 2), 1e39)), "row 0 holds 1e+39"),
    "flags of 2": ("x.npz", damaged(terminals=np.full(14, 2)), "terminals should be 0 or 1"),
    "actions below 0": ("x.npz", damaged(actions=np.full(14, -1)), "numbered from 0"),
    "rows of nothing": ("x.npz", damaged(observations=np.zeros((14, 0))), "rows hold nothing"),
    "an empty text": ("x.csv", text(""), "a line of names and at least one of numbers"),
    "names alone": ("x.csv", text("obs,action\n"), "at least one of numbers"),
    "a row short": ("x.csv", text("obs,action\n1,2\n3\n"), "is no readable csv file"),
    "a word": ("x.csv", text("obs,action,reward,terminal\n1,2,a,0\n"), "no readable csv"),
    "a name twice": ("x.csv", text("obs,obs\n1,2\n"), "two of its columns have one name"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_sentence_and_leaves_nothing(case, tmp_path):
    name, make, complaint = BAD[case]
    make(tmp_path / name)
    with pytest.raises(UnusableFile) as refused:
        load(tmp_path / name)
    assert complaint in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    kept = [p for p in cache_folder().rglob("*") if p.is_file() and p.parent.name != "hashes"]
    assert kept == []


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pyarrow" else found(name)
    )
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(UnusableFile, match=r'needs `pip install -e "\.\[parquet\]"`'):
        load(tmp_path / "x.parquet")


def test_parquet_holds_the_same(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = vectors()
    listed = {name: column.tolist() for name, column in columns.items()}
    parquet.write_table(pyarrow.table(listed), tmp_path / "x.parquet")
    write(tmp_path / "x.npz", columns)
    usual = load(tmp_path / "x.npz").data
    read = load(tmp_path / "x.parquet").data
    np.testing.assert_array_equal(read.observation, usual.observation)
    np.testing.assert_array_equal(read.action, usual.action)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("dataset=file dataset.path=gone.npz", "gone.npz does not exist"),
        ("dataset=file", "path is None, but should name a file that ends in one of .npz"),
        ("dataset=file dataset.path=x.npz dataset.environment=CartPol-v1", "CartPole-v1"),
        ("dataset=file dataset.path=x.npz dataset.trust=blindly", "'check', 'refuse' or 'ignore'"),
        ("dataset=file dataset.path=x.npz dataset.columns.reward=r", "dataset.columns.reward"),
        ("dataset=file dataset.path=x.npz dataset.columns.rewards=r", "has no column r for"),
    ],
)
def test_wrong_settings_are_one_sentence(words, named, tmp_path, monkeypatch, capsys):
    write(tmp_path / "x.npz", vectors())
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, "describe", *words.split()) == 2
    complaint = capsys.readouterr().err
    assert named in complaint
    assert len(complaint.splitlines()) == 1


def test_a_vector_is_named_on_the_command_line(tmp_path, monkeypatch, capsys):
    columns = vectors()
    own = {"speed": columns["observations"][:, 0], "angle": columns["observations"][:, 1]}
    write(tmp_path / "x.csv", own | {k: v for k, v in columns.items() if k != "observations"})
    monkeypatch.chdir(tmp_path)
    words = ("dataset=file", "dataset.path=x.csv", "dataset.columns.observations=[speed,angle]")
    assert run_here(monkeypatch, "describe", *words) == 0
    assert "2 dimensions, 2 discrete actions" in capsys.readouterr().out
