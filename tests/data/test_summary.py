"""What a run knows of its data beyond a minibatch, against loops over the raw transitions."""

import math

import numpy as np
import pytest
import torch

from bench.data.encoding import statistics
from bench.data.summary import NUM_INITIAL, summarize, tabular_statistics
from tests.support.builders import from_columns, make_spec, random_dataset, same

SPEC = make_spec(size=5, num_actions=3)


def summary_of(dataset, full=None, normalization="data", with_counts=None):
    discrete = dataset.spec.observation_kind == "discrete"
    mean, scale = statistics(dataset, dataset if full is None else full, normalization)
    return summarize(dataset, mean, scale, discrete if with_counts is None else with_counts)


def states_of(encoded):
    return encoded.numpy()


def test_counts_are_those_of_a_loop_over_transitions():
    dataset = random_dataset("discrete", 300, 0, spec=SPEC)
    successors, ends, rewards = np.zeros((5, 3, 5)), np.zeros((5, 3)), np.zeros((5, 3))
    going_rewards = np.zeros((5, 3, 5))
    for i in range(len(dataset)):
        s, a = dataset.observation[i], dataset.action[i]
        rewards[s, a] += dataset.reward[i]
        if dataset.terminated[i]:
            ends[s, a] += 1
        else:
            successors[s, a, dataset.next_observation[i]] += 1
            going_rewards[s, a, dataset.next_observation[i]] += dataset.reward[i]
    counts = tabular_statistics(dataset)
    np.testing.assert_array_equal(counts.successor_counts, successors)
    np.testing.assert_array_equal(counts.termination_counts, ends)
    np.testing.assert_allclose(counts.reward_sums, rewards, rtol=1e-6)
    np.testing.assert_allclose(counts.successor_reward_sums, going_rewards, rtol=1e-5, atol=1e-6)
    assert ends.sum() > 0


def test_counts_take_no_more_room_than_the_data():
    """10,000 numbered states and 4 actions: as a table of successors they would take 1.6 GB."""
    spec = make_spec(size=10_000, num_actions=4)
    counts = tabular_statistics(random_dataset("discrete", 300, 0, spec=spec))
    assert sum(column.numel() for column in counts[:4]) <= 4 * 300
    assert counts.visits.sum() == 300
    assert counts.number.sum() + counts.termination_counts.sum() == 300


def test_every_transition_is_counted_once():
    counts = tabular_statistics(random_dataset("discrete", 123, 0, spec=SPEC))
    assert counts.successor_counts.sum() + counts.termination_counts.sum() == 123


def test_what_was_taken_away_is_not_counted():
    full = random_dataset("discrete", 300, 0, spec=SPEC)
    left = full.keep(full.observation != 2, "no state 2")
    counts = tabular_statistics(left)
    assert (counts.successor_counts[2] == 0).all()
    assert (counts.reward_sums[2] == 0).all()
    assert (tabular_statistics(full).successor_counts[2] > 0).any()


def test_a_transition_cut_by_a_time_limit_counts_as_going_on():
    zero = np.zeros(2, dtype=int)
    dataset = from_columns(SPEC, zero, zero, zero, zero + 1, zero, np.arange(2), zero)
    assert dataset.truncated.all()
    assert tabular_statistics(dataset).successor_counts[0, 0, 1] == 2


@pytest.mark.parametrize("kind", ["discrete", "vector"])
def test_counts_come_only_where_they_are_asked_for(kind):
    assert summary_of(random_dataset(kind, 20, 0), with_counts=False).tabular is None


def test_the_number_of_transitions_is_that_of_the_data_left():
    full = random_dataset("vector", 40, 0)
    assert summary_of(full.keep(np.arange(40) < 13, "cut")).num_transitions == 13


@pytest.mark.parametrize("num_episodes", [1, 3, 7, 101, 250])
def test_a_return_quantile_has_its_share_of_the_episodes_above_it(num_episodes):
    n = 2 * num_episodes
    dataset = random_dataset("vector", n, 0, episode_length=2)
    returns = np.float32([dataset.reward[i] + dataset.reward[i + 1] for i in range(0, n, 2)])
    quantiles = summary_of(dataset).return_quantiles.numpy()
    assert len(quantiles) == 101
    assert quantiles[0] == returns.min()
    assert quantiles[100] == returns.max()
    assert np.isin(quantiles, returns).all()
    for percent, quantile in enumerate(quantiles):
        share = math.ceil(round((100 - percent) * num_episodes / 100, 9))
        assert (returns >= quantile).sum() == max(share, 1)


def test_returns_are_those_of_whole_episodes_of_which_something_is_left():
    full = random_dataset("vector", 12, 0, episode_length=4)
    left = full.keep((full.episode < 2) & (full.step == 1), "one step of two episodes")
    expected = sorted(full.reward[start : start + 4].sum() for start in (0, 4))
    quantiles = summary_of(left).return_quantiles
    assert quantiles[[0, 100]].tolist() == pytest.approx(expected)


def test_initial_observations_are_first_steps_of_episodes():
    dataset = random_dataset("discrete", 60, 1, spec=SPEC, episode_length=20)
    first = {int(dataset.observation[i]) for i in (0, 20, 40)}
    assert len(first) < 5
    sample = summary_of(dataset).initial_observations
    assert sample.shape == (NUM_INITIAL,) == (256,)
    assert set(states_of(sample)) == first


def test_what_follows_a_hole_is_not_initial():
    full = random_dataset("discrete", 60, 1, spec=SPEC, episode_length=20)
    left = full.keep(full.step % 4 != 2, "holes")
    first = {int(full.observation[i]) for i in (0, 20, 40)}
    assert set(states_of(summary_of(left).initial_observations)) == first


def test_where_no_first_step_is_left_any_observation_stands_in():
    full = random_dataset("discrete", 60, 1, spec=SPEC, episode_length=20)
    left = full.keep(full.step > 0, "no starts")
    assert set(states_of(summary_of(left).initial_observations)) == set(left.observation)


def test_initial_observations_are_drawn_by_their_frequency():
    dataset = random_dataset("discrete", 400, 0, spec=SPEC, episode_length=1)
    share = np.bincount(states_of(summary_of(dataset).initial_observations), minlength=5) / 256
    frequency = np.bincount(dataset.observation, minlength=5) / 400
    # Five standard errors of a share.
    np.testing.assert_allclose(share, frequency, atol=5 * np.sqrt(0.25 / 256))
    assert (share > 0).all()


@pytest.mark.parametrize("normalization", ["data", "full", "none"])
def test_initial_observations_are_encoded_like_a_minibatch(normalization):
    full = random_dataset("vector", 40, 0)
    left = full.keep(full.step < 3, "cut")
    mean, scale = statistics(left, full, normalization)
    encoded = (left.observation[left.initial] - mean) / scale
    for row in summary_of(left, full, normalization).initial_observations.numpy():
        assert np.abs(encoded - row).max(1).min() < 1e-4


def test_the_samples_are_those_of_the_data_and_of_no_run():
    dataset = random_dataset("vector", 200, 0, episode_length=2)
    assert same(summary_of(dataset), summary_of(dataset))
    other = random_dataset("vector", 200, 0, episode_length=2)
    other.provenance["seed"] = 1
    left, right = (summary_of(d).initial_observations for d in (dataset, other))
    assert not torch.equal(left, right)


def test_the_bandwidth_is_the_median_distance_of_encoded_observations():
    dataset = random_dataset("vector", 400, 0)
    encoded = (dataset.observation - dataset.observation.mean(0)) / (
        dataset.observation.std(0) + 1e-3
    )
    distances = [np.linalg.norm(a - b) for i, a in enumerate(encoded) for b in encoded[:i:7]]
    assert summary_of(dataset).bandwidth.item() == pytest.approx(np.median(distances), rel=0.1)


def test_mean_and_std_are_those_of_the_raw_observations():
    dataset = random_dataset("vector", 40, 0)
    summary = summary_of(dataset)
    np.testing.assert_allclose(summary.observation_mean, dataset.observation.mean(0), rtol=1e-5)
    np.testing.assert_allclose(summary.observation_std, dataset.observation.std(0), rtol=1e-5)


def test_mean_and_std_of_states_are_those_of_their_one_hot_rows():
    dataset = random_dataset("discrete", 40, 0, spec=SPEC)
    summary, rows = summary_of(dataset), np.eye(5)[dataset.observation]
    np.testing.assert_allclose(summary.observation_mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(summary.observation_std, rows.std(0), rtol=1e-5)


def test_mean_and_std_do_not_depend_on_the_normalization():
    dataset = random_dataset("vector", 40, 0)
    summary = summary_of(dataset, normalization="none")
    np.testing.assert_allclose(summary.observation_mean, dataset.observation.mean(0), rtol=1e-5)
