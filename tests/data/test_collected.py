"""Collection: exact sizes, seeds, frequencies, episode structure, the cache, exact values."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bench.data import collected
from bench.data.collected import Collected
from bench.data.storage import Storage
from bench.worlds.cartpole import CartPole
from bench.worlds.continuous.cliff_2d import Cliff2D
from bench.worlds.continuous.lqr import LQR
from bench.worlds.mdps import Cliff, CombinationLock, Garnet
from tests.support.worlds import cartpole_task

UNIFORM = ({"epsilon": 1.0, "share": 1.0},)
MIXTURE = ({"epsilon": 0.3, "share": 1.0}, {"epsilon": 1.0, "share": 1.0})
COLUMNS = tuple(name for name in Storage.__dataclass_fields__ if name != "patient")
SOURCES = {
    "garnet": Collected(Garnet(20, 4, 3, 0.3), UNIFORM, 700, 30),
    "cliff": Collected(Cliff(4, 5, 0.1), MIXTURE, 700, 30),
    "lock": Collected(CombinationLock(5, 3, 0.1), MIXTURE, 700, 30),
    "cartpole": Collected(CartPole(), MIXTURE, 700, 40),
    "lqr": Collected(LQR(behavior_noise=0.1, oscillators=2), MIXTURE, 700, 40),
    "cliff_2d": Collected(Cliff2D(behavior_noise=0.1, noise=0.03), MIXTURE, 700, 40),
}


def load(source, seed=0, cache=None, name="data"):
    return source.load(name, seed, 0.9, cache)


def assert_same_storage(first, second):
    for name in COLUMNS:
        one, other = getattr(first, name), getattr(second, name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def episodes(data):
    """Yield the positions of each episode's transitions."""
    for episode in np.unique(data.episode):
        yield np.flatnonzero(data.episode == episode)


@pytest.fixture(params=SOURCES)
def source(request, quick_values):
    return SOURCES[request.param]


# How much, and which


@pytest.mark.parametrize("num_transitions", [1, 37, 2000])
def test_exactly_as_many_transitions_are_collected_as_asked_for(source, num_transitions):
    data = load(replace(source, num_transitions=num_transitions)).data
    assert len(data) == len(data.storage) == num_transitions


def test_less_data_is_the_beginning_of_more_data(source):
    few = load(replace(source, num_transitions=100)).data
    many = load(replace(source, num_transitions=5000)).data
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:100])


def test_the_same_seed_collects_the_same_data(source):
    assert_same_storage(load(source, 3).data.storage, load(source, 3).data.storage)


def test_another_seed_collects_other_data(source):
    assert load(source, 0).data.fingerprint != load(source, 1).data.fingerprint


def test_another_seed_brings_other_luck_to_the_world():
    # Without exploration only slips can differ.
    lock = Collected(CombinationLock(8, 3, 0.5), ({"epsilon": 0.0, "share": 1.0},), 300, 30)
    instance = lock.environment.environment("lock", 0, 0.9, 30)
    first, second = (collected.collect(instance, lock.behavior, 300, seed) for seed in (0, 1))
    assert not np.array_equal(first.observation, second.observation)


def test_another_seed_explores_differently():
    # On a cliff without slips only exploration can differ.
    cliff = Collected(Cliff(3, 4, 0.0), UNIFORM, 300, 30)
    assert load(cliff, 0).data.fingerprint != load(cliff, 1).data.fingerprint


def test_no_wave_of_episodes_repeats_another():
    starts = load(replace(SOURCES["cartpole"], num_transitions=9000)).data
    starts = starts.observation[starts.initial]
    assert len(np.unique(starts, axis=0)) == len(starts) > 2 * collected.EPISODES_PER_WAVE
    # On a cliff without slips only exploration tells waves apart.
    data = load(Collected(Cliff(3, 4, 0.0), UNIFORM, 3000, 30)).data
    wave = collected.EPISODES_PER_WAVE
    returns = [data.episode_return[data.initial][k * wave : (k + 1) * wave] for k in range(3)]
    assert not np.array_equal(returns[0], returns[1])
    assert not np.array_equal(returns[1], returns[2])


def test_columns_have_the_documented_types(source):
    data = load(source).data
    vector = data.spec.observation_kind == "vector"
    kinds = {name: getattr(data, name).dtype for name in COLUMNS}
    assert kinds["observation"] == kinds["next_observation"] == (np.float32 if vector else np.int64)
    assert kinds["reward"] == np.float64
    assert kinds["terminated"] == np.bool_
    continuous = data.spec.action_kind == "continuous"
    assert kinds["action"] == kinds["comparator_action"] == (np.float32 if continuous else np.int64)
    assert kinds["episode"] == kinds["step"] == np.int64


# Episodes


def test_episodes_are_in_order_and_steps_count_from_zero(source):
    data = load(source).data
    numbers = [np.unique(data.episode[at]) for at in episodes(data)]
    assert np.array_equal(np.concatenate(numbers), np.arange(len(numbers)))
    assert np.all(np.diff(data.episode) >= 0)
    for at in episodes(data):
        np.testing.assert_array_equal(data.step[at], np.arange(len(at)))


def test_inside_an_episode_each_step_starts_where_the_last_one_led(source):
    data = load(source).data
    for at in episodes(data):
        np.testing.assert_array_equal(data.next_observation[at[:-1]], data.observation[at[1:]])


def test_an_episode_can_terminate_only_with_its_last_step(source):
    data = load(source).data
    for at in episodes(data):
        assert not data.terminated[at[:-1]].any()


def test_every_episode_but_the_cut_one_ends_by_termination_or_at_the_step_limit(source):
    data = load(source).data
    *complete, _ = episodes(data)
    for at in complete:
        assert data.terminated[at[-1]] or len(at) == source.max_steps
        assert len(at) <= source.max_steps


def test_episodes_start_in_an_initial_state():
    cliff, cartpole = load(SOURCES["cliff"]).data, load(SOURCES["cartpole"]).data
    assert np.all(cliff.observation[cliff.initial] == 15)
    assert np.all(np.abs(cartpole.observation[cartpole.initial]) <= 0.05)
    assert np.any(np.abs(cartpole.observation[~cartpole.initial]) > 0.05)


def test_a_fall_terminates_and_a_time_limit_does_not():
    data = cartpole_task().data
    position, angle = np.abs(data.next_observation[:, [0, 2]]).T
    fallen = (position > 2.4) | (angle > np.deg2rad(12))
    np.testing.assert_array_equal(data.terminated, fallen)
    at_limit = data.step == data.spec.horizon - 1
    assert data.truncated[at_limit & ~fallen].all()
    assert fallen.any()
    assert (at_limit & ~fallen).any()


def test_a_garnets_episodes_are_truncated_at_the_step_limit():
    data = load(SOURCES["garnet"]).data
    assert not data.terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(data.truncated)[:-1] % 30, 29)


def test_rewards_and_ends_of_a_cliff_follow_its_rules():
    data = load(SOURCES["cliff"]).data
    falls, goal = np.isin(data.next_observation, [16, 17, 18]), data.next_observation == 19
    np.testing.assert_array_equal(data.terminated, falls | goal)
    np.testing.assert_array_equal(data.reward, goal.astype(float) - falls)


def test_collecting_does_not_favour_short_episodes():
    # Of the first 640 episodes none is missing, so their mean length is that of the world's.
    lock = Collected(CombinationLock(8, 2, 0.0), ({"epsilon": 0.5, "share": 1.0},), 5000, 30)
    data = load(lock).data
    lengths = np.bincount(data.episode)[:640]
    # Each step advances with probability 3/4; the eighth ends the episode in any case.
    truth = sum(0.75**k for k in range(8))
    assert len(lengths) == 640
    assert abs(lengths.mean() - truth) < 4 * lengths.std() / np.sqrt(640)


# Behavior


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", ["garnet", "cartpole"])
def test_actions_are_as_frequent_as_epsilon_says(name, epsilon):
    policy = ({"epsilon": epsilon, "share": 1.0},)
    data = load(replace(SOURCES[name], behavior=policy, num_transitions=8000)).data
    num_actions = data.spec.num_actions
    # Actions counted from the reference action on, round and round.
    counts = np.bincount(
        (data.action - data.comparator_action) % num_actions, minlength=num_actions
    )
    expected = 8000 * ((1 - epsilon) * np.eye(num_actions)[0] + epsilon / num_actions)
    assert np.all(counts[expected == 0] == 0)
    possible = expected > 0
    if possible.sum() > 1:
        assert stats.chisquare(counts[possible], expected[possible]).pvalue > 1e-4


def test_actions_do_not_depend_on_each_other():
    # Consecutive actions of the uniform policy: all 16 pairs are equally likely.
    data = load(replace(SOURCES["garnet"], num_transitions=8000)).data
    inside = data.step[1:] > 0
    pairs = np.bincount((4 * data.action[:-1] + data.action[1:])[inside], minlength=16)
    assert stats.chisquare(pairs).pvalue > 1e-4


def test_the_worlds_luck_does_not_depend_on_whether_one_explores():
    # What the reference action leads to, whether it was chosen or explored.
    source = Collected(Garnet(20, 4, 3, 0.3), ({"epsilon": 0.5, "share": 1.0},), 6000, 1)
    task = load(source)
    action = task.environment.optimal_actions[0]
    chosen = task.data.next_observation[task.data.action == action]
    counts = [np.count_nonzero(chosen == s) for s in task.environment.mdp.next_state[0, action]]
    assert sum(counts) == len(chosen)
    expected = len(chosen) * task.environment.mdp.probability[0, action]
    assert stats.chisquare(counts, expected).pvalue > 1e-4


def test_the_comparators_action_is_the_optimal_one():
    task = load(SOURCES["cliff"])
    expected = task.environment.optimal_actions[task.data.observation]
    np.testing.assert_array_equal(task.data.comparator_action, expected)


def test_a_share_is_one_of_episodes_and_an_episode_keeps_its_behavior():
    # An episode of 30 uniform actions never happens to be the reference policy's.
    mixture = ({"epsilon": 0.0, "share": 1.0}, {"epsilon": 1.0, "share": 3.0})
    data = load(replace(SOURCES["garnet"], behavior=mixture, num_transitions=30 * 1000)).data
    agreement = (data.action == data.comparator_action).reshape(1000, 30).mean(1)
    followed = agreement == 1
    assert np.all(agreement[~followed] < 0.8)
    assert abs(followed.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 1000)


def test_an_empty_mixture_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        replace(SOURCES["cliff"], behavior=())


# The value of the behavior policy


def cliff_task_without_limit():
    # A step limit that no episode reaches: what is exact holds without one.
    mixture = ({"epsilon": 0.3, "share": 3.0}, {"epsilon": 1.0, "share": 1.0})
    return load(Collected(Cliff(3, 4, 0.1), mixture, 40_000, 400))


def test_the_behavior_value_is_the_mean_discounted_return():
    task = cliff_task_without_limit()
    data = task.data
    returns = np.bincount(data.episode, 0.9**data.step * data.reward)[:-1]
    assert abs(returns.mean() - task.behavior_value) < 4 * returns.std() / np.sqrt(len(returns))


def test_the_behavior_occupancy_is_the_mean_discounted_count():
    task = cliff_task_without_limit()
    data, shape = task.data, task.behavior_occupancy.shape
    counts = np.zeros((data.episode[-1] + 1, *shape))
    np.add.at(counts, (data.episode, data.observation, data.action), 0.1 * 0.9**data.step)
    mean, error = counts[:-1].mean(0), counts[:-1].std(0) / np.sqrt(len(counts) - 1)
    np.testing.assert_array_equal(task.behavior_occupancy[error == 0], 0)
    visited = error > 0
    assert np.abs((mean - task.behavior_occupancy)[visited] / error[visited]).max() < 5


def test_without_a_known_mdp_the_behavior_value_is_the_mean_return_of_its_episodes():
    source = replace(SOURCES["cartpole"], num_transitions=40_000)
    task = load(source)
    lengths = np.array([len(at) for at in list(episodes(task.data))[:-1]])
    # Both the value and the mean of the data are means of independent episodes.
    error = lengths.std() * np.sqrt(1 / len(lengths) + 1 / task.environment.value_episodes)
    assert abs(task.behavior_value - lengths.mean()) < 4 * error


def test_the_behavior_value_of_one_policy_is_one_number_whatever_the_seed_and_size():
    source = SOURCES["cartpole"]
    first, second = load(source, seed=1), load(replace(source, num_transitions=5), seed=2)
    assert first.behavior_value == second.behavior_value


# Cache


def test_the_second_load_reads_the_file_and_is_bit_identical(source, tmp_path, monkeypatch):
    first = load(source, cache=tmp_path)
    monkeypatch.setattr(collected, "collect", None)
    second = load(source, cache=tmp_path)
    assert_same_storage(first.data.storage, second.data.storage)
    assert first.data.fingerprint == second.data.fingerprint
    assert first.behavior_value == second.behavior_value


def test_the_cache_changes_nothing(source, tmp_path):
    assert_same_storage(load(source).data.storage, load(source, cache=tmp_path).data.storage)


@pytest.mark.parametrize(
    "change",
    [
        {"environment": Cliff(4, 5, 0.2)},
        {"behavior": UNIFORM},
        {"num_transitions": 701},
        {"max_steps": 31},
    ],
)
def test_other_settings_do_not_read_the_same_file(change, tmp_path):
    load(SOURCES["cliff"], cache=tmp_path)
    changed = replace(SOURCES["cliff"], **change)
    assert_same_storage(load(changed, cache=tmp_path).data.storage, load(changed).data.storage)


def test_another_seed_or_discount_does_not_read_the_same_file(tmp_path):
    source = SOURCES["cliff"]
    for seed, discount in ((0, 0.9), (1, 0.9), (0, 0.5)):
        source.load("data", seed, discount, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def truncate(content):
    return content[: len(content) // 2]


def flip_a_bit(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"nonsense",
        truncate,
        flip_a_bit,
    ],
)
def test_a_damaged_file_is_collected_anew(damage, tmp_path):
    source = SOURCES["cliff"]
    intact = load(source, cache=tmp_path).data.storage
    (path,) = tmp_path.iterdir()
    column = path / "observation.npy"
    column.write_bytes(damage(column.read_bytes()))
    assert_same_storage(load(source, cache=tmp_path).data.storage, intact)
    assert_same_storage(Storage.load(path), intact)


def test_no_unfinished_folder_stays_behind(tmp_path):
    load(SOURCES["cliff"], cache=tmp_path)
    (folder,) = tmp_path.iterdir()
    assert not folder.name.startswith(".")


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
@pytest.mark.parametrize("name", ["reward", "observation"])
def test_a_world_that_gives_no_number_of_single_precision_is_refused(name, bad):
    columns = {"reward": np.zeros(5), "observation": np.zeros((5, 2)), "step": np.arange(5)}
    collected._check_finite(columns)
    columns[name][3] = bad
    with pytest.raises(ValueError, match=f"gives a {name} that is no finite number"):
        collected._check_finite(columns)
