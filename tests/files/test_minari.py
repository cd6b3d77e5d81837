"""Minari's datasets: any episode and space, live worlds, reference returns, downloads."""

import importlib.util
import json
import os
import socket
import sys
import time

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium import spaces

from bench.__main__ import main
from bench.data.datasets import OfflineDataset
from bench.files import minari as source_file
from bench.files.flat import UnusableFile
from bench.files.minari import dataset_path
from bench.worlds.base import rollout
from bench.worlds.cartpole import CartPoleEnvironment
from bench.worlds.simulators.live import LiveEnvironment
from bench.worlds.simulators.recorded import RecordedEnvironment
from bench.worlds.tabular import TabularEnvironment
from tests.support import files

ID = "noise/mixed-v0"
VECTORS = spaces.Box(-np.inf, np.inf, (3,), np.float32)


def load(dataset_id=ID, discount=0.9, **references):
    return files.minari_source(dataset_id, **references).load("minari", 0, discount, None)


def metadata(dataset_id, **changes):
    """Change what a dataset's file says of itself; None removes."""
    path = dataset_path(dataset_id) / "data" / "metadata.json"
    said = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in said.items() if v is not None}))


# Episodes


def test_uneven_episodes_keep_their_last_successor_and_none_is_shifted():
    episodes, observed, chosen = files.uneven_vectors((4, 1, 7, 2))
    files.write_minari(ID, episodes, observed, chosen)
    data = load().data
    assert len(data) == 14
    assert np.bincount(data.episode).tolist() == [4, 1, 7, 2]
    for index, episode in enumerate(episodes):
        mine = data.episode == index
        np.testing.assert_array_equal(data.observation[mine], episode.observations[:-1])
        np.testing.assert_array_equal(data.next_observation[mine], episode.observations[1:])
        np.testing.assert_array_equal(data.action[mine], episode.actions)
        np.testing.assert_array_equal(data.reward[mine], episode.rewards)
        np.testing.assert_array_equal(data.terminated[mine], episode.terminations)
        np.testing.assert_array_equal(data.truncated[mine], episode.truncations)
        np.testing.assert_array_equal(data.step[mine], np.arange(len(episode.rewards)))
    assert (data.observation.dtype, data.reward.dtype) == (np.float32, np.float64)
    assert load().behavior_value == pytest.approx(np.mean([e.rewards.sum() for e in episodes]))


def test_what_goes_on_after_a_termination_is_another_episode():
    flags = np.array([False, True, False, False, True, True, False])
    rewards = np.arange(7.0)
    observations = np.arange(24, dtype=np.float32).reshape(8, 3)
    episodes = [files.episode(observations, np.zeros(7, dtype=int), rewards, flags)]
    files.write_minari(ID, episodes, VECTORS, spaces.Discrete(2))
    task = load()
    assert task.data.episode.tolist() == [0, 0, 1, 1, 1, 2, 3]
    assert task.data.step.tolist() == [0, 1, 0, 1, 2, 0, 0]
    assert task.data.truncated.tolist() == [False] * 6 + [True]
    assert task.behavior_value == pytest.approx(rewards.sum() / 4)
    assert task.environment.spec.horizon == 3


def observations_of(space, length, rng):
    """Return one episode's observations of a space."""
    if isinstance(space, spaces.Dict):
        return {name: observations_of(part, length, rng) for name, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(observations_of(part, length, rng) for part in space)
    if isinstance(space, spaces.Discrete):
        return rng.integers(space.start, space.start + space.n, length + 1)
    return rng.normal(size=(length + 1, *space.shape)).astype(space.dtype)


def flat_of(space, observations):
    """Return the flat vectors of observations, a mapping's parts in the order of their names."""
    if isinstance(space, spaces.Dict):
        parts = [flat_of(space[name], observations[name]) for name in sorted(space)]
    elif isinstance(space, spaces.Tuple):
        parts = [flat_of(*pair) for pair in zip(space, observations, strict=True)]
    else:
        return np.asarray(observations).reshape(len(observations), -1).astype(np.float32)
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (spaces.Box(-np.inf, np.inf, (3,), np.float64), 3),
        (spaces.Box(-np.inf, np.inf, (2, 2), np.float32), 4),
        (spaces.Dict(z=VECTORS, a=spaces.Dict(goal=spaces.Box(-1, 1, (2,), np.float64))), 5),
        (spaces.Tuple((spaces.Discrete(4), spaces.Box(-9, 9, (2,), np.float32))), 3),
        (spaces.Dict(bits=spaces.MultiBinary(3), many=spaces.MultiDiscrete([2, 3])), 5),
    ],
)
def test_observations_of_any_numbers_become_vectors(space, size):
    rng = np.random.default_rng(0)
    if isinstance(space, spaces.Dict) and "bits" in space.spaces:
        observed = {"bits": rng.integers(2, size=(5, 3)), "many": rng.integers(2, size=(5, 2))}
    else:
        observed = observations_of(space, 4, rng)
    files.write_minari(
        ID, [files.episode(observed, np.zeros(4, dtype=int), np.ones(4))], space, spaces.Discrete(2)
    )
    data = load().data
    expected = flat_of(space, observed)
    assert (data.spec.observation_kind, data.spec.observation_size) == ("vector", size)
    np.testing.assert_array_equal(data.observation, expected[:-1])
    np.testing.assert_array_equal(data.next_observation, expected[1:])


def test_states_and_actions_are_numbered_from_zero():
    states, actions = np.array([3, 5, 4, 3]), np.array([-1, 1, 0])
    files.write_minari(
        ID,
        [files.episode(states, actions, np.zeros(3))],
        spaces.Discrete(4, start=3),
        spaces.Discrete(3, start=-1),
    )
    data = load().data
    assert data.observation.tolist() == [0, 2, 1]
    assert data.next_observation.tolist() == [2, 1, 0]
    assert data.action.tolist() == [0, 2, 1]
    assert (data.spec.observation_size, data.spec.num_actions) == (4, 3)


@pytest.mark.parametrize("low", [-2.0, -np.inf])
def test_continuous_actions_have_the_bounds_of_their_space_or_of_the_data(low):
    episodes, observed, _ = files.uneven_vectors((3, 2))
    for index, episode in enumerate(episodes):
        length = len(episode.rewards)
        actions = np.linspace(-1.5, 0.5, 2 * length).reshape(length, 2).astype(np.float32)
        episodes[index] = files.episode(episode.observations, actions, episode.rewards)
    files.write_minari(ID, episodes, observed, spaces.Box(low, 2.0, (2,), np.float32))
    spec = load().environment.spec
    assert spec.action_kind == "continuous"
    smallest = -2.0 if np.isfinite(low) else pytest.approx(-1.5)
    assert spec.action_bounds[0][0] == smallest
    assert spec.action_bounds[1] == (2.0, 2.0)


# Worlds


def test_this_projects_own_exact_worlds_are_recognised():
    files.write_random("toy/lake-v0", "FrozenLake-v1")
    task = load("toy/lake-v0")
    assert isinstance(task.environment, TabularEnvironment)
    assert task.environment.spec.horizon == 100
    assert task.data.storage.comparator_action is not None
    returns = [
        sum(0.9**s * r for s, r in zip(task.data.step[m], task.data.reward[m], strict=True))
        for m in (task.data.episode == e for e in np.unique(task.data.episode))
    ]
    assert task.behavior_value == pytest.approx(np.mean(returns))
    files.write_random("toy/pole-v0", "CartPole-v1")
    task = load("toy/pole-v0")
    assert isinstance(task.environment, CartPoleEnvironment)
    assert task.environment.spec.horizon == 500


def test_a_world_that_was_changed_is_not_taken_for_ours():
    files.write_random("toy/lake-v0", "FrozenLake-v1", is_slippery=False)
    environment = load("toy/lake-v0").environment
    assert isinstance(environment, LiveEnvironment)
    assert not environment.has_reference_policy


@pytest.mark.parametrize("world", ["Acrobot-v1", "MountainCar-v0"])
def test_a_live_world_gives_what_gymnasium_gives(world):
    files.write_random(f"toy/{world}", world, max_episode_steps=40)
    environment = load(f"toy/{world}").environment
    assert isinstance(environment, LiveEnvironment)
    assert environment.spec.horizon == 40
    rng = np.random.default_rng(0)
    simulator = environment.simulator([environment], [rng], 2)
    steps = list(rollout(simulator, lambda o: np.ones(o.shape[:2], dtype=int), 40))
    assert len(steps) == 40
    first = np.random.default_rng(0).integers(2**31, size=2)
    real = gymnasium.make(world)
    for episode, seed in enumerate(first):
        observation, _ = real.reset(seed=int(seed))
        for step in steps:
            np.testing.assert_array_equal(step.observation[0, episode], observation)
            observation, reward, *_ = real.step(1)
            assert step.reward[0, episode] == reward


class Parts(gymnasium.Env):
    """Two numbers to be brought to zero, seen as a mapping; actions begin at 5."""

    # Stored, it comes back with x before y.
    observation_space = spaces.Dict(y=spaces.Box(-9, 9, (1,)), x=spaces.Box(-9, 9, (1,)))
    action_space = spaces.Discrete(2, start=5)

    def reset(self, *, seed=None, options=None):
        """Begin anywhere."""
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self._seen(), {}

    def step(self, action):
        """Move the first number up or down."""
        assert action in (5, 6)
        self.state[0] += 0.1 * (2 * action - 11)
        return self._seen(), -float(abs(self.state[0])), bool(abs(self.state[0]) < 0.06), False, {}

    def _seen(self):
        return {"y": self.state[1:].copy(), "x": self.state[:1].copy()}


@pytest.fixture
def parts():
    """Register a world of a user's own."""
    gymnasium.register("Parts-v0", f"{__name__}:Parts", max_episode_steps=25)
    yield "Parts-v0"
    del gymnasium.registry["Parts-v0"]


@pytest.mark.usefixtures("parts")
def test_a_live_observation_is_flat_as_a_recorded_one():
    files.write_random("toy/parts-v0", "Parts-v0")
    task = load("toy/parts-v0")
    simulator = task.environment.simulator([task.environment], [np.random.default_rng(0)], 1)
    steps = list(rollout(simulator, lambda o: np.zeros(o.shape[:2], dtype=int), 25))
    moved = np.ptp([step.observation[0, 0] for step in steps], axis=0)
    recorded = np.ptp(task.data.observation[task.data.episode == 0], axis=0)
    # In both the first number moves and the second one stands still.
    for first, second in (moved, recorded):
        assert first > 0
        assert second == 0


def bench(words, folder, monkeypatch):
    """Run a command in this process and return its records."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["bench", *words.split()])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    paths = sorted((folder / "results" / "runs").glob("*/*.json"))
    return [json.loads(path.read_text()) for path in paths]


SHORT = "algorithm=bc num_updates=5 batch_size=8 eval_every=5 eval_episodes=2 tracking=none"


@pytest.mark.parametrize(
    "world",
    ["Acrobot-v1", "FrozenLake-v1", "CliffWalking-v1", "Parts-v0", "Pendulum-v1",
     "MountainCarContinuous-v0"],
)  # fmt: skip
@pytest.mark.usefixtures("parts")
def test_a_run_trains_on_a_dataset_and_is_evaluated_in_its_world(world, tmp_path, monkeypatch):
    settings = {"is_slippery": False} if world == "FrozenLake-v1" else {}
    files.write_random(f"toy/{world}", world, **settings)
    words = f"{SHORT} dataset=minari dataset.id=toy/{world} coverage=thin coverage.severity=0.5"
    (record,) = bench(words, tmp_path, monkeypatch)
    assert record["status"] == "completed", record
    assert record["environment"] == record["dataset"]["source"] == f"toy/{world}"
    assert len(record["evaluations"][-1]["returns"]) == 2
    own = world in ("CliffWalking-v1", "Pendulum-v1")
    assert record["evaluation"] == (f"toy/{world}" if own else f"{world}, for toy/{world}")
    assert record["dataset"]["num_episodes"] == 1
    assert record["dataset"]["reference"]["source"] == "none known"
    assert len(record["dataset"]["sha256"]) == 64


def test_a_dataset_is_described(monkeypatch, capsys):
    files.write_random("toy/acrobot-v0", "Acrobot-v1")
    words = ["bench", "describe", "dataset=minari", "dataset.id=toy/acrobot-v0", "coverage=region"]
    monkeypatch.setattr(sys, "argv", [*words, "coverage.severity=0.5"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    printed = capsys.readouterr().out
    assert "toy/acrobot-v0, seed 0" in printed
    assert "best tenth of the episodes" in printed
    assert "none known" in printed


def test_a_world_that_cannot_be_made_leaves_the_data(monkeypatch, tmp_path):
    files.write_random("toy/acrobot-v0", "Acrobot-v1")
    spec = json.loads(load("toy/acrobot-v0").environment.gymnasium_spec.to_json())
    metadata("toy/acrobot-v0", env_spec=json.dumps(spec | {"kwargs": {"nonsense": 1}}))
    environment = load("toy/acrobot-v0").environment
    assert isinstance(environment, RecordedEnvironment)
    words = f"{SHORT} dataset=minari dataset.id=toy/acrobot-v0"
    (record,) = bench(words, tmp_path, monkeypatch)
    assert record["status"] == "completed"
    assert record["evaluation"] is None
    assert record["evaluation_reason"].startswith("Acrobot-v1 cannot be made here: ")
    assert record["evaluations"] == []
    assert set(record["final"].values()) == {None}
    assert record["metrics"]["loss"][-1][0] == 5


# What a file says is not trusted


def malicious(touched):
    """Return specs that would call something when they are made."""
    call = {
        "id": "Acrobot-v1",
        "entry_point": "os:system",
        "kwargs": {"command": f"touch {touched}"},
    }
    wrapper = {"name": "x", "entry_point": "os:system", "kwargs": {"command": f"touch {touched}"}}
    rest = {"reward_threshold": None, "nondeterministic": False, "max_episode_steps": 9,
            "order_enforce": True, "disable_env_checker": False, "additional_wrappers": [],
            "vector_entry_point": None}  # fmt: skip
    honest = {"id": "Acrobot-v1", "entry_point": "gymnasium.envs.classic_control:AcrobotEnv"}
    return [
        rest | call,
        rest | call | {"id": "Mine-v0"},
        rest | honest | {"kwargs": {}, "additional_wrappers": [wrapper]},
        rest | call | {"entry_point": "gymnasium.envs.registration:os.system"},
    ]


@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("without_spaces", [False, True])
def test_a_file_cannot_have_anything_called(case, without_spaces, tmp_path):
    touched = tmp_path / "touched"
    episodes, *kinds = files.uneven_vectors()
    files.write_minari(ID, episodes, *kinds)
    gone = {"observation_space": None} if without_spaces else {}
    metadata(ID, env_spec=json.dumps(malicious(touched)[case]), **gone)
    if without_spaces:
        with pytest.raises(UnusableFile, match="its metadata has no spaces"):
            load()
    else:
        assert isinstance(load().environment, RecordedEnvironment)
    assert not touched.exists()


@pytest.mark.parametrize(
    "said",
    [
        {"collected": {"target": "bench.atomic.atomic_folder", "path": "."}, "seed": 0},
        {"collected": {"target": "bench.data.collected.Collected", "behavior": [], "max_steps": 3,
                       "num_transitions": 3, "environment": {"target": "subprocess.Popen",
                                                             "args": "false"}}, "seed": 0},
        {"collected": 7, "seed": 0},
        {"collected": {}, "seed": "x"},
    ],
)  # fmt: skip
def test_metadata_of_this_project_makes_nothing_but_its_worlds(said):
    episodes, *kinds = files.uneven_vectors()
    files.write_minari(ID, episodes, *kinds)
    metadata(ID, stackelberg_bench=said)
    with pytest.raises(UnusableFile):
        load()


# Reference returns


@pytest.mark.parametrize(
    ("dataset_id", "own", "expected", "source"),
    [
        ("D4RL/pen/human-v2", (96.26, 3076.8), (None, None), "issue 303"),
        ("mujoco/hopper/medium-v0", None, (-20.272305, 3234.3), "by convention"),
        ("mujoco/walker2d/simple-v0", (0.0, 1.0), (1.629008, 4592.3), "by convention"),
        ("D4RL/door/human-v2", (-56.5, 2880.6), (-56.5, 2880.6), "the dataset's own metadata"),
        ("D4RL/door/cloned-v2", None, (None, None), "none known"),
    ],
)
def test_reference_returns_and_who_says_so(dataset_id, own, expected, source):
    episodes, *kinds = files.uneven_vectors()
    given = {} if own is None else {"ref_min_score": own[0], "ref_max_score": own[1]}
    files.write_minari(dataset_id, episodes, *kinds, **given)
    task = load(dataset_id)
    assert (task.environment.uniform, task.environment.optimum) == expected
    assert source in task.data.provenance["reference"]["source"]


def test_settings_override_every_reference():
    episodes, *kinds = files.uneven_vectors()
    files.write_minari(ID, episodes, *kinds, ref_min_score=0.0, ref_max_score=1.0)
    task = load(random_return=-3.0, expert_return=7.0)
    assert (task.environment.uniform, task.environment.optimum) == (-3.0, 7.0)
    assert task.data.provenance["reference"]["source"] == "the run's own settings"


def test_a_reference_that_is_no_number_is_none():
    episodes, *kinds = files.uneven_vectors()
    files.write_minari(ID, episodes, *kinds)
    metadata(ID, ref_min_score=float("nan"), ref_max_score="much")
    assert load().environment.optimum is None


# Fetching


@pytest.fixture
def hub(monkeypatch):
    """Say whether huggingface_hub is installed and a connection can be made."""

    def said(installed, connected):
        found = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name: installed or None if name == "huggingface_hub" else found(name),
        )

        def connect(address, timeout):
            if not connected:
                raise OSError("unreachable")
            return socket.socket()

        monkeypatch.setattr(socket, "create_connection", connect)

    return said


@pytest.mark.parametrize(
    ("installed", "connected", "named"),
    [
        (False, False, 'pip install -e ".[download]"'),
        (True, False, "huggingface.co cannot be reached"),
    ],
)
def test_without_a_network_one_sentence_says_what_to_put_where(hub, installed, connected, named):
    hub(installed, connected)
    begun = time.perf_counter()
    with pytest.raises(UnusableFile) as refused:
        load("D4RL/pen/human-v2")
    assert time.perf_counter() - begun < 5
    sentence = str(refused.value)
    for part in (named, str(dataset_path("D4RL/pen/human-v2")), "MINARI_DATASETS_PATH"):
        assert part in sentence
    assert not dataset_path().exists()


def test_a_download_that_fails_says_why(hub, monkeypatch):
    hub(True, True)

    def refuse(dataset_id):
        raise KeyError(f"no such thing as {dataset_id}")

    monkeypatch.setattr(minari, "download_dataset", refuse)
    with pytest.raises(UnusableFile, match="no such thing as noise/mixed-v0"):
        load()


def test_what_is_fetched_is_used(hub, monkeypatch):
    hub(True, True)
    episodes, *kinds = files.uneven_vectors()
    fetched = []

    def download(dataset_id):
        fetched.append(dataset_id)
        files.write_minari(dataset_id, episodes, *kinds)

    monkeypatch.setattr(minari, "download_dataset", download)
    assert len(load().data) == len(load().data) == 14
    assert fetched == [ID]


def test_folder_and_ids_are_minaris(monkeypatch):
    assert dataset_path("a/b-v0") == minari.storage.datasets_root_dir.get_dataset_path("a/b-v0")
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    monkeypatch.setenv("HOME", os.environ["STACKELBERG_BENCH_CACHE"])
    assert dataset_path() == minari.storage.datasets_root_dir.get_dataset_path()
    for wrong in ("", "x", "../x-v0", "/etc/x-v0", "x-v0/"):
        with pytest.raises(ValueError, match="should be a Minari id"):
            files.minari_source(wrong)


def test_the_cache_is_found_again_and_a_change_is_noticed(monkeypatch):
    episodes, *kinds = files.uneven_vectors()
    files.write_minari(ID, episodes, *kinds)
    first = load().data
    files.forget()
    with monkeypatch.context() as patch:
        patch.setattr(source_file, "convert", lambda *_: pytest.fail("converted again"))
        assert load().data.fingerprint == first.fingerprint
    metadata(ID, ref_min_score=0.0, ref_max_score=2.0)
    assert load().environment.optimum == 2.0
    assert isinstance(first, OfflineDataset)
