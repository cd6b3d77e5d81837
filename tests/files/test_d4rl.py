"""D4RL's files become the transitions of ``d4rl.qlearning_dataset``, bit for bit."""

import importlib
import sys
import time
from types import ModuleType, SimpleNamespace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data import storage
from bench.data.degradations import Degradation, region, thin
from bench.data.storage import Storage
from bench.files import flat
from bench.files.readers import d4rl as d4rl_reader
from bench.files.readers.d4rl import kept_rows
from bench.files.references import d4rl_table
from bench.measures import regret
from bench.measures.evaluation import PolicyEvaluation
from bench.settings.run import content, run_config, run_id, worse_recipes
from bench.worlds.simulators.recorded import RecordedEnvironment
from tests.support import commands, files
from tests.support.builders import build_algorithm, make_cohort, train
from tests.support.commands import plan, settings

NAMES = {
    "observations": "observation",
    "actions": "action",
    "next_observations": "next_observation",
    "rewards": "reward",
    "terminals": "terminated",
}


def qlearning_dataset(dataset, max_episode_steps):
    """Transcribe ``d4rl.qlearning_dataset`` of d4rl 1.1 as it stands."""
    obs_, next_obs_, action_, reward_, done_ = [], [], [], [], []
    use_timeouts = "timeouts" in dataset
    episode_step = 0
    for i in range(dataset["rewards"].shape[0] - 1):
        obs = dataset["observations"][i].astype(np.float32)
        new_obs = dataset["observations"][i + 1].astype(np.float32)
        action = dataset["actions"][i].astype(np.float32)
        reward = dataset["rewards"][i].astype(np.float32)
        done_bool = bool(dataset["terminals"][i])
        if use_timeouts:
            final_timestep = dataset["timeouts"][i]
        else:
            final_timestep = episode_step == max_episode_steps - 1
        if final_timestep:
            episode_step = 0
            continue
        if done_bool or final_timestep:
            episode_step = 0
        obs_.append(obs)
        next_obs_.append(new_obs)
        action_.append(action)
        reward_.append(reward)
        done_.append(done_bool)
        episode_step += 1
    return {
        "observations": np.array(obs_),
        "actions": np.array(action_),
        "next_observations": np.array(next_obs_),
        "rewards": np.array(reward_),
        "terminals": np.array(done_),
    }


@st.composite
def contents(draw):
    """Return the columns of a file: any pattern of ends, any of the shapes and types there are."""
    n = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    ends = st.sampled_from([0.0, 0.1, 0.3, 0.7])
    terminals, timeouts = (rng.random(n) < draw(ends) for _ in range(2))
    terminals[-1] |= draw(st.booleans())
    timeouts[0] = False
    if draw(st.booleans()):
        # A step that terminates and times out at once.
        timeouts |= terminals & (np.arange(n) > 0)
    column = (n, 1) if draw(st.booleans()) else (n,)
    real, flag = draw(st.sampled_from([("f4", "?"), ("f8", "u1"), ("f8", "f4")]))
    columns = {
        "observations": rng.normal(size=(n, draw(st.integers(1, 4)))).astype(real),
        "actions": rng.uniform(-1.5, 1.5, (n, 2)).astype(real),
        "rewards": rng.normal(size=n).astype(real).reshape(column),
        "terminals": terminals.astype(flag).reshape(column),
    }
    return columns | ({"timeouts": timeouts.reshape(column)} if draw(st.booleans()) else {})


def converted(columns, folder, limit=5, boundaries="d4rl"):
    """Return the storage and the card of a file with these columns."""
    folder.mkdir()
    path = folder / "file.hdf5"
    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            file[name] = column
    card = d4rl_reader.convert(path, limit, boundaries, folder)
    storage.seal(folder)
    return Storage.load(folder), card


def assert_equal(stored, expected):
    """Assert equality bit by bit; rewards are the same numbers with more digits."""
    for theirs, ours in NAMES.items():
        column = getattr(stored, ours)
        if ours == "reward":
            column = column.astype(np.float32)
        np.testing.assert_array_equal(column, expected[theirs].reshape(column.shape), theirs)
        assert column.dtype == expected[theirs].dtype


@given(columns=contents(), limit=st.integers(2, 8), block=st.sampled_from([1, 60, 10**6]))
def test_transitions_are_those_of_d4rl_bit_by_bit(tmp_path_factory, columns, limit, block):
    expected = qlearning_dataset(columns, limit)
    if len(expected["rewards"]) == 0:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(d4rl_reader, "BYTES_AT_ONCE", block)
        stored, card = converted(columns, tmp_path_factory.mktemp("d4rl") / "flat", limit)
    assert_equal(stored, expected)
    assert card.num_transitions == len(stored)
    if "timeouts" in columns:
        assert card.crossing == 0


@given(columns=contents(), block=st.sampled_from([1, 60, 10**6]))
def test_with_timeouts_no_transition_crosses_an_episode(tmp_path_factory, columns, block):
    if "timeouts" not in columns or columns["timeouts"][:-1].all():
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(d4rl_reader, "BYTES_AT_ONCE", block)
        stored, _ = converted(columns, tmp_path_factory.mktemp("d4rl") / "flat")
    inside = (stored.episode[1:] == stored.episode[:-1]) & (stored.step[1:] == stored.step[:-1] + 1)
    np.testing.assert_array_equal(
        stored.next_observation[:-1][inside], stored.observation[1:][inside]
    )
    assert not stored.terminated[:-1][inside].any()
    # What follows the end of an episode begins another one at step 0.
    begins = stored.episode[1:] != stored.episode[:-1]
    assert (stored.step[1:][begins] == 0).all()
    assert (np.diff(stored.episode) >= 0).all()
    # Each transition leads from a row to the next one, and that row ended no episode by time.
    timeouts = columns["timeouts"].reshape(-1)
    rows = np.flatnonzero(~timeouts[:-1])
    observations = columns["observations"].astype(np.float32)
    np.testing.assert_array_equal(stored.next_observation, observations[rows + 1])


def corrected(terminals, limit):
    """Return the rows that are no transition, by counting the steps of each episode from 1."""
    dropped, step = set(), 0
    for row, ended in enumerate(terminals):
        step += 1
        if step == limit:
            dropped.add(row)
        if ended or step == limit:
            step = 0
    return dropped | {len(terminals) - 1}


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(2, 8))
def test_corrected_boundaries_count_every_episode_from_its_start(terminals, limit):
    keep, _, crossing = kept_rows(np.array(terminals), None, limit, "corrected")
    assert set(np.flatnonzero(~keep)) == corrected(terminals, limit)
    assert crossing == 0
    # d4rl's own count leaves as many transitions across episodes as it says.
    keep, _, crossing = kept_rows(np.array(terminals), None, limit, "d4rl")
    across = [row for row in corrected(terminals, limit) if not terminals[row] and keep[row]]
    assert crossing == len(across)


def test_d4rl_cuts_an_episode_one_step_early_after_a_termination():
    terminals = np.zeros(12, dtype=bool)
    terminals[1] = True
    keep, _, crossing = kept_rows(terminals, None, 5, "d4rl")
    # The episode of rows 2 to 6 is cut at 5, and 6 leads into the next one.
    assert np.flatnonzero(~keep).tolist() == [5, 10, 11]
    assert crossing == 1
    keep, _, _ = kept_rows(terminals, None, 5, "corrected")
    assert np.flatnonzero(~keep).tolist() == [6, 11]


@pytest.fixture
def d4rl(monkeypatch):
    """Return the module d4rl; it can be imported where a module named mujoco_py exists."""
    monkeypatch.setitem(sys.modules, "mujoco_py", ModuleType("mujoco_py"))
    monkeypatch.setenv("D4RL_SUPPRESS_IMPORT_ERROR", "1")
    try:
        return importlib.import_module("d4rl")
    except Exception as error:
        pytest.skip(f"d4rl cannot be imported here: {type(error).__name__}: {error}")


@pytest.mark.parametrize("timeouts", [True, False])
def test_transitions_are_those_of_the_real_d4rl(d4rl, timeouts, tmp_path):
    columns = files.d4rl_columns((5, 3, 6, 9, 2, 7), timeouts=timeouts)
    environment = SimpleNamespace(_max_episode_steps=5)
    expected = d4rl.qlearning_dataset(environment, dataset=columns)
    assert_equal(converted(columns, tmp_path / "flat")[0], expected)


# Ids, time limits and reference returns


def test_every_id_of_the_table_is_a_dataset_and_no_other_is():
    table = d4rl_table()
    assert len(table) == 155
    for dataset_id, entry in table.items():
        files.d4rl_source(dataset_id)
        assert entry.max_episode_steps > 1
        assert entry.url.endswith(".hdf5")
    for wrong in ("hopper-medium-v9", "Hopper-v2", ""):
        with pytest.raises(ValueError, match="should be one of D4RL's 155 ids"):
            files.d4rl_source(wrong)


@pytest.mark.parametrize(
    ("dataset_id", "random", "expert", "steps"),
    [
        ("hopper-medium-v2", -20.272305, 3234.3, 1000),
        ("halfcheetah-medium-replay-v2", -280.178953, 12135.0, 1000),
        ("walker2d-expert-v0", 1.629008, 4592.3, 1000),
        ("antmaze-umaze-v0", 0.0, 1.0, 700),
        ("antmaze-large-play-v0", 0.0, 1.0, 1000),
        ("maze2d-umaze-v1", 23.85, 161.86, 300),
        ("pen-human-v1", 96.262799, 3076.8331017826877, 100),
        ("door-human-v1", -56.512833, 2880.5693087298737, 200),
        ("kitchen-mixed-v0", 0.0, 4.0, 280),
    ],
)
def test_scores_are_scaled_by_the_published_returns(dataset_id, random, expert, steps):
    reference = files.d4rl_source(dataset_id).entry.reference
    assert reference == pytest.approx((random, expert, "d4rl 1.1"))
    columns = files.d4rl_columns()
    files.write_d4rl(columns, dataset_id)
    task = files.d4rl_source(dataset_id).load("d4rl", 0, 0.99, None)
    assert task.environment.spec.horizon == steps
    for achieved in (random, expert, 0.3 * random + 0.7 * expert, -5.0):
        evaluation = PolicyEvaluation(1, [achieved], None, None, None)
        scores = regret.scores(evaluation, regret.anchors(task, task.data))
        expected = 100 * (achieved - random) / (expert - random)
        assert scores["normalized_score"] == pytest.approx(expected, abs=1e-9)
        assert scores["return_mean"] == achieved


def test_settings_override_reference_returns_and_say_so():
    files.write_d4rl(files.d4rl_columns())
    source = files.d4rl_source(expert_return=100.0)
    task = source.load("d4rl", 0, 0.99, None)
    assert (task.environment.uniform, task.environment.optimum) == (-20.272305, 100.0)
    assert task.data.provenance["reference"]["source"] == "the run's own settings"


def test_the_behavior_value_is_the_mean_return_of_ended_episodes_dropped_steps_included():
    columns = files.d4rl_columns((5, 3, 6, 2))
    files.write_d4rl(columns)
    task = files.d4rl_source().load("d4rl", 0, 0.99, None)
    returns = np.add.reduceat(columns["rewards"].astype(np.float64), [0, 5, 8, 14])
    assert task.behavior_value == pytest.approx(returns.mean())
    columns["timeouts"][-1] = False
    files.write_d4rl(columns)
    task = files.d4rl_source().load("d4rl", 0, 0.99, None)
    assert task.behavior_value == pytest.approx(returns[:-1].mean())


def test_the_spec_follows_from_the_file():
    columns = files.d4rl_columns()
    columns["actions"][3, 1] = 1.25
    files.write_d4rl(columns)
    spec = files.d4rl_source().load("d4rl", 0, 0.9, None).environment.spec
    assert (spec.observation_size, spec.action_kind) == (3, "continuous")
    # Those of gymnasium's counterpart, whether it is here or not.
    assert spec.action_bounds == ((-1.0, -1.0), (1.0, 1.0))
    assert spec.observation_names == ("x0", "x1", "x2")
    kept = ~columns["timeouts"] & (np.arange(len(columns["rewards"])) < 13)
    assert spec.reward_max == pytest.approx(columns["rewards"][kept].max())
    assert spec.v_max == pytest.approx(spec.reward_max / (1 - 0.9))


def test_bounds_follow_from_the_file_where_there_is_no_counterpart():
    columns = files.d4rl_columns()
    columns["actions"][3, 1] = 1.25
    files.write_d4rl(columns, "pen-human-v1")
    spec = files.d4rl_source("pen-human-v1").load("d4rl", 0, 0.9, None).environment.spec
    assert spec.action_bounds == ((-1.0, -1.0), (1.0, 1.25))


def test_discrete_actions_and_images_are_understood():
    columns = files.d4rl_columns()
    n = len(columns["rewards"])
    columns["actions"] = np.arange(n) % 4
    columns["observations"] = np.arange(n * 12, dtype=np.uint8).reshape(n, 2, 3, 2)
    files.write_d4rl(columns)
    data = files.d4rl_source().load("d4rl", 0, 0.99, None).data
    assert (data.spec.num_actions, data.spec.observation_size) == (4, 12)
    np.testing.assert_array_equal(data.observation[0], np.arange(12))


# The mapped cache


@pytest.fixture
def mapped(monkeypatch):
    """Map every column, however small."""
    monkeypatch.setattr(storage, "MAPPED_BYTES", 0)


@pytest.fixture
def conversions(monkeypatch):
    """Return the list of files that were converted; what was in memory is forgotten first."""
    files_read = []
    convert = d4rl_reader.convert

    def counted(path, *arguments):
        files_read.append(path)
        return convert(path, *arguments)

    monkeypatch.setattr("bench.files.d4rl.convert", counted)
    return files_read


@pytest.mark.usefixtures("mapped")
def test_columns_are_mapped_and_training_copies_none_of_them():
    columns = files.d4rl_columns((40, 30, 50))
    columns["actions"] = np.arange(120) % 3
    files.write_d4rl(columns)
    data = files.d4rl_source().load("d4rl", 0, 0.9, None).data
    for name in ("observation", "next_observation", "action", "reward", "step"):
        assert isinstance(getattr(data.storage, name).base, np.memmap)
    degraded = [
        Degradation("region", lambda d, s, r: region(d, s, r, shape="slab", dimension="x1"), 0.5),
        Degradation("thin", thin, 0.5),
    ]
    views = [data, *(degrade(data) for degrade in degraded)]
    assert all(view.storage is data.storage for view in views)
    cohort = make_cohort([build_algorithm("cql")] * len(views), views)
    train(cohort, 3)
    assert cohort.finite().all()
    for name in ("observation", "next_observation"):
        shared = cohort.replay.column(name).data_ptr()
        assert shared == getattr(data.storage, name).ctypes.data
    in_memory = Storage(**{k: np.array(v) for k, v in data.storage.columns.items()},
                        comparator_action=None)  # fmt: skip
    same = type(data).full(in_memory, data.spec, data.provenance)
    assert same.fingerprint == data.fingerprint


@pytest.mark.usefixtures("mapped")
def test_large_columns_are_looked_at_in_parts(monkeypatch):
    files.write_d4rl(files.d4rl_columns((40, 30, 50)))
    data = files.d4rl_source().load("d4rl", 0, 0.9, None).data
    view = data.keep(np.arange(len(data)) % 2 == 0, "half")
    whole, rows = (data.fingerprint, view.fingerprint), view.observation
    monkeypatch.setattr("bench.data.datasets.CHUNK_BYTES", 60)
    parts = list(view.chunks("observation"))
    assert max(map(len, parts)) == 5
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    again = type(data).full(data.storage, data.spec, {})
    assert (again.fingerprint, again.keep(np.arange(len(data)) % 2 == 0, "").fingerprint) == whole


def test_a_file_is_converted_once_and_not_opened_again(conversions, monkeypatch):
    files.write_d4rl(files.d4rl_columns())
    first = files.d4rl_source().load("d4rl", 0, 0.9, None)
    assert files.d4rl_source().load("d4rl", 1, 0.9, None).data.storage is first.data.storage
    # Another discount is another world, not another copy of the data.
    other = files.d4rl_source().load("d4rl", 1, 0.5, None)
    assert other.data.storage is first.data.storage
    files.forget()
    monkeypatch.setattr(h5py, "File", lambda *_: pytest.fail("the file was opened"))
    again = files.d4rl_source().load("d4rl", 0, 0.9, None)
    assert again.data.storage is not first.data.storage
    assert again.data.fingerprint == first.data.fingerprint
    assert len(conversions) == 1


def test_a_changed_file_is_read_anew(conversions):
    files.write_d4rl(files.d4rl_columns())
    source = files.d4rl_source()
    first, recipe = source.load("d4rl", 0, 0.9, None).data, source.recipe()
    files.write_d4rl(files.d4rl_columns(seed=1))
    second = source.load("d4rl", 0, 0.9, None).data
    assert second.fingerprint != first.fingerprint
    assert source.recipe()["sha256"] != recipe["sha256"]
    assert source.facts().num_transitions == len(second)
    assert len(conversions) == 2


def test_a_damaged_cache_is_made_anew(conversions, tmp_path):
    files.write_d4rl(files.d4rl_columns())
    before = files.d4rl_source().load("d4rl", 0, 0.9, None).data.fingerprint
    for damage in ("reward.npy", "card.json", "checksums.json"):
        (path,) = flat.cache_folder().rglob(damage)
        path.write_bytes(path.read_bytes()[:-2])
        files.forget()
        assert files.d4rl_source().load("d4rl", 0, 0.9, None).data.fingerprint == before
    assert len(conversions) == 4


def test_ids_that_share_a_file_and_boundaries_do_not_share_columns():
    columns = files.d4rl_columns((1, 1000, 1000, 7), timeouts=False)
    files.write_d4rl(columns, files.OLD)
    prints = {
        files.d4rl_source(files.OLD, boundaries).load("d4rl", 0, 0.9, None).data.fingerprint
        for boundaries in ("d4rl", "corrected")
    }
    assert len(prints) == 2


def test_a_file_that_changes_while_it_is_converted_is_not_cached(monkeypatch):
    files.write_d4rl(files.d4rl_columns())
    convert = d4rl_reader.convert

    def slow(path, *arguments):
        card = convert(path, *arguments)
        files.write_d4rl(files.d4rl_columns(seed=1))
        return card

    monkeypatch.setattr("bench.files.d4rl.convert", slow)
    with pytest.raises(flat.UnusableFile, match="is being written to"):
        files.d4rl_source().flat()
    assert list((flat.cache_folder() / "flat").iterdir()) == []


def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(monkeypatch):
    path = files.write_d4rl(files.d4rl_columns())
    digest = flat.hashlib.file_digest

    def slow(file, kind):
        path.write_bytes(path.read_bytes() + b"more")
        return digest(file, kind)

    monkeypatch.setattr(flat.hashlib, "file_digest", slow)
    with pytest.raises(flat.UnusableFile, match="is being written to"):
        files.d4rl_source().recipe()
    assert not (flat.cache_folder() / "hashes").exists()


# Plans


@pytest.fixture
def discrete(monkeypatch):
    """Write two datasets that every algorithm can be planned on."""
    monkeypatch.setattr(RecordedEnvironment, "can_evaluate", True)
    for seed, dataset_id in enumerate((files.HOPPER, files.OLD)):
        columns = files.d4rl_columns(seed=seed)
        columns["actions"] = np.arange(len(columns["rewards"])) % 2
        files.write_d4rl(columns, dataset_id)


WORDS = ("dataset=d4rl", f"dataset.id={files.HOPPER},{files.OLD}", "seed=0,1")


@pytest.mark.usefixtures("discrete")
def test_datasets_of_different_ids_are_trained_apart():
    planned = plan(*WORDS)
    ids = [[run.settings["dataset"]["id"] for run in cohort] for cohort in planned.cohorts]
    assert ids == [[files.HOPPER] * 2, [files.OLD] * 2]
    assert len({run.run_id for run in planned.runs}) == 4
    assert {run.config.dataset.environment_name for run in planned.runs} == {
        files.HOPPER, files.OLD,
    }  # fmt: skip


@pytest.mark.usefixtures("discrete")
def test_the_content_of_a_file_is_part_of_a_run_and_is_hashed_once(monkeypatch):
    # Of a file just written, the next change could go unnoticed, so its hash is not remembered.
    monkeypatch.setattr(flat, "SETTLED_SECONDS", -1)
    hashed = []
    digest = flat.hashlib.file_digest
    monkeypatch.setattr(
        flat.hashlib, "file_digest", lambda file, kind: hashed.append(file) or digest(file, kind)
    )
    words = ("dataset=d4rl", f"dataset.id={files.HOPPER}", "seed=range(10)")
    before = {run.run_id for run in plan(*words).runs}
    assert len(hashed) == 1
    assert {run.run_id for run in plan(*words).runs} == before
    assert len(hashed) == 1
    columns = files.d4rl_columns()
    columns["actions"] = np.arange(len(columns["rewards"])) % 2
    columns["rewards"][2] += 1
    time.sleep(0.02)
    files.write_d4rl(columns, files.HOPPER)
    assert {run.run_id for run in plan(*words).runs}.isdisjoint(before)


@pytest.mark.usefixtures("discrete")
def test_a_plan_opens_no_columns(monkeypatch):
    plan("dataset=d4rl", f"dataset.id={files.HOPPER}")
    files.forget()
    monkeypatch.setattr(Storage, "load", lambda *_: pytest.fail("columns were opened"))
    plan("dataset=d4rl", f"dataset.id={files.HOPPER}", "seed=range(3)")


# Worse datasets


def write_pair(worse_by=5.0, rows=(5, 3, 6), size=3):
    """Write a dataset and one that is worse by so much per step."""
    files.write_d4rl(files.d4rl_columns())
    worse = files.d4rl_columns(rows, seed=1, width=size)
    worse["rewards"] -= np.float32(worse_by)
    files.write_d4rl(worse, files.OLD)


def test_quality_replaces_episodes_by_those_of_a_worse_dataset():
    write_pair(rows=(6, 4, 7))
    task = files.d4rl_source().load("d4rl", 0, 0.9, None)
    extended = task.data.reserve.extended(task.data.storage, 1.0, files.OLD)
    own = len(task.data)
    np.testing.assert_array_equal(extended.reward[:own], task.data.reward)
    worse = files.d4rl_source(files.OLD).load("d4rl", 0, 0.9, None).data
    np.testing.assert_array_equal(extended.observation[own:], worse.observation)
    assert extended.episode[own] == extended.episode[own - 1] + 1
    # Seeds share it.
    other = files.d4rl_source().load("d4rl", 1, 0.9, None)
    assert other.data.reserve.extended(other.data.storage, 1.0, files.OLD) is extended


def test_the_words_of_a_command_make_data_worse():
    write_pair(rows=(6, 4, 7))
    words = ("dataset=d4rl", f"dataset.id={files.HOPPER}", "coverage=quality")
    (job,) = settings(*words, f"coverage.worse_id={files.OLD}", "coverage.severity=1")
    config = run_config(job)
    task = config.dataset.source.load("d4rl", 0, 0.9, None)
    degraded = config.coverage(task.data)
    worse = files.d4rl_source(files.OLD).load("d4rl", 0, 0.9, None).data
    np.testing.assert_array_equal(degraded.observation, worse.observation[: len(degraded)])
    assert len(degraded) >= len(task.data)


@pytest.mark.parametrize(
    ("pair", "named"),
    [
        ({"worse_by": -5.0}, "should be worse than"),
        ({"size": 4}, "not shaped like"),
        ({"rows": (3, 3)}, "should have at least as many"),
    ],
)
def test_quality_refuses_what_is_not_worse_shaped_otherwise_or_too_small(pair, named):
    write_pair(**pair)
    with pytest.raises(ValueError, match=named):
        files.d4rl_source().check_worse(1.0, files.OLD)


def test_quality_needs_a_worse_id():
    write_pair()
    with pytest.raises(ValueError, match=r"needs coverage\.worse_id"):
        files.d4rl_source().check_worse(1.0, None)
    with pytest.raises(ValueError, match="should be one of D4RL's"):
        files.d4rl_source().check_worse(1.0, "nonsense")


@pytest.mark.parametrize("corrected", ["pen-cloned-v1", "pen-human-v1"])
def test_a_corrected_file_makes_another_run_of_other_content(corrected):
    """The dataset itself, or the one that worse episodes are taken from."""
    for dataset_id in ("pen-cloned-v1", "pen-human-v1"):
        files.write_d4rl(files.d4rl_columns(), dataset_id)
    (job,) = commands.settings(
        "dataset=d4rl", "dataset.id=pen-cloned-v1", "algorithm=bc", "coverage=quality",
        "coverage.severity=0.5", "coverage.worse_id=pen-human-v1",
    )  # fmt: skip
    config = run_config(job)
    before = run_id(job, config), content(config.dataset.source.recipe()), worse_recipes(config)
    files.write_d4rl(files.d4rl_columns(seed=1), corrected)
    files.forget()
    after = run_id(job, config), content(config.dataset.source.recipe()), worse_recipes(config)
    differs = [one != other for one, other in zip(before, after, strict=True)]
    assert differs == [True, corrected == "pen-cloned-v1", corrected == "pen-human-v1"]
