"""Files of each format, made on the spot."""

import shutil
import warnings

import gymnasium
import h5py
import minari
import numpy as np
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from bench.files import flat, source
from bench.files.d4rl import D4RL, folder
from bench.files.minari import Minari, dataset_path

# An id whose file has timeouts, one whose file has not (d4rl counts its steps), one of another
# size of episodes.
HOPPER = "hopper-medium-v2"
HOPPER_FILE = "hopper_medium-v2.hdf5"
OLD = "hopper-medium-v0"


def forget():
    """Forget what this process holds of files, as a new process would."""
    for remembered in (source._opened, source._card, source._facts, source._world):
        remembered.cache_clear()
    flat._open.clear()


def d4rl_source(dataset_id=HOPPER, boundaries="d4rl", **references):
    """Return the source of `conf/dataset/d4rl.yaml`."""
    given = {"random_return": None, "expert_return": None, "trust": "check"} | references
    return D4RL(dataset_id, **given, boundaries=boundaries)


def minari_source(dataset_id, **references):
    """Return the source of `conf/dataset/minari.yaml`."""
    given = {"random_return": None, "expert_return": None, "trust": "check"} | references
    return Minari(dataset_id, **given)


def d4rl_columns(lengths=(5, 3, 6), seed=0, timeouts=True, width=3, action_size=2):
    """Return the columns of a D4RL file; every other episode terminates, the others time out."""
    rng = np.random.default_rng(seed)
    n = sum(lengths)
    last = np.cumsum(lengths) - 1
    terminals, timed_out = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    terminals[last[::2]] = True
    timed_out[last[1::2]] = True
    columns = {
        "observations": rng.normal(size=(n, width)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (n, action_size)).astype(np.float32),
        "rewards": rng.normal(size=n).astype(np.float32),
        "terminals": terminals,
    }
    return columns | ({"timeouts": timed_out} if timeouts else {})


def write_d4rl(columns, dataset_id=HOPPER):
    """Write a D4RL file to where it is looked for and return its path."""
    path = folder() / d4rl_source(dataset_id).entry.url.rpartition("/")[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            file[name] = column
    return path


def rollouts(gymnasium_id, num_episodes=4, max_steps=40):
    """Return the columns of a D4RL file made of uniform episodes, cut at a number of steps."""
    world = gymnasium.make(gymnasium_id)
    world.action_space.seed(0)
    rows = []
    for episode in range(num_episodes):
        observation, _ = world.reset(seed=episode)
        for step in range(max_steps):
            action = world.action_space.sample()
            following, reward, terminated, _, _ = world.step(action)
            rows.append((observation, action, reward, terminated, step == max_steps - 1))
            observation = following
            if terminated:
                break
    columns = map(np.array, zip(*rows, strict=True))
    names = ("observations", "actions", "rewards", "terminals", "timeouts")
    return dict(zip(names, columns, strict=True))


def episode(observations, actions, rewards, terminated=True):
    """Return a Minari episode; a list of flags says at which steps it terminates."""
    length = len(rewards)
    ends = np.zeros(length, dtype=bool)
    ends[-1] = terminated if isinstance(terminated, bool) else False
    if not isinstance(terminated, bool):
        ends[:] = terminated
    truncations = np.zeros(length, dtype=bool)
    truncations[-1] = not ends[-1]
    return EpisodeBuffer(
        observations=observations,
        actions=actions,
        rewards=np.asarray(rewards, dtype=np.float64),
        terminations=ends,
        truncations=truncations,
        infos={},
    )


def write_minari(dataset_id, episodes, observation_space, action_space, env=None, **metadata):
    """Write a Minari dataset to where it is looked for."""
    with warnings.catch_warnings():
        # It asks for an author and the like.
        warnings.simplefilter("ignore")
        written = minari.create_dataset_from_buffers(
            dataset_id,
            episodes,
            env=env,
            observation_space=observation_space,
            action_space=action_space,
            algorithm_name="noise",
            description="noise",
            requirements=[],
            data_format="hdf5",
        )
    written.storage.update_metadata(metadata)


def remove_minari(dataset_id):
    """Remove a Minari dataset, so that another one can have its id."""
    shutil.rmtree(dataset_path(dataset_id))


def uneven_vectors(lengths=(4, 1, 7, 2), seed=0, dtype=np.float32, size=3):
    """Return uneven episodes of vectors and two actions, and their two spaces."""
    rng = np.random.default_rng(seed)
    episodes = [
        episode(
            rng.normal(size=(length + 1, size)).astype(dtype),
            rng.integers(2, size=length),
            rng.normal(size=length),
            terminated=bool(index % 2),
        )
        for index, length in enumerate(lengths)
    ]
    return episodes, spaces.Box(-np.inf, np.inf, (size,), dtype), spaces.Discrete(2)


def random_episodes(environment, num_episodes=3, max_steps=30, seed=0):
    """Return episodes of the uniform policy in one of gymnasium's environments."""
    environment.action_space.seed(seed)
    episodes = []
    for index in range(num_episodes):
        observation, _ = environment.reset(seed=seed + index)
        observations, actions, rewards, terminated = [observation], [], [], False
        while not terminated and len(rewards) < max_steps:
            action = environment.action_space.sample()
            observation, reward, terminated, _, _ = environment.step(action)
            observations.append(observation)
            actions.append(action)
            rewards.append(reward)
        episodes.append(
            episode(_stacked(observations), np.array(actions), rewards, bool(terminated))
        )
    return episodes


def _stacked(observations):
    if isinstance(observations[0], dict):
        return {name: _stacked([o[name] for o in observations]) for name in observations[0]}
    return np.array(observations)


def write_random(dataset_id, environment_id, **settings):
    """Write a dataset of the uniform policy in a registered environment."""
    with gymnasium.make(environment_id, **settings) as environment:
        bare, spec = environment.unwrapped, environment.spec
        return write_minari(
            dataset_id,
            random_episodes(bare, max_steps=min(30, spec.max_episode_steps or 30)),
            environment.observation_space,
            environment.action_space,
            env=spec,
        )
